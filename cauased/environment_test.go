package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
)

func TestMisspeltVariablesAreRefused(t *testing.T) {
	app := newApp(clock.System(), &bytes.Buffer{}, &bytes.Buffer{})
	for name, want := range map[string]string{
		"CAUASED_NETLOG":                 "did you mean CAUASED_NETLOC?",
		"CAUASED_BACKUP_SHEDULE":         "did you mean CAUASED_BACKUP_SCHEDULE?",
		"CAUASED_USER_VALIDITY_IN_DAYS":  "cauased --help lists",
		"CAUASED_BIND":                   "",
		"CAUASED_TO":                     "", // of manage copy
		"CAUASE_CA_URL":                  "", // the client's
		"CAUASED_SERVICE_HOST":           "", // Kubernetes, for a service cauased
		"CAUASED_SERVICE_PORT_HTTP":      "",
		"CAUASED_PORT":                   "",
		"CAUASED_PORT_8009_TCP_ADDR":     "",
		"CAUASED_SERVICE_CRT_VALIDITIES": "did you mean CAUASED_SERVICE_CRT_VALIDITY?",
	} {
		err := checkEnvironment(app, []string{"PATH", name})
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var out bytes.Buffer
		cli.Report(&out, tool, err)
		if err == nil || !strings.Contains(out.String(), name+": there is no such setting") || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s, want %q", name, out.String(), want)
		}
	}
}

func TestDaemonRefusesMisspeltVariables(t *testing.T) {
	t.Setenv("CAUASED_KEY_TIPE", "ed25519")
	for _, args := range [][]string{{tool, "--netloc", "ca.example"}, {tool, "manage", "status", "--db", "x"}} {
		var out bytes.Buffer
		if code := run(context.Background(), args, &out, &out); code != 1 || !strings.Contains(out.String(), "did you mean CAUASED_KEY_TYPE?") {
			t.Errorf("%q: %d %s", args, code, out.String())
		}
	}
}

// TestEnvironmentFile has the rules of systemd.exec(5), EnvironmentFile=.
func TestEnvironmentFile(t *testing.T) {
	got, err := parseEnvironment(strings.Join([]string{
		"\uFEFF# comment", "; comment", "", "  A=1  ", "B=two words  ", `C="quoted # \" \$ \n"`, `D='single \ "'`,
		"E=a\\", "b", `F=x"y z"w`, "G=", `H="two`, `lines"`, "I=a=b", "J=# no comment", "K=c\r",
	}, "\n"))
	want := environmentFile{"A": "1", "B": "two words", "C": `quoted # " $ \n`, "D": `single \ "`, "E": "ab",
		"F": "xy zw", "G": "", "H": "two\nlines", "I": "a=b", "J": "# no comment", "K": "c"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	for _, text := range []string{"no equals sign", "=x", "A=1\nexport B=2", `A="open`, "A=x\\"} {
		if got, err := parseEnvironment(text); err == nil || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

// An operator types cauased manage check on a machine whose daemon has its settings in files.
func TestManageReadsTheSettingsOfTheDaemon(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	database := filepath.Join(dir, "data", "ca.sqlite")
	must := func(err error) {
		if t.Helper(); err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir("data", 0o700))
	manage := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := run(context.Background(), append([]string{tool, "manage"}, args...), &out, &out)
		return out.String(), code
	}
	if out, code := manage("import-identity", "--help"); code != 0 || !strings.Contains(out, "--environment-file") || !strings.Contains(out, "--config") {
		t.Fatalf("%d %s", code, out)
	}
	if out, code := manage("migrate", "--db", database); code != 0 {
		t.Fatalf("%d %s", code, out)
	}

	must(os.WriteFile("unit.env", []byte("CAUASED_DB="+database+"\nCAUASED_NETLOC=ca.example:8009\n"), 0o600))
	must(os.WriteFile("cauased.toml", []byte("netloc = \"ca.example\"\ndb = \"data/ca.sqlite\"\n"), 0o600))
	must(os.WriteFile("indirect.env", []byte("CAUASED_CONFIG="+dir+"/cauased.toml\n"), 0o600))
	must(os.WriteFile("wrong.env", []byte("CAUASED_NETLOG=x\n"), 0o600))
	must(os.WriteFile("wrong.toml", []byte("dbb = \"data/ca.sqlite\"\n"), 0o600))
	must(os.WriteFile("unit-default.env", []byte("CAUASED_NETLOC=ca.example\n"), 0o600))
	for _, args := range [][]string{
		{"--environment-file", "unit.env"}, {"--config", "cauased.toml"}, {"--environment-file", "indirect.env"},
		{"--environment-file", "wrong.env", "--db", database},
		{"--config", "wrong.toml"},
	} {
		out, code := manage(append([]string{"migrate"}, args...)...)
		if args[1] == "wrong.toml" {
			if code != 1 || !strings.Contains(out, `wrong.toml: line 1, column 1: there is no setting "dbb"`) {
				t.Errorf("%q: %d %s", args, code, out)
			}
		} else if args[1] == "wrong.env" {
			if code != 1 || !strings.Contains(out, "wrong.env: environment variable CAUASED_NETLOG") {
				t.Errorf("%q: %d %s", args, code, out)
			}
		} else if code != 0 || !strings.Contains(out, "data/ca.sqlite is ") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
	if out, code := manage("migrate", "--db", "other.sqlite", "--config", "cauased.toml"); code != 0 || !strings.Contains(out, "other.sqlite") {
		t.Errorf("the command line does not count: %d %s", code, out)
	}
	t.Setenv("CAUASED_DB", filepath.Join(dir, "third.sqlite"))
	if out, code := manage("migrate", "--environment-file", "unit.env"); code != 0 || !strings.Contains(out, "third.sqlite") {
		t.Errorf("the environment does not count: %d %s", code, out)
	}
	must(os.Unsetenv("CAUASED_DB"))

	// The unit's database is in the unit's folder. One in this folder could be meant as well.
	must(os.WriteFile(defaultDatabase, nil, 0o600))
	if out, code := manage("status", "--environment-file", "unit-default.env"); code != 1 || !strings.Contains(out, "there are two databases") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := manage("status", "--environment-file", "missing.env"); code != 1 || !strings.Contains(out, "missing.env") {
		t.Errorf("%d %s", code, out)
	}
}
