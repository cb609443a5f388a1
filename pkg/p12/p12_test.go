package p12_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cauase/pkg/p12"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// identity is one of alice, below a root and a CA in between.
func identity(t *testing.T, keyType pki.KeyType) p12.Identity {
	t.Helper()
	now := time.Now()
	root := pkitest.NewCA(t, "Root", now.Add(-time.Hour), now.Add(time.Hour))
	key := pkitest.Key(t)
	below := pkitest.CA{Key: key, Crt: root.Issue(t, "Between", key.Public(), func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})}
	alice := pkitest.SharedKey(t, keyType, "alice")
	return p12.Identity{Key: alice, Crt: below.Issue(t, "alice", alice.Public()), Chain: []*x509.Certificate{below.Crt, root.Crt}}
}

// TestReadByOthers has what is made read by the programs that people import it into: key, certificate and chain.
func TestReadByOthers(t *testing.T) {
	for program, debianPackage := range map[string]string{
		"openssl": "openssl", "certtool": "gnutls-bin", "pk12util": "libnss3-tools", "certutil": "libnss3-tools", "keytool": "default-jdk-headless",
	} {
		testkit.Need(t, program, debianPackage)
	}
	for _, keyType := range pki.KeyTypes() {
		for form, name := range map[p12.Form]string{p12.Modern: "modern", p12.Legacy: "legacy"} {
			t.Run(string(keyType)+" "+name, func(t *testing.T) {
				t.Parallel()
				readByOthers(t, identity(t, keyType), form, "k7mq-9f2c \\ 'x'")
			})
		}
	}
	t.Run("password beyond ASCII", func(t *testing.T) {
		readByOthers(t, identity(t, pki.KeyECDSAP256), p12.Modern, "k7mq Straße ŧ")
	})
}

