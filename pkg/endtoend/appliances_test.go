package endtoend

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/pki"
)

// A desk is a user with a daemon, who signs what others bring.
type desk struct {
	*testing.T
	dir, url string
}

func newDesk(t *testing.T) *desk {
	netloc, err := freeNetloc()
	check(t, err)
	d := &desk{T: t, dir: t.TempDir()}
	ca := filepath.Join(d.dir, "ca")
	check(t, os.Mkdir(ca, 0o700))
	daemon, err := startDaemon(ca, netloc, os.Environ())
	check(t, err)
	t.Cleanup(daemon.kill)
	d.url = daemon.url()
	d.ours("request", "--cn", "alice", "--crt", "alice.pem", "--invite", "ca/first-user.invite")
	check(t, os.WriteFile(filepath.Join(d.dir, "key"), nil, 0o600))
	return d
}

// must runs a program, and returns what it prints.
func (d *desk) must(name string, args ...string) string {
	d.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (d *desk) ours(args ...string) string {
	d.Helper()
	return d.must("cauase", append([]string{"--ca-url", d.url}, args...)...)
}

func (d *desk) sign(args ...string) (int, string) {
	d.Helper()
	return runTool(d.T, d.dir, "cauase", append([]string{"--ca-url", d.url, "--user-key", "alice.pem", "sign"}, args...)...)
}

// requestsOfAppliances are the files of testdata/requests: what is said of each, and what openssl reads in the certificate.
var requestsOfAppliances = map[string]struct{ corrected, subject, names string }{
	"openssl.pem":              {"", "CN = printer.lab.example, O = Bücherei, C = DE", "DNS:printer.lab.example, IP Address:192.0.2.20"},
	"openssl-text.txt":         {"", "CN = printer.lab.example, O = Bücherei, C = DE", "DNS:printer.lab.example, IP Address:192.0.2.20"},
	"openssl.der":              {"", "CN = camera.lab.example", "DNS:camera.lab.example"},
	"openssl-t61.pem":          {`O "Bücherei": T61String → UTF8String, read as Latin-1`, "CN = printer.lab.example, O = Bücherei, C = DE", "DNS:printer.lab.example"},
	"openssl-bmp.pem":          {`CN "printer.lab.example": BMPString → UTF8String`, "CN = printer.lab.example, O = Bücherei, C = DE", "DNS:printer.lab.example"},
	"keytool.csr":              {"", "CN = tomcat.lab.example, OU = Web, O = Example, L = Unknown, ST = Unknown, C = DE", "DNS:tomcat.lab.example"},
	"keytool-san.csr":          {"", "CN = tomcat.lab.example", "DNS:tomcat.lab.example, IP Address:192.0.2.21"},
	"certtool.txt":             {"", "CN = ldap.lab.example, O = Example", "DNS:ldap.lab.example, IP Address:192.0.2.22"},
	"certutil.txt":             {"", "CN = mail.lab.example, O = Example", "DNS:mail.lab.example"},
	"certutil.der":             {"", "CN = mail.lab.example, O = Example", "DNS:mail.lab.example"},
	"certreq.req":              {"", "CN = web01.lab.example, O = Example, C = DE", "DNS:web01.lab.example, DNS:web01"},
	"certreq-2000.req":         {"extensions are taken from Microsoft's old attribute", "CN = exchange.lab.example, O = Müller & Söhne", "DNS:exchange.lab.example"},
	"certreq-utf16.req":        {"", "CN = iis.lab.example", "DNS:iis.lab.example"},
	"windows-upn.req":          {"otherName:1.3.6.1.4.1.311.20.2.3 is a kind of name that is not certified", "CN = web02.lab.example", "DNS:web02.lab.example"},
	"utf8-bom.pem":             {"", "CN = nas.lab.example", "DNS:nas.lab.example"},
	"switch-t61.pem":           {"OU is empty, and left out", "CN = switch-7.lab.example, L = Köln, C = DE", "DNS:switch-7.lab.example"},
	"switch-t61-utf8.pem":      {`L "Köln": T61String → UTF8String, read as UTF-8`, "CN = switch-8.lab.example, L = Köln", "DNS:switch-8.lab.example"},
	"router-no-attributes.pem": {"the field for attributes is missing", "CN = router.lab.example, serialNumber = FOC1234X0AB", "DNS:router.lab.example"},
	"balancer-star.pem":        {`CN "*.lab.example": PrintableString → UTF8String`, "CN = *.lab.example", "DNS:*.lab.example"},
	"ups-address.pem":          {"DNS:192.0.2.23 → IP:192.0.2.23", "emailAddress = admin@lab.example, CN = ups", "DNS:ups.lab.example, IP Address:192.0.2.23, IP Address:192.0.2.24"},
	"ilo-unsorted.pem":         {"encoded anew: CSR: attributes: SET whose elements are not sorted", "CN = ilo.lab.example", "DNS:ilo.lab.example"},
	"phone-universal.pem":      {`CN "phone.lab.example": UniversalString → UTF8String`, "CN = phone.lab.example", "DNS:phone.lab.example"},
	"scanner-umlaut.pem":       {"DNS:büro.lab.example → DNS:xn--bro-hoa.lab.example", "CN = büro.lab.example", "DNS:xn--bro-hoa.lab.example"},
}

// Whatever an appliance writes for a request, one command signs it, says what it had to correct, and answers in the form that
// the appliance takes: each is read back by openssl.
func TestRequestsOfAppliances(t *testing.T) {
	t.Parallel()
	needTool(t, "openssl")
	d := newDesk(t)
	files, err := filepath.Glob("../../testdata/requests/*.*")
	check(t, err)
	for _, file := range files {
		name := filepath.Base(file)
		if name == "README.md" || name == "make.sh" || name == "construct.py" {
			continue
		}
		want, known := requestsOfAppliances[name]
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		content, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(d.dir, name), content, 0o600))
		code, out := d.sign(name, "--yes", "--out", name+".crt")
		if code != 0 || !strings.Contains(out, want.corrected) || want.corrected == "" && strings.Contains(out, "corrected:") {
			t.Errorf("%s: %d\n%s", name, code, out)
			continue
		}
		if strings.Contains(out, "let-me-in") {
			t.Errorf("%s: the challenge password is shown\n%s", name, out)
		}
		text := d.must("openssl", "x509", "-in", name+".crt", "-noout", "-subject", "-ext", "subjectAltName", "-nameopt", "oneline,-esc_msb,utf8,dn_rev", "-pubkey")
		if !strings.Contains(text, "subject="+want.subject+"\n") || !strings.Contains(text, "    "+want.names+"\n") {
			t.Errorf("%s: openssl reads %s", name, text)
		}
		// The key is that of the request, whatever else was changed.
		found, err := pki.ReadLocalRequest(content)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(d.dir, "request.pem"), found.PEM, 0o600))
		key := d.must("openssl", "req", "-in", "request.pem", "-noout", "-pubkey")
		if begin := strings.Index(text, "-----BEGIN PUBLIC KEY"); begin < 0 || !strings.HasPrefix(text[begin:], strings.TrimSpace(key[strings.Index(key, "-----BEGIN"):])) {
			t.Errorf("%s: the certificate is for another key", name)
		}
	}

	// What is signed is on record as it came, and everything that the daemon keeps is consistent.
	if code, out := runTool(t, filepath.Join(d.dir, "ca"), "cauased", "manage", "check"); code != 0 {
		t.Errorf("check: %d %s", code, out)
	}
}

