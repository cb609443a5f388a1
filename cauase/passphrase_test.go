package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// typing answers prompts with what somebody types, in turn.
func (s *shell) typing(lines ...string) (asked *[]string) {
	asked = &[]string{}
	s.prompt = func(text string) ([]byte, error) {
		*asked = append(*asked, text)
		if len(lines) == 0 {
			return nil, errors.New("asked once too often: " + text)
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	}
	return asked
}

func (s *shell) encrypted(path string) bool {
	s.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	return bytes.Contains(content, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----")) && !bytes.Contains(content, []byte("-----BEGIN PRIVATE KEY-----"))
}

// A user's key is encrypted from the start, is used by every verb with its passphrase, and stays encrypted when it is renewed.
func TestEncryptedKey(t *testing.T) {
	s := newShell(t)
	s.daemon.CAU.AutoApprove, s.daemon.CAS.AutoApprove = 1, 1
	asked := s.typing("correct horse", "correct horse")
	s.ok("request --mode user --cn admin --encrypt")
	if !s.encrypted("admin.pem") || len(*asked) != 2 || !strings.HasPrefix((*asked)[0], "New passphrase for admin.pem") {
		t.Errorf("asked %q", *asked)
	}
	for _, name := range s.files() {
		if content, err := os.ReadFile(name); err == nil && bytes.Contains(content, []byte("-----BEGIN PRIVATE KEY")) {
			t.Errorf("%s has the key in the clear", name)
		}
	}
	s.Setenv("CAUASE_USER_KEY", "admin.pem")
	asked = s.typing("correct horse")
	s.ok("csr list")
	if len(*asked) != 1 || (*asked)[0] != "Passphrase for admin.pem: " {
		t.Errorf("asked %q", *asked)
	}
	before := len(s.daemon.Seen())
	s.typing("a", "b", "c")
	s.exits("csr list", 1)
	s.says("(?s)wrong passphrase, try again.*error: --user-key: admin.pem: wrong passphrase")
	if len(s.daemon.Seen()) != before {
		t.Error("the daemon was asked with a key that could not be read")
	}
	s.prompt = nil
	s.exits("csr list", 1)
	s.says("no terminal to ask for it\n.*hint: put it into a file that only you can read, and give that with --passphrase-file")

	for name, content := range map[string]string{"dos": "correct horse\r\nmore\n", "bad": "battery\n", "blank": "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.ok("csr list --passphrase-file dos")
	s.exits("csr list --passphrase-file bad", 1)
	s.says("wrong passphrase\n.*hint: the first line of bad does not open it")
	s.exits("csr list --passphrase-file blank", 1)
	s.says("the first line of blank is empty")
	s.exits("csr list --passphrase-file nowhere", 1)
	s.says("--passphrase-file: .*nowhere")

	// The pair of another key with another passphrase, beside the user's.
	s.typing("staple", "staple")
	s.ok("request --cn web --encrypt --key web.key --crt web.crt")
	for _, line := range []string{"crt renew --force web.crt web.key", "crt renew --force --mode user admin.pem"} {
		key := line[strings.LastIndex(line, " ")+1:]
		old, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		asked = s.typing(map[string]string{"web.key": "staple", "admin.pem": "correct horse"}[key])
		s.daemon.Clock.Advance(time.Hour)
		s.ok(line)
		renewed, err := os.ReadFile(key)
		if err != nil || bytes.Equal(renewed, old) || !s.encrypted(key) || len(*asked) != 1 {
			t.Errorf("%s: %v, asked %q", line, err, *asked)
		}
	}
	s.typing("staple")
	s.ok("crt revoke web.crt --key web.key")

	if path, err := exec.LookPath("openssl"); err == nil {
		out, err := exec.Command(path, "pkey", "-in", "admin.pem", "-passin", "pass:correct horse", "-noout", "-text").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("Private-Key")) {
			t.Errorf("openssl: %v, %s", err, out)
		}
	} else if os.Getenv("CAUASE_REQUIRE_ALL") != "" {
		t.Error(err)
	}
}

// A request that is pending keeps its key encrypted, staged or in place, and goes on with its passphrase.
func TestEncryptedRequestIsResumed(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.typing("correct horse", "correct horse")
	s.exits("request --cn web --encrypt", 2)
	id := s.id()
	if !s.encrypted("web.pem") {
		t.Error("the key of a pending request is in the clear")
	}
	s.typing("battery", "correct horse")
	s.exits("request --cn web --encrypt", 2)
	if s.id() != id {
		t.Errorf("another request: %s", s.out)
	}
	s.ok("csr sign " + id)
	s.typing("correct horse")
	s.ok("request --cn web")
	if !s.encrypted("web.pem") {
		t.Error("the key is in the clear")
	}
	// Two that differ are no passphrase, and a key in the clear is not taken for an encrypted one.
	s.typing("one", "two")
	s.exits("request --cn other --encrypt", 1)
	s.says("the two passphrases are not the same")
	s.typing("")
	s.exits("request --cn other --encrypt", 1)
	s.says("the passphrase is empty")
	s.exits("request --mode user --cn admin --encrypt", 1)
	s.says("holds a key that is not encrypted\n.*hint: .*openssl pkcs8 -topk8 -in FILE -out NEW")
	for _, name := range s.files() {
		if strings.HasPrefix(name, "other") || strings.HasPrefix(name, ".other") {
			t.Errorf("%s was left behind", name)
		}
	}
}

// What openssl encrypts is read, in the form of today and the traditional one.
func TestKeysThatOpenSSLEncrypts(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CAUASE_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip("there is no openssl")
	}
	s := newShell(t)
	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn admin --key admin.key --crt admin.crt")
	for name, args := range map[string]string{
		"pkcs8":       "pkcs8 -topk8 -in admin.key -out new.key -passout pass:x",
		"scrypt":      "pkcs8 -topk8 -scrypt -in admin.key -out new.key -passout pass:x",
		"traditional": "pkey -traditional -aes256 -in admin.key -out new.key -passout pass:x",
	} {
		if out, err := exec.Command(path, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		key, err := os.ReadFile("new.key")
		crt, crtErr := os.ReadFile("admin.crt")
		if err != nil || crtErr != nil {
			t.Fatal(err, crtErr)
		}
		if err := os.WriteFile("user.pem", append(key, crt...), 0o600); err != nil {
			t.Fatal(err)
		}
		s.typing("x")
		s.ok("--user-key user.pem csr list")
	}
}

// A key that is encrypted in a way of the past is not taken for one with another passphrase.
func TestKeyEncryptedInAnotherWay(t *testing.T) {
	s := newShell(t)
	s.admin()
	content, err := os.ReadFile("admin.pem")
	if err != nil {
		t.Fatal(err)
	}
	_, crt, _ := bytes.Cut(content, []byte("-----END PRIVATE KEY-----\n"))
	s.write("old.pem", append([]byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: RC2-40-CBC,BD6333CB6A4C3A4B\n\nMAAAAAAAAAAAAAAA\n-----END EC PRIVATE KEY-----\n"), crt...))
	s.write("passphrase", []byte("x\n"))
	s.typing("x")
	for _, line := range []string{"csr list --user-key old.pem", "csr list --user-key old.pem --passphrase-file passphrase"} {
		s.exits(line, 1)
		s.says(`encrypted in a way that is not known.*\n.*hint: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW`)
	}
}

// Whoever uses a key that everybody can read is told so.
func TestKeyThatOthersCanRead(t *testing.T) {
	s := newShell(t)
	s.admin()
	if err := os.Chmod("admin.pem", 0o644); err != nil {
		t.Fatal(err)
	}
	s.ok("csr list")
	s.says("warning: admin.pem holds a private key that every user of this machine can read: chmod 600 admin.pem")
	if err := os.Chmod("admin.pem", 0o640); err != nil {
		t.Fatal(err)
	}
	s.ok("csr list")
	if s.err != "" {
		t.Errorf("says %s", s.err)
	}
}

// So is whoever keeps a passphrase there.
func TestPassphraseThatOthersCanRead(t *testing.T) {
	s := newShell(t)
	s.admin()
	for _, mode := range []os.FileMode{0o600, 0o644} {
		if err := os.WriteFile("passphrase", []byte("correct horse\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod("passphrase", mode); err != nil {
			t.Fatal(err)
		}
		s.exits("request --cn x --encrypt --passphrase-file passphrase --force", 2)
		warned := strings.Contains(s.err, "warning: passphrase holds a passphrase that every user of this machine can read: chmod 600 passphrase")
		if warned != (mode == 0o644) {
			t.Errorf("%v: says %s", mode, s.err)
		}
	}
}
