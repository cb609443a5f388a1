package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

const triedRules = `netloc = "ca.example:8009"

[[policy]]
name = "bank"
names = ["*.bank.example"]
decision = "refuse"
reason = "the bank has an authority of its own"

[[policy]]
name = "own-name"
names = "{identity.name}"
certificate = ["factory", "others"]
decision = "approve"
max_validity = "7d"

[[policy]]
name = "own-host"
names = "{identity.name}"
ssh = true
decision = "approve"

[[policy]]
name = "two"
names = "*.pay.example"
decision = "hold"
approvals = 2
`

// What becomes of a request, and why, is told without a database, and by scripts.
func TestPolicyTest(t *testing.T) {
	config := fileOf(t, triedRules)
	dir := t.TempDir()
	file := func(names ...string) string {
		path := filepath.Join(dir, strings.ReplaceAll(strings.Join(names, " "), "*", "any"))
		content := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{DNSNames: names}).PEM
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		names, as string
		want      []string
	}{
		{"x.bank.example", "", []string{"bank: decides", "refuse by rule bank: the bank has"}},
		{"x.example", "", []string{"own-name: does not match: certificate: none was shown", "own-host: does not match: ssh:", "hold, as no rule matches"}},
		{"a.example", "certificate:factory=DNS:a.example", []string{"approve by rule own-name, valid for 7d at most"}},
		{"a.example", "certificate:else=DNS:a.example", []string{"that of else was shown", "hold, as no rule matches"}},
		{"b.example", "ssh:a.example ssh:b.example", []string{"approve by rule own-host"}},
		{"c.example", "ssh:a.example ssh:b.example", []string{"own-host: does not match: names: DNS:c.example matches none"}},
		{"c.pay.example", "", []string{"hold by rule two, 2 users have to approve"}},
	} {
		args := []string{"policy", "test", "--config", config, file(test.names), "--from", "192.0.2.7"}
		for _, as := range strings.Fields(test.as) {
			args = append(args, "--as", as)
		}
		out := manages(t, args...)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%+v: %s", test, out)
			}
		}
		printsJSON(t, "tried request", args...)
	}
	for _, args := range [][]string{
		{"policy", "test", file("x.example")},
		{"policy", "test", "--config", config},
		{"policy", "test", "--config", config, file("x.example"), "--as", "nobody"},
		{"policy", "test", "--config", config, file("x.example"), "--from", "nowhere"},
		{"policy", "test", "--config", config, file("x.example"), "--profile", "nope"},
		{"policy", "test", "--config", config, file("x.example"), "--authority", "nope"},
		{"policy", "test", "--config", config, "no-such-file"},
		{"policy", "test", "--config", config, "4711", "--db", "none.sqlite"},
		{"policy", "check", fileOf(t, "[[policy]]\ndecision = \"aprove\"\n")},
		{"policy", "check", "no-such-file"},
	} {
		if _, stderr, code := manageCommand(t.Context(), args...); code != 1 || !strings.Contains(stderr, "error: ") {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
	if out := printsJSON(t, "checked rules", "policy", "check", config, "--db", lived(t)); !strings.Contains(out, "factory") || !strings.Contains(out, "line 12, column 1") {
		t.Errorf("no warning about the authority that there is not: %s", out)
	}
}

// A replay says where something else would become of what is on record, and how many there are.
func TestPolicyReplay(t *testing.T) {
	db := lived(t)
	none, all := fileOf(t, ""), fileOf(t, "[[policy]]\nname = \"closed\"\ndecision = \"refuse\"\n")
	if out := manages(t, "policy", "replay", "--config", none, "--db", db, "--since", "100y"); !strings.Contains(out, "something else would become of 0") || strings.HasPrefix(out, "0 requests") {
		t.Error(out)
	}
	printsJSON(t, "replay", "policy", "replay", "--config", none, "--db", db)
	stdout, stderr, code := manageCommand(t.Context(), "policy", "replay", "--config", all, "--db", db, "--since", "100y")
	if code != exitDifferent || !strings.Contains(stdout, "would be refused (rule closed); it was ") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	stdout, _, code = manageCommand(t.Context(), "policy", "replay", "--config", all, "--db", db, "--since", "100y", "--json")
	testkit.CheckJSON(t, jsonPage, "replay", stdout)
	if code != exitDifferent {
		t.Errorf("exit code %d", code)
	}
	if _, stderr, code := manageCommand(t.Context(), "policy", "replay", "--config", all, "--db", db, "--since", "soon"); code != 1 || !strings.Contains(stderr, "--since") {
		t.Errorf("%d %s", code, stderr)
	}
}
