package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// TestPolicyErrorsHavePlaces: of rules that are wrong each is named, with the place and what would be right.
func TestPolicyErrorsHavePlaces(t *testing.T) {
	const good = "netloc = \"ca.example\"\n\n[[policy]]\ndecision = \"hold\"\n\n[[policy]]\n"
	for content, want := range map[string]string{
		good + "  decision = \"aprove\"\n":                                                       "line 7, column 3: policy policy-2.decision: \"aprove\" is none of approve, hold and refuse",
		good + "authority = \"cas\"\n":                                                           "line 6, column 3: policy policy-2.decision: is missing",
		good + "decision = \"hold\"\nname = \"policy-1\"\n":                                      "line 8, column 1: policy policy-1.name: \"policy-1\" is that of rule 1 already",
		good + "decision = \"approve\"\nnames = [\"a*.example\"]\n":                              "line 8, column 1: policy policy-2.names: \"a*.example\" has a * as a part of a label",
		good + "decision = \"approve\"\nnames = [\"ok.example\",\n  \"**.example\"]\n":           "line 8, column 1: policy policy-2.names: \"**.example\" has **",
		good + "decision = \"approve\"\nnames = []\n":                                            "line 8, column 1: policy policy-2.names: is empty",
		good + "decision = \"approve\"\nnames = 5\n":                                             "line 8, column 1: policy policy-2.names: must be a text in quotes, or a list",
		good + "decision = \"approve\"\nnames = [5]\n":                                           "line 8, column 1: policy policy-2.names: element 1 of the list is no text",
		good + "decision = \"approve\"\nfrom = \"10.0.0.1/8\"\n":                                 "line 8, column 1: policy policy-2.from: \"10.0.0.1/8\" has bits behind its prefix: did you mean 10.0.0.0/8?",
		good + "decision = \"approve\"\nreason = \"x\"\n":                                        "line 8, column 1: policy policy-2.reason: ",
		good + "decision = \"approve\"\napprovals = 2\n":                                         "line 8, column 1: policy policy-2.approvals: ",
		good + "decision = \"hold\"\napprovals = 0\n":                                            "line 8, column 1: policy policy-2.approvals: 0 is not between 1 and 10",
		good + "decision = \"hold\"\nrate = \"10/h\"\n":                                          "line 8, column 1: policy policy-2.rate: ",
		good + "decision = \"approve\"\nrate = \"0/h\"\n":                                        "line 8, column 1: policy policy-2.rate: ",
		good + "decision = \"approve\"\nclient = \"x\"\n":                                        "line 8, column 1: policy policy-2.client: ",
		good + "decision = \"approve\"\nnames = \"{identity.name}\"\n":                           "line 8, column 1: policy policy-2.names: {identity.name}: whose?",
		good + "decision = \"approve\"\nnames = \"{request.name}\"\n":                            "line 8, column 1: policy policy-2.names: ",
		good + "decision = \"approve\"\nssh = false\n":                                           "line 8, column 1: policy policy-2.ssh: ",
		good + "decision = \"approve\"\nssh = \"yes\"\n":                                         "line 8, column ",
		good + "decision = 5\n":                                                                  "line 7, column ",
		good + "decision = \"hold\"\nnmaes = \"x\"\n":                                            "line 8, column 1: there is no setting \"nmaes\"",
		good + "decision = \"hold\"\nkeys = \"dsa\"\n":                                           "line 8, column 1: policy policy-2.keys: ",
		good + "decision = \"hold\"\nauthority = \"*\"\n":                                        "line 8, column 1: policy policy-2.authority: ",
		"[policy]\ndecision = \"hold\"\n":                                                        "line 1, column ",
		"policy = \"hold\"\n":                                                                    "line 1, column ",
		good + "decision = \"aprove\"\n[[policy]]\ndecision = \"refuse\"\nmax_validity = \"1d\"": "line 10, column 1: policy policy-3.max_validity: ",
	} {
		path := fileOf(t, content)
		_, err := parse(t, "--netloc", "ca.example", "--config", path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

// TestReload: what stands in the file counts from the signal on, whole; with an error in it, what stood there before.
func TestReload(t *testing.T) {
	path := fileOf(t, "retention = 9\n[[policy]]\nname = \"first\"\ndecision = \"hold\"\n")
	cfg := testConfig(t, t.TempDir(), "--config", path)
	var log testkit.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	d := launchLogged(t, cfg, testTime(), logger).Daemon
	known := func(name string) bool { return name == "retention" }
	for _, step := range []struct {
		content string
		rules   int
		says    []string
	}{
		{"retention = 9\n[[policy]]\ndecision = \"refuse\"\n[[policy]]\nauthority = \"nope\"\ndecision = \"hold\"\n", 2,
			[]string{"configuration reloaded", "policy_rules=2", "line 4, column 3", "can never match", "there is no authority"}},
		{"retention = 9\n[[policy]]\ndecision = \"hold\"\n[[policy]]\ndecision = \"hlod\"\n", 2, []string{"not reloaded", path + ": line 5, column 1: "}},
		{"retention = 9\nretentoin = 9\n", 2, []string{"not reloaded", "line 2, column 1: "}},
		{"retention = 10\n[profile.web]\nextended_key_usage = [\"serverAuth\"]\nnames = [\"dns\"]\n", 0, []string{"configuration reloaded", "retention, profile"}},
	} {
		if err := os.WriteFile(path, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(log.String())
		cfg.file.reload(t.Context(), d, logger, known)
		for _, want := range step.says {
			if said := log.String()[before:]; !strings.Contains(said, want) {
				t.Errorf("%q: it does not say %s:\n%s", step.content, want, said)
			}
		}
		if got := d.Policy().Set().Len(); got != step.rules {
			t.Errorf("%q: %d rules", step.content, got)
		}
	}
}
