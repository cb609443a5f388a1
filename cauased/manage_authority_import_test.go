package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Authorities with a root move to another database by files, whose keys have a passphrase.
func TestAuthorityAddImports(t *testing.T) {
	from, to := written(t, `UPDATE authority SET title = 'Laboratory' WHERE name = 'lab'`), lived(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("passphrase"), []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home-root", "lab"} {
		manages(t, "export-ca", "--db", from, "--authority", name, "--passphrase-file", at("passphrase"), at(name))
	}
	add := func(args ...string) (string, string, int) {
		t.Helper()
		return manageCommand(t.Context(), append([]string{"authority", "add", "--db", to, "--passphrase-file", at("passphrase")}, args...)...)
	}
	for _, test := range []struct{ args, want string }{
		{"lab --parent home-root --import " + at("lab"), "there is no authority home-root"},
		{"lab --import " + at("lab") + " --key-type ed25519", "--key-type does not go with --import"},
		{"lab --import " + at("nothing"), "no such file"},
		{"cas --import " + at("lab"), "cas"},
	} {
		if stdout, stderr, code := add(strings.Fields(test.args)...); code == 0 || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: %d %s%s", test.args, code, stdout, stderr)
		}
	}
	for _, args := range []string{"home-root --role root --import " + at("home-root"), "lab --parent home-root --import " + at("lab")} {
		stdout, stderr, code := add(strings.Fields(args)...)
		if code != 0 || !strings.Contains(stdout, "is added, with its first CA certificate") || strings.Contains(stderr, "note") {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
	fingerprints := func(db, name string) (all []string) {
		for line := range strings.Lines(manages(t, "authority", "show", "--db", db, name)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "sha256:") {
				all = append(all, line)
			}
		}
		return all
	}
	for _, name := range []string{"home-root", "lab"} {
		if before, after := fingerprints(from, name), fingerprints(to, name); len(before) != 1 || len(after) != 1 || before[0] != after[0] {
			t.Errorf("%s: %q, %q", name, before, after)
		}
	}
	manages(t, "check", "--db", to)
	// What every daemon has is still imported as before, before the first start.
	_, stderr, code := manageCommand(t.Context(), "import-ca", "--db", to, "--authority", "lab", "--passphrase-file", at("passphrase"), at("lab"))
	if code == 0 || !strings.Contains(stderr, "authority add --import") {
		t.Errorf("%d %s", code, stderr)
	}
	d, readiness, _ := served(t, to)
	if _, ok := d.Authority("lab"); !ok {
		t.Error("it is not served")
	}
	wantAll(t, "readiness", readiness, "lab")
}
