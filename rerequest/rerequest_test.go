package main

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cauase/pkg/cli"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// template writes a request of a key of the type, and returns it.
func template(t *testing.T, path string, keyType pki.KeyType) *x509.CertificateRequest {
	t.Helper()
	request := pkitest.Request(t, pkitest.KeyOf(t, keyType), &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "db.example", Organization: []string{"Example"}},
		DNSNames: []string{"db.example"},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 5, 0xa0}},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}},
		},
	})
	write := append([]byte("Certificate Request:\n    as openssl -text writes it\n"), request...)
	if err := os.WriteFile(path, write, 0o644); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

type result struct {
	code           int
	stdout, stderr string
}

func rerun(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{tool}, args...), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestRerequestCopies(t *testing.T) {
	for _, keyType := range pki.KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			t.Chdir(t.TempDir())
			old := syscall.Umask(0)
			defer syscall.Umask(old)
			want := template(t, "old.csr", keyType)
			if r := rerun(t, "--template", "old.csr", "--csr", "new.csr", "--key", "new.key"); r != (result{}) {
				t.Fatalf("%+v", r)
			}
			content, err := os.ReadFile("new.csr")
			if err != nil {
				t.Fatal(err)
			}
			req, err := pki.ParseRequest(content)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(req.CSR.RawSubject, want.RawSubject) {
				t.Error("the subject is another one")
			}
			if !bytes.Equal(afterKey(req.CSR), afterKey(want)) {
				t.Error("the attributes are other ones")
			}
			key, err := pemfile.ReadKey("new.key")
			if err != nil {
				t.Fatal(err)
			}
			if !pki.SameKey(key.Public(), req.CSR.PublicKey) || pki.SameKey(key.Public(), want.PublicKey) {
				t.Error("the key is not a new one, or not that of the request")
			}
			if got, _ := pki.KeyTypeOf(key.Public()); got != keyType {
				t.Errorf("the key is of type %s", got)
			}
			if info, err := os.Stat("new.key"); err != nil || info.Mode() != fs.FileMode(0o600) {
				t.Errorf("the key file is %v, %v", info.Mode(), err)
			}
			if got := names(t, "."); got != "new.csr new.key old.csr" {
				t.Errorf("files are %s", got)
			}
		})
	}
}

// afterKey is what of a request follows the key: its attributes.
func afterKey(csr *x509.CertificateRequest) []byte {
	_, rest, _ := bytes.Cut(csr.RawTBSCertificateRequest, csr.RawSubjectPublicKeyInfo)
	return rest
}

func TestRerequestKeyTypes(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want pki.KeyType
		why  string
	}{
		{"as the reference says it", []string{"--key-len", "3072"}, pki.KeyRSA3072, ""},
		{"as we say it", []string{"--key-type", "ed25519"}, pki.KeyEd25519, ""},
		{"both", []string{"--key-type", "ed25519", "--key-len", "2048"}, "", "two ways"},
		{"weak", []string{"--key-len", "1024"}, "", "2048, 3072 or 4096"},
		{"unknown", []string{"--key-type", "dsa"}, "", "not one of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			template(t, "old.csr", pki.KeyECDSAP256)
			r := rerun(t, append([]string{"--template", "old.csr", "--csr", "new.csr", "--key", "new.key"}, c.args...)...)
			if c.why != "" {
				if r.code != 1 || !strings.Contains(r.stderr, c.why) || names(t, ".") != "old.csr" {
					t.Errorf("%+v, files %s", r, names(t, "."))
				}
				return
			}
			key, err := pemfile.ReadKey("new.key")
			if err != nil {
				t.Fatal(err, r)
			}
			if got, _ := pki.KeyTypeOf(key.Public()); got != c.want {
				t.Errorf("the key is of type %s", got)
			}
		})
	}
}

