package cli

import (
	"bytes"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func toolWithVariables(name string, out *bytes.Buffer) *urfave.App {
	app := NewApp(name, "do things", out, out)
	app.Flags = []urfave.Flag{
		&urfave.StringFlag{Name: "key", EnvVars: []string{"CAUASE_UPDATER_KEY"}},
		&urfave.BoolFlag{Name: "json", EnvVars: []string{"CAUASE_JSON"}},
	}
	app.Action = func(*urfave.Context) error { out.WriteString("ran\n"); return nil }
	return app
}

// Whoever misspells a variable believes it to be in force.
func TestMisspeltVariables(t *testing.T) {
	for name, want := range map[string]string{
		"CAUASE_CA_ULR":          "error: did you mean CAUASE_CA_URL?",
		"CAUASE_CAURL":           "error: did you mean CAUASE_CA_URL?",
		"cauase_ca_url":          "error: did you mean CAUASE_CA_URL?",
		"CAUASE_USERKEY":         "error: did you mean CAUASE_USER_KEY?",
		"CAUASE_JSOM":            "error: did you mean CAUASE_JSON?",
		"CAUASE_UPDATER_KEYS":    "error: did you mean CAUASE_UPDATER_KEY?",
		"CAUASE_URL":             "warning: did you mean CAUASE_CA_URL?",
		"CAUASE_CSR":             "warning: cauase-updater --help",
		"CAUASE_HOME":            "warning: cauase-updater --help names those that there are",
		"CAUASE_STORE_OF_MINE":   "warning: cauase-updater --help",
		"CAUASE_UPDATER_ELSE":    "warning: cauase-updater --help",
		"CAUASE_\x1b[2J":         `warning: cauase-updater --help`,
		"CAUASE_CA_URL":          "",
		"CAUASE_CA":              "", // an agent's hook has it
		"CAUASE_NAME":            "",
		"CAUASE_REQUIRE_ALL":     "",
		"CAUASE_TEST_DB":         "",
		"CAUASE_SOAK":            "",
		"CAUASE_FLOOD":           "",
		"CAUASE_CRASH":           "",
		"CAUASE_CLOCK_OFFSET":    "",
		"CAUASE_SERVICE_HOST":    "", // Kubernetes, for a service cauase
		"CAUASE_PORT_80_TCP":     "",
		"CAUASE_":                "",
		"CAUASED_NETLOG":         "", // the daemon's
		"CAUCASE_VENV":           "",
		"CAUASE_UPDATER_PORT":    "",
		"CAUASE_CA_SERVICE_PORT": "",
	} {
		var out bytes.Buffer
		err := checkEnvironment(&out, toolWithVariables("cauase-updater", &out), []string{"PATH", name})
		level, hint, _ := strings.Cut(want, ": ")
		if (err != nil) != (level == "error") {
			t.Errorf("%q: %v", name, err)
		}
		Report(&out, "cauase-updater", err)
		if got := out.String(); want == "" && got != "" || want != "" && (!strings.Contains(got, level+": environment variable ") || !strings.Contains(got, "hint: "+hint) || strings.Contains(got, "\x1b")) {
			t.Errorf("%q: %s, want %q", name, got, want)
		}
	}
	// What is the agent's alone is none of the client's business, and the daemon has its own rules.
	for _, tool := range []string{"cauase", "cauased", "tool"} {
		var out bytes.Buffer
		app := toolWithVariables(tool, &out)
		app.Flags = app.Flags[1:]
		if err := checkEnvironment(&out, app, []string{"CAUASE_UPDATER_KEYS"}); err != nil || out.Len() > 0 {
			t.Errorf("%s: %v %s", tool, err, out.String())
		}
	}
}

// Nothing is done with a misspelt variable, but for what says how it is spelt.
func TestMisspeltVariableEndsTheRun(t *testing.T) {
	t.Setenv("CAUASE_CA_ULR", "http://ca.example")
	for line, runs := range map[string]bool{"": false, "--json": false, "--help": true, "version": true, "--version": true} {
		var out bytes.Buffer
		err := Run(t.Context(), toolWithVariables("cauase-probe", &out), append([]string{"cauase-probe"}, strings.Fields(line)...))
		if (err == nil) != runs || strings.Contains(out.String(), "ran") {
			t.Errorf("%q: %v %s", line, err, out.String())
		}
	}
}

// A warning before a command is in the form that its own have.
func TestUnknownVariableInJSON(t *testing.T) {
	t.Setenv("CAUASE_HOME", "/")
	var out bytes.Buffer
	if err := Run(t.Context(), toolWithVariables("cauase-probe", &out), []string{"cauase-probe", "--json"}); err != nil {
		t.Fatal(err)
	}
	const want = `{"tool":"cauase-probe","level":"warning","message":"environment variable CAUASE_HOME: there is no such setting","hint":"cauase-probe --help names those that there are"}` + "\nran\n"
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}
