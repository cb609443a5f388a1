package main

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/p12"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// opened reads a PKCS #12 file.
func (s *shell) opened(path, password string) p12.Identity {
	s.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		s.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
	id, err := p12.Decode(content, password)
	if err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	return id
}

// hasKey reports whether a private key is in the clear in any file.
func (s *shell) hasKey() (found []string) {
	s.Helper()
	for _, name := range s.files() {
		if content, err := os.ReadFile(name); err == nil && strings.Contains(string(content), "PRIVATE KEY-----") && name != "admin.pem" {
			found = append(found, name)
		}
	}
	return found
}

// TestBrowser: the one command for a colleague's browser. What remains is the file with the key in it, and the certificate to
// revoke it by.
func TestBrowser(t *testing.T) {
	s := newShell(t)
	s.admin()
	asked := s.typing("correct horse", "correct horse")
	s.ok("request --sign --cn bob --eku client --p12 bob.p12")
	s.says(`bob.p12: key and certificate of CN=bob, with 1 CA certificate\n`)
	if len(*asked) != 2 || (*asked)[0] != "New password for bob.p12: " {
		t.Errorf("asked %q", *asked)
	}
	id := s.opened("bob.p12", "correct horse")
	if len(id.Chain) != 1 || !id.Chain[0].Equal(s.daemon.CAS.Newest().Crt) || id.Crt.SerialNumber.String() != s.serial("bob.pem") {
		t.Errorf("%d CA certificates", len(id.Chain))
	}
	if found := s.hasKey(); len(found) > 0 || slices.Contains(s.files(), ".bob.p12.key") {
		t.Errorf("keys in the clear: %v of %v", found, s.files())
	}
	s.exits("request --sign --cn bob --eku client --p12 bob.p12", 1)
	s.says("bob.p12 exists\n.*hint: .*--force")
	before := id.Crt.SerialNumber.String()
	s.typing("battery", "battery")
	s.ok("request --sign --cn bob --eku client --p12 bob.p12 --force")
	if again := s.opened("bob.p12", "battery"); again.Crt.SerialNumber.String() == before || s.serial("bob.pem") == before {
		t.Error("--force has made nothing new")
	}
	s.ok("crt revoke --other bob.pem")

	// With files that are named, the key is there as ever.
	s.typing("correct horse", "correct horse")
	s.ok("request --sign --cn Carol --eku client --p12 carol.p12 --key carol.key --crt carol.crt --legacy")
	if found := s.hasKey(); !slices.Equal(found, []string{"carol.key"}) {
		t.Errorf("keys in %v", found)
	}
	s.opened("carol.p12", "correct horse")
	if left := strings.Join(s.files(), " "); strings.Contains(left, ".new") {
		t.Errorf("left %s", left)
	}
}

// TestP12Pending: the key waits beside the file that is to be made until somebody has signed, and a crash loses nothing.
func TestP12Pending(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("password", []byte("correct horse\n"))
	const request = "request --cn bob --eku client --p12 bob.p12 --p12-password-file password"
	s.exits(request, 2)
	if found := s.hasKey(); !slices.Equal(found, []string{".bob.p12.key"}) {
		t.Errorf("keys in %v", found)
	}
	s.ok("csr sign " + s.id())
	s.ok(request)
	id := s.opened("bob.p12", "correct horse")
	if found := s.hasKey(); len(found) > 0 {
		t.Errorf("keys in %v", found)
	}
	// Killed between the last two steps, or before both.
	key, err := pki.EncodePrivateKeyPEM(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"", "bob.p12"} {
		s.write(".bob.p12.key", key)
		if gone != "" {
			_ = os.Remove(gone)
		}
		s.ok(request)
		if found := s.hasKey(); len(found) > 0 || !s.opened("bob.p12", "correct horse").Equal(id) {
			t.Errorf("keys in %v", found)
		}
	}
	// Another's file is not overwritten, and the key not lost.
	s.write(".bob.p12.key", key)
	s.write("bob.p12", []byte("precious"))
	s.exits(request, 1)
	s.says("bob.p12 exists\n.*hint: key and certificate are in .bob.p12.key and bob.pem")
	if content, _ := os.ReadFile("bob.p12"); string(content) != "precious" || len(s.hasKey()) != 1 {
		t.Error("something is lost")
	}
}