func readByOthers(t *testing.T, id p12.Identity, form p12.Form, password string) {
	t.Helper()
	dir := t.TempDir()
	file, err := p12.Encode(id, password, form)
	if err != nil {
		t.Fatal(err)
	}
	path, pass := filepath.Join(dir, "alice.p12"), filepath.Join(dir, "password")
	for path, content := range map[string][]byte{path: file, pass: []byte(password + "\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C.UTF-8", "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v\n%s%s", program, err, &stdout, &stderr)
		}
		return stdout.String()
	}
	fingerprints := func(text string) (found []string) {
		for _, match := range regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----`).FindAllString(text, -1) {
			crts, err := pki.ParseCertificatesPEM([]byte(match + "\n"))
			if err != nil || len(crts) != 1 {
				t.Fatal(err)
			}
			found = append(found, crts[0].Subject.CommonName)
		}
		return found
	}
	const want = "[alice Between Root]"

	// OpenSSL: without its legacy provider, which is not installed everywhere, the key comes back as it was.
	out := run("openssl", "pkcs12", "-in", path, "-passin", "file:"+pass, "-nodes")
	if got := fmt.Sprint(fingerprints(out)); got != want {
		t.Errorf("openssl finds %s", got)
	}
	key, err := pki.ParsePrivateKeyPEM([]byte(regexp.MustCompile(`(?s)-----BEGIN PRIVATE KEY-----.*-----END PRIVATE KEY-----\n`).FindString(out)))
	if err != nil || !pki.SameKey(key.Public(), id.Crt.PublicKey) {
		t.Errorf("openssl has another key: %v", err)
	}

	// GnuTLS takes the password on its command line or at a terminal only.
	out = run("certtool", "--p12-info", "--inder", "--infile", path, "--password", password)
	if strings.Count(out, "BEGIN CERTIFICATE") != 3 || !strings.Contains(out, "BEGIN PRIVATE KEY") && !strings.Contains(out, "BEGIN ENCRYPTED PRIVATE KEY") {
		t.Errorf("certtool finds:\n%s", out)
	}

	// Java reads other passwords in ways of its own.
	if p12.Portable(password) {
		out = run("keytool", "-list", "-rfc", "-storetype", "PKCS12", "-keystore", path, "-storepass:file", pass)
		if got := fmt.Sprint(fingerprints(out)); got != want || !strings.Contains(out, "PrivateKeyEntry") {
			t.Errorf("keytool finds %s:\n%s", got, out)
		}
	}

	// NSS, which is Firefox and Chromium.
	if p12.Unsupported(id.Crt.PublicKey) != "" {
		return
	}
	db := "sql:" + filepath.Join(dir, "nss")
	if err := os.Mkdir(filepath.Join(dir, "nss"), 0o700); err != nil {
		t.Fatal(err)
	}
	run("certutil", "-N", "-d", db, "--empty-password")
	run("pk12util", "-i", path, "-d", db, "-w", pass)
	out = run("certutil", "-L", "-d", db)
	if !regexp.MustCompile(`(?m)^alice.* u,u,u *$`).MatchString(out) || !strings.Contains(out, "Between") {
		t.Errorf("NSS finds:\n%s", out)
	}
}

// TestForms looks at the algorithms themselves.
func TestForms(t *testing.T) {
	aes256, sha256 := []byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a"), []byte("\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x09")
	des3, rc2 := []byte("\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03"), []byte("\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06")
	id := identity(t, pki.KeyECDSAP256)
	modern, err := p12.Encode(id, "x", p12.Modern)
	if err != nil || bytes.Count(modern, aes256) == 0 || bytes.Count(modern, sha256) == 0 || bytes.Contains(modern, des3) {
		t.Errorf("modern: %v", err)
	}
	legacy, err := p12.Encode(id, "x", p12.Legacy)
	if err != nil || !bytes.Contains(legacy, des3) || bytes.Contains(legacy, aes256) || bytes.Contains(legacy, rc2) {
		t.Errorf("legacy: %v", err)
	}
	for _, file := range [][]byte{modern, legacy} {
		if _, err := p12.Decode(file, "y"); !errors.Is(err, p12.ErrPassword) {
			t.Errorf("with another password: %v", err)
		}
		if _, err := p12.Decode(file[:len(file)-7], "x"); err == nil || errors.Is(err, p12.ErrPassword) {
			t.Errorf("cut off: %v", err)
		}
		if got, err := p12.Decode(file, "x"); err != nil || !got.Equal(id) {
			t.Errorf("back: %v", err)
		}
	}
}

func TestRefuses(t *testing.T) {
	id := identity(t, pki.KeyECDSAP256)
	for _, password := range []string{"", "\xff", "a\tb", "horse 🐎", strings.Repeat("x", 200)} {
		if _, err := p12.Encode(id, password, p12.Modern); err == nil {
			t.Errorf("%q is taken", password)
		}
	}
	id.Key = pkitest.Key(t)
	if _, err := p12.Encode(id, "x", p12.Modern); err == nil {
		t.Error("a key of another certificate is taken")
	}
}

func TestChainOf(t *testing.T) {
	id := identity(t, pki.KeyECDSAP256)
	between, root := id.Chain[0], id.Chain[1]
	stranger := identity(t, pki.KeyECDSAP256).Chain
	for _, c := range []struct{ from, want []*x509.Certificate }{
		{nil, nil},
		{[]*x509.Certificate{root, stranger[0], between, root}, []*x509.Certificate{between, root}},
		{[]*x509.Certificate{between, stranger[1]}, []*x509.Certificate{between}},
		{[]*x509.Certificate{root, stranger[0]}, nil},
		{[]*x509.Certificate{id.Crt}, nil},
	} {
		if got := p12.ChainOf(id.Crt, c.from); !(p12.Identity{Key: id.Key, Crt: id.Crt, Chain: got}).Equal(p12.Identity{Key: id.Key, Crt: id.Crt, Chain: c.want}) {
			t.Errorf("%d of %d certificates", len(got), len(c.from))
		}
	}
}

func TestNewPassword(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		password, err := p12.NewPassword()
		if err != nil || seen[password] || !regexp.MustCompile(`^[a-km-np-z2-9]{4}(-[a-km-np-z2-9]{4}){4}$`).MatchString(password) {
			t.Fatal(password, err)
		}
		seen[password] = true
		if err := p12.CheckPassword(password); err != nil {
			t.Error(err)
		}
	}
}
