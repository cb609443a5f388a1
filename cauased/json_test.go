package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/testkit"
)

// withoutJSON are the commands that print none, and why.
var withoutJSON = map[string]string{
	"serve": "it prints a log, in JSON with --log-format json",
}

// Every command has --json, and docs/json.md says what it prints.
func TestCommandsPrintDocumentedJSON(t *testing.T) {
	var verbs []string
	app := newApp(clock.System(), nil, nil)
	for _, verb := range cli.Verbs(app) {
		if withoutJSON[verb] == "" {
			verbs = append(verbs, verb)
		}
	}
	if len(verbs) < 30 {
		t.Fatalf("there are only %q", verbs)
	}
	testkit.CheckVerbs(t, jsonPage, tool, verbs)
	for _, verb := range verbs {
		out := manages(t, append(strings.Fields(verb)[1:], "--help")...)
		for _, option := range []string{"--json", "--decimal"} {
			if !strings.Contains(out, option) {
				t.Errorf("%s has no %s", verb, option)
			}
		}
	}
	page, err := os.ReadFile(jsonPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, loose := range []string{" any |", " list of any", "any, "} {
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "| `") && strings.Contains(strings.Join(strings.Split(line, "|")[:3], "|")+"|", loose) {
				t.Errorf("anything goes: %s", line)
			}
		}
	}
}

// printsJSON runs a command with --json, and checks what it prints.
func printsJSON(t *testing.T, object string, args ...string) string {
	t.Helper()
	stdout, stderr, code := manageCommand(t.Context(), append(args, "--json")...)
	if code != 0 {
		t.Fatalf("%q: %d %s", args, code, stderr)
	}
	testkit.CheckJSON(t, jsonPage, object, stdout)
	checkMessages(t, stderr)
	return stdout
}

// checkMessages checks that what was said is messages, one a line.
func checkMessages(t *testing.T, stderr string) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		testkit.CheckJSON(t, jsonPage, "message", line)
	}
}

// An offline root and what is below it, from the first certificate to the last list, all of it read by scripts.
func TestAuthoritiesAsJSON(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	root, db := at("root.sqlite"), lived(t)
	authority := func(object, verb string, args ...string) string {
		t.Helper()
		return printsJSON(t, object, append([]string{"authority", verb}, args...)...)
	}
	authority("authority", "add", "home-root", "--db", root, "--role", "root", "--netloc", "ca.example")
	authority("CA certificates", "export", "home-root", "--db", root, "--out", at("root.pem"), "--crl", at("root.crl"))
	authority("authority", "add", "home-root", "--db", db, "--role", "root", "--external", at("root.pem"), "--crl", at("root.crl"))
	authority("authority", "add", "lab", "--db", db, "--parent", "home-root")
	authority("sign-off", "request", "lab", "--db", db, "--out", at("request"))
	authority("sign-off", "sign", "--db", root, at("request"), "--out", at("signed"), "--yes")
	authority("list of installed", "install", "--db", db, at("signed"))
	authority("list of authority", "list", "--db", db)
	var lab struct {
		Generations []struct {
			KeyID   string `json:"key_id"`
			Serial  string `json:"serial"`
			Decimal string `json:"serial_decimal"`
		} `json:"generations"`
	}
	shown := authority("authority", "show", "lab", "--db", db)
	if err := json.Unmarshal([]byte(shown), &lab); err != nil || len(lab.Generations) != 1 || !strings.HasPrefix(lab.Generations[0].Serial, "0x") {
		t.Fatalf("%v: %s", err, shown)
	}
	first := lab.Generations[0]
	for option, want := range map[string]string{"--decimal": first.Decimal, "--decimal=false": first.Serial} {
		if text := manages(t, "authority", "show", "lab", "--db", db, option); !strings.Contains(text, "serial "+want+"\n") {
			t.Errorf("%s: %s", option, text)
		}
	}
	authority("revoked CA", "revoke", "lab", "--db", db, "--key-id", first.KeyID, "--reason", "keyCompromise", "--yes")
	for _, serial := range []string{first.Serial, first.Decimal} {
		out := at("lists " + serial)
		authority("revoked CA", "revoke-below", "home-root", "--db", root, "--serial", serial, "--out", out, "--yes")
		authority("list of installed", "install", "--db", db, out)
	}
	authority("authority", "set-parent", "lab", "--db", db, "--none")
	authority("authority", "retire", "lab", "--db", db, "--yes")
}

// What moves CA certificates and databases tells scripts what it has moved.
func TestMovesAsJSON(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	db := lived(t)
	if err := os.WriteFile(at("passphrase"), []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := []string{"--passphrase-file", at("passphrase")}
	printsJSON(t, "choice", "next-key-type", "rsa-2048", "--authority", "cas", "--db", db)
	printsJSON(t, "choice", "own-subjects", "--authority", "cas", "--db", db)
	printsJSON(t, "CA certificates", "export-ca", "--db", db, at("cas.pem"), secret[0], secret[1])
	printsJSON(t, "CA certificates", "import-ca", "--db", at("new.sqlite"), at("cas.pem"), secret[0], secret[1])
	printsJSON(t, "migrated", "migrate", "--db", at("new.sqlite"))
	printsJSON(t, "sealed", "seal", "--db", db)
	printsJSON(t, "rekeyed", "rekey", "--db", db, "--new-secret")
	printsJSON(t, "CA certificates", "authority", "export", "cas", "--db", db, "--out", at("out.pem"), "--crl", at("cas.crl"))
	printsJSON(t, "imported lists", "import-crl", "--db", at("new.sqlite"), at("cas.crl"))
}

// Whatever is wrong is said as JSON, too, if that is asked for, and nothing else.
func TestMistakesAsJSON(t *testing.T) {
	for _, line := range []string{
		"--json", "nonsense --json", "audit --json --nonsense", "audit --json --db missing.sqlite", "audit --json --action crt.sing", "audit surplus --json",
		"check --json --db missing.sqlite", "check --json surplus", "restore --json", "drill --json a b", "authority --json", "authority shwo --json",
		"authority show --json", "lineage --json", "lineage show --json --db missing.sqlite", "status --json --since", "next-key-type --json", "own-subjects x --json",
		"import-ca --json", "import-identity --json a b", "import-crl --json", "export-ca --json", "import-caucase --json", "migrate x --json", "copy --json", "backup --json",
		"invite --json x", "approve --json a b", "approve --json --db missing.sqlite",
	} {
		stdout, stderr, code := manageCommand(t.Context(), strings.Fields(line)...)
		if code == 0 || stdout != "" && !json.Valid([]byte(stdout)) || strings.TrimSpace(stderr) == "" {
			t.Errorf("%s: %d %q %q", line, code, stdout, stderr)
		}
		checkMessages(t, stderr)
	}
}