// TestP12Passwords: where they come from, and that nobody else sees them.
func TestP12Passwords(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.ok("request --sign --cn web")
	s.shown = &strings.Builder{}
	s.ok("p12 --crt web.pem --make-password")
	made := regexp.MustCompile(`^Password of web.p12, shown this once: (\S+)\n$`).FindStringSubmatch(s.shown.String())
	if made == nil || strings.Contains(s.out+s.err, made[1]) {
		t.Fatalf("shown %q, said %q", s.shown, s.out+s.err)
	}
	s.opened("web.p12", made[1])
	s.shown = nil
	s.exits("p12 --crt web.pem --out b.p12 --make-password", 1)
	s.says("no terminal to show the password at\n.*hint: --p12-password-file")
	s.ok("p12 --crt web.pem --out b.p12 --make-password --p12-password-file b.pass")
	content, err := os.ReadFile("b.pass")
	if info, failed := os.Stat("b.pass"); err != nil || failed != nil || info.Mode() != 0o600 {
		t.Fatal(err, failed)
	}
	s.opened("b.p12", strings.TrimSpace(string(content)))
	s.exits("p12 --crt web.pem --out c.p12 --make-password --p12-password-file b.pass", 1)
	s.says("b.pass exists")
	s.exits("p12 --crt web.pem --out c.p12", 1)
	s.says("a password is needed, and there is no terminal to ask for it\n.*hint: .*--p12-password-file")
	s.typing("one", "two")
	s.exits("p12 --crt web.pem --out c.p12", 1)
	s.says("the two passwords are not the same")
	s.write("ä", []byte("straße\n"))
	s.write("emoji", []byte("🐎\n"))
	s.ok("p12 --crt web.pem --out d.p12 --p12-password-file ä")
	s.says("warning: the password of d.p12 has letters beyond ASCII")
	s.exits("p12 --crt web.pem --out c.p12 --p12-password-file emoji", 1)
	s.exits("request --cn x --legacy", 1)
	s.says("--legacy is about a PKCS #12 file")
	s.exits("p12 --crt web.pem --out c.p12 --p12-password-file - --passphrase-file -", 1)
	if slices.Contains(s.files(), "c.p12") {
		t.Error("made nevertheless")
	}
}

func TestP12OfFiles(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("password", []byte("correct horse\n"))
	s.ok("request --sign --cn web --key web.key --crt web.crt")
	s.typing("staple", "staple")
	s.ok("request --sign --cn locked --encrypt")
	const with = " --p12-password-file password"
	s.typing("staple")
	s.ok("p12 --crt locked.pem --ca cas.crt.pem" + with)
	if id := s.opened("locked.p12", "correct horse"); len(id.Chain) != 1 {
		t.Errorf("%d CA certificates", len(id.Chain))
	}
	s.ok("p12 --key web.key --crt web.crt --out web.p12" + with)
	s.opened("web.p12", "correct horse")
	s.write("cas.der", s.daemon.CAS.Newest().Crt.Raw)
	s.ok("p12 --key web.key --crt web.crt --ca cas.der --out der.p12" + with)
	if id := s.opened("der.p12", "correct horse"); len(id.Chain) != 1 {
		t.Errorf("%d CA certificates of DER", len(id.Chain))
	}
	s.write("stranger.key", pkitest.KeyPEM(t, pkitest.Key(t)))
	s.write("nothing", []byte(""))
	stranger := pkitest.NewCA(t, "Stranger", time.Now(), time.Now().Add(time.Hour))
	s.write("stranger.pem", pkitest.PEM(stranger.Crt))
	s.write("ed.pem", []byte(""))
	before := snapshot(s)
	for line, says := range map[string]string{
		"p12 --key stranger.key --crt web.crt --out x.p12":              "the key does not match the certificate\n.*hint: the certificate was issued for another key",
		"p12 --crt web.crt --out x.p12":                                 "web.crt holds no private key\n.*hint: --key",
		"p12 --crt web.key --out x.p12":                                 "web.key holds no certificate\n.*hint: --crt",
		"p12 --key web.key --crt nowhere --out x.p12":                   "nowhere",
		"p12 --key web.key --crt web.crt --out web.p12":                 "web.p12 exists\n.*--force",
		"p12 --key web.key --crt web.crt --out ./web.key --force":       "needs a file of its own",
		"p12 --key web.key --crt web.crt --ca stranger.pem --out x.p12": "none of the certificates there has signed",
		"p12 --key web.key --crt web.crt --ca nowhere --out x.p12":      "nowhere",
		"p12 --key web.key --crt web.crt --out no/where.p12":            "no such file",
		"p12 --key web.key --crt web.crt --out -":                       "not to standard output",
		"p12 --key web.key --crt web.crt --ca stranger.key --out x.p12": "--ca stranger.key",
		"p12 --out x.p12":     "which certificate",
		"p12 x --crt web.crt": "files are given with",
		"request --sign --cn other --p12 other.pem --crt other.pem": "needs a file of its own",
		"request --sign --cn other --p12 cas.crt.pem":               "cas.crt.pem",
		"request --sign --cn other --p12 no/where.p12":              "no such file",
		"request --sign --cn other --p12 . ":                        "not a regular file",
	} {
		s.exits(line+with, 1)
		s.says(says)
		if after := snapshot(s); after != before {
			t.Errorf("%s: files have changed:\n%s", line, after)
		}
	}
	s.ok("p12 --key web.key --crt web.crt --out web.p12 --force --legacy" + with)
	s.ok("self-signed --cn ed --type ed25519 --out ed" + with)
	s.ok("p12 --key ed/ed.key.pem --crt ed/ed.crt.pem" + with + " --force")
	s.says("warning: .*not taken by browsers")
}

