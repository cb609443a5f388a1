package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// snapshotOf is everything in a folder: names, modes, times and content.
func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		all[path] = info.Mode().String() + info.ModTime().String() + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAnIdentityIsMadeAndAdopted: openssl reads what was made, an authority begins with it, and the folder stays as it is.
func TestAnIdentityIsMadeAndAdopted(t *testing.T) {
	openssl := testkit.Need(t, "openssl", "openssl")
	t.Setenv(identityPassphrase, "correct horse")
	dir := filepath.Join(t.TempDir(), "ca")
	out := manages(t, "create-identity", dir, "-f", "C=FR", "-f", "O=Example, Inc. + Sons", "-f", `CN=a\b `, "--years", "10")
	if !strings.Contains(out, `O=Example\, Inc. \+ Sons`) {
		t.Error(out)
	}
	want := map[string]string{"ca.cert.pem": "-rw-r-----", "ca.csr.pem": "-rw-r-----", "ca.private_key.pem": "-rw-r-----", "ca.public_key.pem": "-rw-r-----"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().String() != want[e.Name()] {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
		delete(want, e.Name())
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 || len(want) > 0 {
		t.Errorf("%v, missing %v, %v", info.Mode(), want, err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(openssl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("verify", "-x509_strict", "-check_ss_sig", "-CAfile", at("ca.cert.pem"), at("ca.cert.pem"))
	run("req", "-verify", "-noout", "-in", at("ca.csr.pem"))
	public, err := os.ReadFile(at("ca.public_key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if got := run("pkey", "-in", at("ca.private_key.pem"), "-passin", "pass:correct horse", "-pubout"); got != string(public) {
		t.Errorf("the key is another: %s", got)
	}
	if exec.Command(openssl, "pkey", "-in", at("ca.private_key.pem"), "-passin", "pass:wrong").Run() == nil {
		t.Error("any passphrase opens the key")
	}

	before := snapshotOf(t, dir)
	db := filepath.Join(t.TempDir(), "db.sqlite")
	if out := manages(t, "import-identity", dir, "--db", db); !strings.Contains(out, "cas: imported CN=a") {
		t.Error(out)
	}
	after := snapshotOf(t, dir)
	if len(before) != len(after) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s has changed", path)
		}
	}
}

// TestSomebodysIdentityIsAdopted: folders made with openssl, whose keys are in the clear or encrypted in the old way or today's.
func TestSomebodysIdentityIsAdopted(t *testing.T) {
	openssl := testkit.Need(t, "openssl", "openssl")
	for name, key := range map[string][]string{
		"clear":       {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"pkcs8":       {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-aes-256-cbc", "-pass", "pass:secret"},
		"traditional": {"genrsa", "-traditional", "-aes128", "-passout", "pass:secret", "2048"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(identityPassphrase, "secret")
			dir := t.TempDir()
			run := func(args ...string) {
				t.Helper()
				if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
					t.Fatalf("openssl %v: %v\n%s", args, err, out)
				}
			}
			keyFile, certFile := filepath.Join(dir, "ca.private_key.pem"), filepath.Join(dir, "ca.cert.pem")
			if name == "traditional" {
				run(append(key[:len(key)-1:len(key)-1], "-out", keyFile, "2048")...)
			} else {
				run(append(key, "-out", keyFile)...)
			}
			run("req", "-new", "-x509", "-key", keyFile, "-passin", "pass:secret", "-subj", "/CN=Somebody", "-days", "4000", "-out", certFile,
				"-addext", "keyUsage=critical,keyCertSign,cRLSign")
			if err := os.WriteFile(filepath.Join(dir, "serial"), []byte("01\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := snapshotOf(t, dir)
			if out := manages(t, "import-identity", dir, "--db", filepath.Join(t.TempDir(), "db.sqlite")); !strings.Contains(out, "cas: imported CN=Somebody") {
				t.Error(out)
			}
			for path, was := range snapshotOf(t, dir) {
				if before[path] != was {
					t.Errorf("%s has changed", path)
				}
			}
		})
	}
}

func TestIdentitiesThatAreNotMade(t *testing.T) {
	parent := t.TempDir()
	full := filepath.Join(parent, "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	before := snapshotOf(t, parent)
	fresh := filepath.Join(parent, "ca")
	for name, test := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"no directory":        {[]string{"-f", "CN=x"}, "s", "a directory is needed"},
		"two":                 {[]string{"a", "b", "-f", "CN=x"}, "s", "a directory is needed"},
		"no name":             {[]string{fresh}, "s", "a CA needs a name"},
		"bad attribute":       {[]string{fresh, "-f", "X=y"}, "s", "attribute type"},
		"no value":            {[]string{fresh, "-f", "CN"}, "s", "not TYPE=VALUE"},
		"empty value":         {[]string{fresh, "-f", "CN="}, "s", "empty"},
		"not a country":       {[]string{fresh, "-f", "C=France"}, "s", "at most 2"},
		"control character":   {[]string{fresh, "-f", "CN=a\nb"}, "s", "control character"},
		"no years":            {[]string{fresh, "-f", "CN=x", "--years", "0"}, "s", "years from 1"},
		"many years":          {[]string{fresh, "-f", "CN=x", "--years", "101"}, "s", "years from 1"},
		"key type":            {[]string{fresh, "-f", "CN=x", "--key-type", "dsa"}, "s", "--key-type"},
		"not empty":           {[]string{full, "-f", "CN=x"}, "s", "is not empty"},
		"a file":              {[]string{file, "-f", "CN=x"}, "s", "exists"},
		"a link":              {[]string{link, "-f", "CN=x"}, "s", "exists"},
		"no parent":           {[]string{filepath.Join(parent, "none", "ca"), "-f", "CN=x"}, "s", "no such file"},
		"empty passphrase":    {[]string{fresh, "-f", "CN=x"}, "", identityPassphrase + " is empty"},
		"missing passphrases": {[]string{fresh, "-f", "CN=x", "--passphrase-file", filepath.Join(parent, "none")}, "s", "passphrase-file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(identityPassphrase, test.env)
			stdout, stderr, code := manageCommand(t.Context(), append([]string{"create-identity"}, test.args...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("%d %s %s", code, stdout, stderr)
			}
			after := snapshotOf(t, parent)
			for path, was := range before {
				if path != parent && after[path] != was {
					t.Errorf("%s has changed", path)
				}
			}
			if len(after) != len(before) {
				t.Errorf("something is left: %d files, %d before", len(after), len(before))
			}
		})
	}
}

// An empty folder that is there becomes the identity, whatever its mode was.
func TestAnIdentityInAnEmptyFolder(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	manages(t, "create-identity", dir+"/", "-f", "CN=x", "--key-type", "ed25519", "--root", "--passphrase-file", secret)
	text, err := os.ReadFile(filepath.Join(dir, "ca.cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(bytes.TrimSpace(rest)) > 0 || crt.MaxPathLen != 1 || !crt.IsCA {
		t.Errorf("%v %v", crt, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