// Each form of an answer holds what it says, and nothing else is overwritten by one.
func TestRepliesToAppliances(t *testing.T) {
	t.Parallel()
	needTool(t, "openssl")
	d := newDesk(t)
	for _, name := range []string{"switch-t61.pem", "openssl.pem"} {
		content, err := os.ReadFile(filepath.Join("../../testdata/requests", name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(d.dir, name), content, 0o600))
	}
	d.ours("--user-key", "alice.pem", "sign", "switch-t61.pem", "--yes")
	leaf := strings.TrimSpace(d.must("openssl", "x509", "-in", "switch-t61.crt.pem", "-noout", "-fingerprint", "-sha256"))
	again := func(args ...string) {
		t.Helper()
		if code, out := d.sign(append([]string{"switch-t61.pem", "--yes"}, args...)...); code != 0 {
			t.Fatalf("%v: %d %s", args, code, out)
		}
	}
	prints := func(args ...string) string { return d.must("openssl", args...) }

	again("--format", "der")
	if out := prints("x509", "-in", "switch-t61.crt.der", "-inform", "DER", "-noout", "-fingerprint", "-sha256"); !strings.Contains(out, leaf) {
		t.Errorf("der: %s", out)
	}
	for file, args := range map[string][]string{
		"switch-t61.p7b": {"--format", "p7b"}, "named.P7B": {"--out", "named.P7B"}, "switch.cms": {"--format", "p7b", "--out", "switch.cms"},
	} {
		again(args...)
		again(args...) // which replaces it
		certificates := prints("pkcs7", "-in", file, "-print_certs")
		if n := strings.Count(certificates, "BEGIN CERTIFICATE"); n != 2 || strings.Index(certificates, "switch-7") > strings.Index(certificates, "CAS at") {
			t.Errorf("%s: %d certificates\n%s", file, n, certificates)
		}
	}
	again("--format", "p7b-der", "--out", "der.p7b")
	if out := prints("pkcs7", "-in", "der.p7b", "-inform", "DER", "-print_certs", "-noout"); strings.Count(out, "subject=") != 2 {
		t.Errorf("p7b-der: %s", out)
	}
	again("--format", "chain")
	d.must("openssl", "verify", "-CAfile", "switch-t61.chain.pem", "switch-t61.crt.pem")
	if content, err := os.ReadFile(filepath.Join(d.dir, "switch-t61.chain.pem")); err != nil || strings.Count(string(content), "BEGIN CERTIFICATE") != 2 {
		t.Errorf("chain: %s, %v", content, err)
	}
	cmd := exec.Command("cauase", "--ca-url", d.url, "--user-key", "alice.pem", "sign", "-", "--yes", "--format", "der")
	cmd.Dir = d.dir
	request, err := os.ReadFile(filepath.Join(d.dir, "switch-t61.pem"))
	check(t, err)
	cmd.Stdin = bytes.NewReader(request)
	if out, err := cmd.Output(); err != nil || len(out) == 0 || out[0] != 0x30 {
		t.Errorf("to standard output: %q, %v", out, err)
	}

	for says, args := range map[string][]string{
		"holds something else":   {"openssl.pem", "--yes", "--format", "p7b", "--out", "switch-t61.p7b"},
		"is not one of":          {"openssl.pem", "--yes", "--format", "jks"},
		"--chain is for":         {"openssl.pem", "--yes", "--format", "p7b", "--chain"},
		"DER is no text":         {"openssl.pem", "--yes", "--format", "der", "--out", "-", "--json"},
		"was signed already, as": {"switch-t61.pem", "--yes", "--dns", "other.example", "--out", "x.pem"},
	} {
		if code, out := d.sign(args...); code == 0 || !strings.Contains(out, says) {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	code, out := d.sign("switch-t61.pem", "--yes", "--json", "--out", "json.pem")
	if code != 0 || !strings.Contains(out, `"file": "json.pem"`) {
		t.Errorf("json: %d %s", code, out)
	}
}

// What is no request, proves nothing, or cannot be corrected without guessing is refused with what it is and what to do, and
// leaves nothing behind.
func TestRefusedRequestsOfAppliances(t *testing.T) {
	t.Parallel()
	needTool(t, "openssl")
	d := newDesk(t)
	d.must("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem")
	d.must("openssl", "pkey", "-in", "key.pem", "-outform", "DER", "-out", "key.der")
	check(t, os.WriteFile(filepath.Join(d.dir, "huge.pem"), bytes.Repeat([]byte("x\n"), 3<<20), 0o600))
	for name, says := range map[string]string{
		"two.pem":            "2 certificate signing requests where one is expected: put each into a file of its own",
		"damaged.pem":        "self-signature does not verify.*\n.*hint: copy the file from the device once more",
		"damaged-t61.pem":    "self-signature does not verify",
		"small-key.pem":      "RSA modulus of 1024 bits: at least 2048 needed\n.*hint: have the device make another",
		"sha1.pem":           "SHA1-RSA is not accepted.*\n.*hint: .*signed with SHA-256",
		"escape.pem":         `subject: CN: "web\\x1b\[31m.*control character U\+001B\n.*hint: give the names with --cn`,
		"name-with-port.pem": `SubjectAltName: DNS: "web.lab.example:443".*\n.*hint: give the names with`,
		"nobody.pem":         "names nobody\n.*hint: give the names",
		"cut-off.pem":        "it is cut off, of [0-9]+ bytes there are 300",
		"cut-off.txt":        "has no end: it is cut off",
		"cut-off.der":        "it is cut off, of",
		"certificate.pem":    "a certificate, and no certificate signing request",
		"key.pem":            "a private key, and no certificate signing request: the key must stay where it is",
		"key.der":            "a private key, and no",
		"huge.pem":           "longer than",
	} {
		if content, err := os.ReadFile(filepath.Join("../../testdata/requests/refused", name)); err == nil {
			check(t, os.WriteFile(filepath.Join(d.dir, name), content, 0o600))
		}
		code, out := d.sign(name, "--yes", "--out", "refused.pem")
		if code != 1 || !regexp.MustCompile(says).MatchString(out) || strings.Contains(out, "\x1b") || strings.Contains(out, "PRIVATE") {
			t.Errorf("%s: %d %s", name, code, out)
		}
		if _, err := os.Stat(filepath.Join(d.dir, "refused.pem")); err == nil {
			t.Fatalf("%s: something was written", name)
		}
	}
	if out := d.ours("--user-key", "alice.pem", "csr", "list"); !strings.Contains(out, "No request is pending") {
		t.Errorf("left: %s", out)
	}
	// With names that a user gives, what cannot be corrected is not looked at.
	for name, args := range map[string][]string{
		"escape.pem": {"--cn", "web.lab.example"}, "name-with-port.pem": {"--dns", "web.lab.example"}, "nobody.pem": {"--dns", "web.lab.example"},
	} {
		code, out := d.sign(append([]string{name, "--yes", "--out", name + ".crt"}, args...)...)
		if text := d.must("openssl", "x509", "-in", name+".crt", "-noout", "-text"); code != 0 || !strings.Contains(text, "DNS:web.lab.example\n") {
			t.Errorf("%s: %d %s\n%s", name, code, out, text)
		}
	}
}

// The tools that make requests import what they are answered into where the key is.
func TestToolsImportTheirReplies(t *testing.T) {
	t.Parallel()
	needTool(t, "openssl")
	d := newDesk(t)
	t.Run("keytool", func(t *testing.T) {
		needTool(t, "keytool")
		keytool := func(args ...string) string {
			return d.must("keytool", append(args, "-keystore", "store.p12", "-storepass", "changeit", "-noprompt")...)
		}
		for format, file := range map[string]string{"p7b": "reply.p7b", "p7b-der": "reply.der.p7b", "chain": "reply.pem"} {
			keytool("-genkeypair", "-alias", format, "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN="+format+".lab.example")
			keytool("-certreq", "-alias", format, "-file", format+".csr")
			if code, out := d.sign(format+".csr", "--yes", "--format", format, "--out", file); code != 0 {
				t.Fatal(out)
			}
			keytool("-importcert", "-alias", format, "-file", file) // which checks the key, and the chain
			if list := keytool("-list", "-v", "-alias", format); !strings.Contains(list, "Certificate chain length: 2") || !strings.Contains(list, "CN=Caucase CAS") {
				t.Errorf("%s: %s", format, list)
			}
		}
	})
	t.Run("certutil", func(t *testing.T) {
		needTool(t, "certutil")
		check(t, os.Mkdir(filepath.Join(d.dir, "nss"), 0o700))
		check(t, os.WriteFile(filepath.Join(d.dir, "noise"), bytes.Repeat([]byte("noise"), 20), 0o600))
		d.must("certutil", "-N", "-d", "nss", "--empty-password")
		d.must("certutil", "-R", "-d", "nss", "-f", "key", "-z", "noise", "-s", "CN=mail.lab.example", "-g", "2048", "-a", "-o", "nss.txt")
		if code, out := d.sign("nss.txt", "--yes", "--format", "der", "--out", "nss.der"); code != 0 {
			t.Fatal(out)
		}
		d.must("certutil", "-A", "-d", "nss", "-n", "mail", "-t", ",,", "-i", "nss.der")
		if keys := d.must("certutil", "-K", "-d", "nss", "-f", "key"); !strings.Contains(keys, "mail") {
			t.Errorf("the certificate has not found its key: %s", keys)
		}
		if out := d.must("certutil", "-L", "-d", "nss", "-n", "mail"); !strings.Contains(out, "mail.lab.example") {
			t.Errorf("%s", out)
		}
	})
}