func TestSelfSigned(t *testing.T) {
	s := newShell(t)
	s.ok("self-signed --cn www.example --type ECDSA-P384 --days 365 --out made/here")
	s.says("www.example.crt.pem: certificate of CN=www.example, 365 days left")
	for path, mode := range map[string]os.FileMode{
		"made": os.ModeDir | 0o700, "made/here": os.ModeDir | 0o700, "made/here/www.example.key.pem": 0o600, "made/here/www.example.crt.pem": 0o644,
		"made/here/www.example.p12": 0o600, "made/here/www.example.p12.password": 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v", path, err)
		}
	}
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "made/here/www.example.crt.pem", Key: "made/here/www.example.key.pem"})
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile("made/here/www.example.p12.password")
	if err != nil || !s.opened("made/here/www.example.p12", strings.TrimSpace(string(password))).Equal(p12.Identity{Key: pair.Key, Crt: pair.Crt}) {
		t.Errorf("the file holds something else: %v", err)
	}
	crt := pair.Crt
	if !slices.Equal(crt.DNSNames, []string{"www.example"}) || crt.IsCA || len(crt.ExtKeyUsage) != 2 || crt.CheckSignature(crt.SignatureAlgorithm, crt.RawTBSCertificate, crt.Signature) != nil {
		t.Errorf("%+v", crt)
	}
	if err := crt.VerifyHostname("www.example"); err != nil {
		t.Error(err)
	}
	before := snapshot(s)
	for line, says := range map[string]string{
		"self-signed --cn www.example --out made/here":                "www.example.key.pem exists\n.*--force",
		"self-signed --cn x":                                          "--out DIR",
		"self-signed --out new":                                       "--cn NAME",
		"self-signed --cn x --out new --type dsa":                     "dsa",
		"self-signed --cn x --out new --days 0":                       "--days",
		"self-signed --cn x --out new --days -1":                      "--days",
		"self-signed --cn x --out new --days 40000":                   "century",
		"self-signed --cn x --out new --ip 1.2.3":                     "--ip",
		"self-signed --cn x --out new --dns a_b:c":                    "",
		"self-signed --cn x --out made/here/www.example.crt.pem/new":  "not a directory",
		"self-signed --cn x --out new/er --p12-password-file nowhere": "nowhere",
	} {
		s.exits(line, 1)
		s.says(says)
		if after := snapshot(s); after != before {
			t.Errorf("%s: files have changed:\n%s", line, after)
		}
	}
	s.typing("one", "one", "two", "two")
	s.ok("self-signed --cn alice@example.org --eku email --org Example --encrypt --out mail --days 36h")
	id := s.opened("mail/alice@example.org.p12", "two")
	if !slices.Equal(id.Crt.EmailAddresses, []string{"alice@example.org"}) || !s.encrypted("mail/alice@example.org.key.pem") || id.Crt.NotAfter.Sub(id.Crt.NotBefore) != 36*time.Hour {
		t.Errorf("%v, %s", id.Crt.EmailAddresses, id.Crt.NotAfter)
	}
	s.prompt = nil
	s.ok("self-signed --cn www.example --dns other.example --out made/here --force")
	if again, err := pemfile.ReadCertificates("made/here/www.example.crt.pem"); err != nil || !slices.Equal(again[0].DNSNames, []string{"other.example"}) {
		t.Error(errors.Join(err, errors.New("not replaced")))
	}
}
