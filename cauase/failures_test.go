package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/client"
)

// TestFailures gives command lines that must fail, say why, and change no file.
func TestFailures(t *testing.T) {
	s := newShell(t)
	s.admin()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.ok("request --mode user --cn admin") // so that it is there
	must(os.WriteFile("junk.pem", []byte("junk\n"), 0o600))
	must(os.Symlink("junk.pem", "link.pem"))
	must(os.Mkdir("folder", 0o755))
	pin := client.PinOf(s.daemon.CAU.Newest().Crt).String()
	tests := []struct{ line, says string }{
		{"frobnicate", `there is no command "frobnicate"`},
		{"csr frobnicate", `there is no command "csr frobnicate"`},
		{"--frobnicate", `there is no option --frobnicate`},
		{"csr list --frobnicate", `there is no option --frobnicate\n.*csr list --help`},
		{"--ca-url https://127.0.0.1 ca update", `give the http:// address`},
		{"--ca-url 127.0.0.1 ca update", `not of the form|not a URL`},
		{"--ca-url http://127.0.0.1:1 ca update", `connection refused`},
		{"--mode both ca update", `"both" is not one of service, user`},
		{"--threshold -1 ca update", `not a number of days`},
		{"--threshold NaN ca update", `is not a time such as 31 \(days\), 31d or 12h`}, {"--threshold 0x1p4 ca update", `is not a time such as 31 \(days\), 31d or 12h`},
		{"--threshold soon ca update", `--threshold: "soon" is not a time`},
		{"--key-type rsa-512 request --cn x", `--key-type: .*is not one of`},
		{"--ca-fingerprint sha256:12 ca update", `is not a fingerprint`},
		{"--ca-fingerprint= ca update", `is not a fingerprint`},
		{"--ca-fingerprint=, ca update", `is not a fingerprint`},
		{"--ca-fingerprint " + pin + " ca update", `hint: compare with the fingerprint`},
		{"request", `where to store the certificate`},
		{"request --cn ../x", `where to store the certificate`},
		{"request web", `names are given with flags`},
		{"request --crt x.pem", `names nobody`},
		{"request --cn x --dns -.example", `SubjectAltName DNS`},
		{"request --cn x --ip 300.1.1.1", `not an IP address`},
		{"request --cn x --uri nowhere", `not an absolute URI`},
		{"request --cn x --country xx", `two capital letters`},
		{"request --cn x --eku everything", `is not one of server`},
		{"request --cn x --csr x.pem", `needs a file of its own`},
		{"request --cn x --csr ./x.pem", `needs a file of its own`},
		{"request --cn x --crt x.crt --key x.key --csr folder/../x.key", `needs a file of its own`},
		{"request --cn x --csr admin.pem", `something else than a request, and would lose it`},
		{"request --cn x --csr admin.pem --force", `something else than a request, and would lose it`},
		{"request --cn x --csr junk.pem", `something else than a request, and would lose it`},
		{"request --cn x --crt junk.pem", `junk.pem exists, and`},
		{"request --cn x --crt x.crt --key junk.pem", `junk.pem exists, and`},
		{"request --cn x --crt admin.pem --key x.key", `admin.pem exists, and the key that goes with it is not in x.key`},
		{"request --cn x --crt cas.crt.pem --force", `cas.crt.pem is for what comes from the CA`},
		{"request --cn x --crt x.crt --key ./cas.crl.pem", `is for what comes from the CA`},
		{"request --cn x --crt admin.pem", `holds a private key already`},
		{"request --cn x --crt nowhere/x.pem", `no such file`},
		{"request --cn x --crt link.pem", `symbolic link`},
		{"request --cn x --crt folder", `not a regular file`},
		{"csr send", `which request`},
		{"csr send nowhere.pem", `no such file`},
		{"csr send junk.pem", `neither PEM nor DER`},
		{"csr send folder", `not a regular file`},
		{"csr show", `which request`},
		{"csr show nowhere", `no such file`},
		{"csr show 99", `answered 404`},
		{"csr show junk.pem", `neither PEM nor DER`},
		{"csr get abc x.pem", `is not the id`},
		{"csr get 99 x.pem", `answered 404`},
		{"csr sign", `which request`},
		{"csr sign abc", `is not the id`},
		{"csr sign 99", `answered 404`},
		{"csr sign 1 2 --with admin.csr.pem", `one request at a time`},
		{"csr sign 1 --with=", `--with needs the path`},
		{"csr sign 1 --with junk.pem", `junk.pem: .*neither PEM nor DER`},
		{"csr reject 99", `answered 404`},
		{"csr list --user-key junk.pem", `holds no private key`},
		{"csr list --user-key nowhere.pem", `no such file`},
		{"crt get", `which certificate`},
		{"crt get 99 x.pem", `no such request`},
		{"crt get -1 x.pem", `there is no option -1`},
		{"crt renew nowhere.pem", `no such file`},
		{"crt renew junk.pem", `hint: if the key is in a file of its own`},
		{"crt renew admin.pem --force", `not the holder`},
		{"crt revoke", `which certificate`},
		{"crt revoke nowhere.pem", `^cauase: error: open nowhere.pem: no such file or directory\n$`},
		{"--netloc ca.example ca update", `hint: --netloc is the daemon's; the CA's address is --ca-url`},
		{"--send-csr x.csr", `hint: here that is cauase csr send FILE`},
		{"--ca-url http://no-such-host.invalid ca update", `cannot find the host no-such-host.invalid.*\n.*hint: is the name in --ca-url right\?`},
		{"crt revoke --other junk.pem", `error: junk.pem holds no certificate: it is neither PEM nor DER`},
		{"crt revoke --serial 0", `not a positive number`},
		{"crt revoke --serial 1e5", `not a positive number`},
		{"crt revoke --serial 0x-1", `not a positive number`},
		{"crt revoke --serial 1 --reason removeFromCRL", `--reason: `},
		{"crt revoke a.pem b.pem --key k.pem", `--key goes with one`},
		{"crt show nowhere.pem", `no such file`},
		{"crt show junk.pem", `holds no certificate`},
		{"ca show --offline", `does not exist yet`},
		{"ca show x", `takes no arguments`},
		{"--ca-url http://127.0.0.1:1 ca show", `connection refused`},
		{"--catch-up -1 ca update", `--catch-up -1 is not a number of spans`},
		{"--catch-up NaN ca update", `is not a number in decimal digits`},
		{"--catch-up Inf ca update", `is not a number in decimal digits`},
		{"--catch-up soon ca update", `--catch-up: "soon" is not a number`},
		{"ca update x", `takes no arguments`},
		{"ca update --ca-crt junk.pem", `holds nothing usable`},
		{"ca update --ca-crt admin.pem", `no locally stored CA certificate`},
		{"ca update --ca-crt link.pem", `holds nothing usable`},
		{"crl show", `holds no revocation list`},
		{"crl update --crl admin.pem", `would lose it`},
		{"completion tcsh", `"tcsh" is not one of bash, zsh, fish`},
	}
	before := snapshot(s)
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			s.T = t
			if code := s.run(tt.line); code != 1 {
				t.Errorf("exit %d\n%s%s", code, s.out, s.err)
			}
			if !regexp.MustCompile(tt.says).MatchString(s.err) {
				t.Errorf("does not say %s:\n%s", tt.says, s.err)
			}
			for line := range strings.Lines(s.err) {
				if !strings.HasPrefix(line, "cauase: ") {
					t.Errorf("stray line %q", line)
				}
			}
			if after := snapshot(s); after != before {
				t.Errorf("files changed:\n%s\nwere:\n%s", after, before)
				before = after
			}
		})
	}
}

// snapshot shows all files and what they hold.
func snapshot(s *shell) string {
	var all strings.Builder
	for _, name := range s.files() {
		data, _ := os.ReadFile(name)
		all.WriteString(name + ": " + string(data) + "\n")
	}
	return all.String()
}

// What can be shown of several files is shown. If nothing was done, scripts read nothing: not a list without elements, which is
// what there is to say of nothing to do.
func TestSeveralThingsSomeOfWhichFail(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("crt show nowhere.pem admin.pem", 1)
	s.says(`CN=admin[\s\S]*nowhere\.pem: no such file`)
	for line, want := range map[string]bool{
		"--json crt show nowhere.pem admin.pem": true,
		"--json crt show nowhere.pem":           false,
		"--json csr send nowhere.pem":           false,
		"--json csr sign 5 6 --yes":             false,
		"--json csr reject 5 6":                 false,
		"--json crt revoke --serial 5":          false,
	} {
		s.exits(line, 1)
		if out := s.out; (out != "") != want {
			t.Errorf("%s: %q", line, out)
		}
	}
}