func TestRerequestRefuses(t *testing.T) {
	put := func(name, content string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*testing.T)
		args    string
		why     string
	}{
		{"nothing given", nil, "", "--template is missing"},
		{"no key", nil, "--template old.csr --csr new.csr", "--key is missing"},
		{"an argument", nil, "--template old.csr --csr new.csr --key new.key more", "unexpected argument"},
		{"an unknown flag", nil, "--tmpl old.csr", "there is no option --tmpl"},
		{"no template", nil, "--template nope --csr new.csr --key new.key", "no such file"},
		{"one file for both", nil, "--template old.csr --csr new.pem --key ./new.pem", "same file"},
		{"key exists", put("new.key", "precious"), "--template old.csr --csr new.csr --key new.key", "new.key exists"},
		{"request exists", put("new.csr", "precious"), "--template old.csr --csr new.csr --key new.key", "--force"},
		{"a dangling link is in the way", func(t *testing.T) {
			if err := os.Symlink("elsewhere", "new.key"); err != nil {
				t.Fatal(err)
			}
		}, "--template old.csr --csr new.csr --key new.key", "new.key exists"},
		{"through a link, by force", func(t *testing.T) {
			if err := os.Symlink("elsewhere", "new.key"); err != nil {
				t.Fatal(err)
			}
		}, "--template old.csr --csr new.csr --key new.key --force", "symbolic link"},
		{"no folder for the request", nil, "--template old.csr --csr nope/new.csr --key new.key", "no such file"},
		{"no folder for the key", nil, "--template old.csr --csr new.csr --key nope/new.key", "no such file"},
		{"request is a directory, by force", func(t *testing.T) {
			if err := os.Mkdir("new.csr", 0o755); err != nil {
				t.Fatal(err)
			}
		}, "--template old.csr --csr new.csr --key new.key --force", "not a regular file"},
		{"template is no request", put("junk", "junk"), "--template junk --csr new.csr --key new.key", "neither PEM nor DER of a certificate signing request"},
		{"template is cut short", put("junk", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA"), "--template junk --csr new.csr --key new.key", "no end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			template(t, "old.csr", pki.KeyECDSAP256)
			if c.prepare != nil {
				c.prepare(t)
			}
			before := names(t, ".")
			r := rerun(t, strings.Fields(c.args)...)
			if r.code != 1 || !strings.Contains(r.stderr, c.why) || r.stdout != "" {
				t.Errorf("%+v, want one that says %q", r, c.why)
			}
			if after := names(t, "."); after != before {
				t.Errorf("files were %s and are %s", before, after)
			}
			for _, name := range []string{"new.key", "new.csr"} {
				if content, err := os.ReadFile(name); err == nil && string(content) != "precious" {
					t.Errorf("%s was overwritten", name)
				}
			}
		})
	}
}

// A template whose signature is wrong may have been changed by anybody.
func TestRerequestRefusesForgedTemplate(t *testing.T) {
	t.Chdir(t.TempDir())
	csr := template(t, "old.csr", pki.KeyECDSAP256)
	forged := bytes.Replace(csr.Raw, []byte("db.example"), []byte("da.example"), 1)
	if err := os.WriteFile("forged.csr", pki.EncodeCSRPEM(forged), 0o644); err != nil {
		t.Fatal(err)
	}
	r := rerun(t, "--template", "forged.csr", "--csr", "new.csr", "--key", "new.key")
	if r.code != 1 || !strings.Contains(r.stderr, "self-signature") || names(t, ".") != "forged.csr old.csr" {
		t.Errorf("%+v", r)
	}
}

// What was made is told to scripts, and so is what went wrong.
func TestRerequestJSON(t *testing.T) {
	page, err := filepath.Abs("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	testkit.CheckVerbs(t, page, tool, cli.Verbs(newApp(nil, nil)))
	t.Chdir(t.TempDir())
	template(t, "old.csr", pki.KeyECDSAP256)
	files := []string{"--template", "old.csr", "--csr", "new.csr", "--key", "new.key"}
	made := rerun(t, append(files, "--json")...)
	testkit.CheckPrinted(t, page, tool, made.stdout)
	if made.code != 0 || made.stderr != "" || strings.Contains(made.stdout, "PRIVATE") {
		t.Errorf("%+v", made)
	}
	for _, args := range [][]string{append(files, "--json"), {"--json", "--nope"}, {"--json", "--key-len", "x"}, {"--json=maybe"}} {
		if r := rerun(t, args...); r.code != 1 || r.stdout != "" {
			t.Errorf("%v: %+v", args, r)
		} else if !strings.HasSuffix(args[0], "maybe") {
			testkit.CheckJSON(t, page, "message", r.stderr)
		}
	}
	for object, args := range map[string][]string{"help": {"--json", "--help"}, "version": {"version", "--json"}} {
		testkit.CheckJSON(t, page, object, rerun(t, args...).stdout)
	}
}

func TestRerequestForce(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	template(t, "old.csr", pki.KeyECDSAP256)
	// Open to the world, which a key must not stay.
	if err := os.WriteFile("new.key", []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if r := rerun(t, "--force", "--template", "old.csr", "--csr", "old.csr", "--key", "new.key"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if info, err := os.Stat(filepath.Join(dir, "new.key")); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the key file is %v, %v", info.Mode(), err)
	}
	if got := names(t, "."); got != "new.key old.csr" {
		t.Errorf("files are %s", got)
	}
}
