package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// typed is a standard input at which somebody answers.
type typed struct{ io.Reader }

func (typed) Interactive() bool { return true }

// answers runs a command line with a standard input.
func (s *shell) answers(line string, in io.Reader, code int) {
	s.Helper()
	var stdout, stderr bytes.Buffer
	got := run(context.Background(), environment{
		args: strings.Fields("cauase " + line), stdin: in, stdout: &stdout, stderr: &stderr, clock: s.daemon.Clock,
	})
	s.out, s.err = stdout.String(), stderr.String()
	if got != code {
		s.Fatalf("cauase %s: exit %d, want %d\n%s%s", line, got, code, s.out, s.err)
	}
}

func (s *shell) write(name string, content []byte) {
	s.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		s.Fatal(err)
	}
}

// sansOf are the names in the one certificate of a file.
func (s *shell) sansOf(path string) []string {
	s.Helper()
	crts, err := pemfile.ReadCertificates(path)
	if err != nil || len(crts) != 1 {
		s.Fatalf("%s: %d certificates, %v", path, len(crts), err)
	}
	return pki.SANStrings(crts[0].Extensions)
}

// A user needs one command for a certificate of their own, and one for a file of somebody else.
func TestOneCommandSigns(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --dns web.example --sign", 1)
	s.says("only users may do this")
	if got := s.files(); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	s.admin()
	s.ok("request --cn web --dns web.example --sign --validity 7d --profile server")
	s.says(`web.pem: certificate of CN=web`)
	if got := s.daemon.CAS.Approvals; len(got) != 1 || got[0] != "profile=server&validity=604800" {
		t.Errorf("signed as %q", got)
	}
	if got := s.daemon.CAS.Profiles; len(got) != 1 || got[0] != "profile=server" {
		t.Errorf("submitted as %q", got)
	}
	if pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.pem"}); err != nil || pair.Crt == nil {
		t.Errorf("%v", err)
	}
	s.ok("request --cn web --sign")
	s.says("holds a valid certificate")
	// What is pending already is signed, too, and nothing else is made.
	s.exits("request --cn later", 2)
	id := s.id()
	s.ok("request --cn later --sign")
	if s.id() != id {
		t.Errorf("another request: %s", s.out)
	}
	s.exits("request --cn x --validity 7d", 1)
	s.says("give --sign, too")

	csr := pkitest.NamedRequest(t, pkitest.Key(t), "printer")
	s.write("printer.csr", append([]byte("PKCS #10 Certificate Request Information:\n\tVersion: 1\n"), csr...))
	s.exits("sign printer.csr --dns printer.lan.example", 1)
	s.says("nobody can be asked.*\n.*hint: --yes does not ask")
	for _, answer := range []string{"n\n", "\n", "", "yeah\n"} {
		s.answers("sign printer.csr --dns printer.lan.example --eku server", typed{strings.NewReader(answer)}, 2)
		s.says("names: +DNS:printer.lan.example\n")
		s.says("sign this\\? \\[y/N\\]")
		s.says("is left pending, with the names and usages that it has itself\n.*hint: the same command again asks again")
	}
	s.answers("sign printer.csr --dns printer.lan.example --ip 192.0.2.9 --eku server --validity 7d", typed{strings.NewReader("yes\n")}, 0)
	s.says("printer.crt.pem: certificate of CN=printer")
	if got := s.sansOf("printer.crt.pem"); !slices.Equal(got, []string{"DNS:printer.lan.example", "IP:192.0.2.9"}) {
		t.Errorf("names %v", got)
	}
	s.ok("sign printer.csr --crt again.pem --yes")
	s.says("was signed already")
	s.exits("sign printer.csr --crt again.pem --yes --dns other.example", 1)
	s.says("was signed already, as it is")

	// From standard input to standard output.
	s.answers("sign - --yes", bytes.NewReader(pkitest.NamedRequest(t, pkitest.Key(t), "piped", "a.example")), 0)
	if _, err := pki.ParseCertificatePEM([]byte(s.out)); err != nil {
		t.Errorf("%q: %v", s.out, err)
	}
	s.answers("sign - --crt piped.pem --json", bytes.NewReader(csr), 1)
	s.says("--yes does not ask")
	s.answers("sign - --crt piped.pem --json --yes", bytes.NewReader(pkitest.NamedRequest(t, pkitest.Key(t), "json")), 0)
	var view certificateView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || view.Subject != "CN=json" || view.File != "piped.pem" {
		t.Errorf("%s: %v", s.out, err)
	}
}

// Nothing is overwritten but an older certificate for the same key, and this is found out before anything is signed.
func TestSignFileKeepsWhatIsThere(t *testing.T) {
	s := newShell(t)
	s.admin()
	csr := pkitest.NamedRequest(t, pkitest.Key(t), "host")
	s.write("host.csr.pem", csr)
	s.write("123", csr)
	for line, says := range map[string]string{
		"sign host.csr.pem --yes --crt admin.pem":    "admin.pem holds something else",
		"sign host.csr.pem --yes --crt host.csr.pem": "holds something else",
		"sign host.csr.pem --yes --crt cau.crt.pem":  "holds something else",
		"sign 123 --yes":                           "is an id where a file is expected\n.*hint: cauase csr sign 123",
		"sign host.csr.pem --yes --crt 7":          "is an id",
		"sign admin.pem --yes":                     "a private key, and no certificate signing request",
		"sign nowhere.csr --yes":                   "no such file",
		"sign --yes":                               "which request",
		"sign host.csr.pem --yes --eku everything": "is not one of server",
		"sign host.csr.pem --yes --validity soon":  "is not a duration",
	} {
		s.exits(line, 1)
		s.says(says)
	}
	if got := s.daemon.CAS.Profiles; len(got) != 0 {
		t.Errorf("submitted %q", got)
	}
	s.ok("sign host.csr.pem --yes")
	s.ok("sign host.csr.pem --yes")
}

// A host's common name becomes an alternative name, where alone verifiers look, unless the user says otherwise.
func TestHostInCommonNameOnly(t *testing.T) {
	s := newShell(t)
	s.admin()
	for line, want := range map[string][]string{
		"--cn a.example":                         {"DNS:a.example"},
		"--cn *.b.example --crt b.pem":           {"DNS:*.b.example"},
		"--cn 192.0.2.7":                         {"IP:192.0.2.7"},
		"--cn c.example --no-san":                {},
		"--cn d.example --ip 192.0.2.1":          {"IP:192.0.2.1"},
		"--cn e.example --dns other.example":     {"DNS:other.example"},
		"--cn f.example --profile server":        {"DNS:f.example"},
		"--cn g.example --profile code-signing":  {},
		"--cn h.example --eku code":              {},
		"--cn i.example --eku client --eku code": {"DNS:i.example"},
		"--cn single":                            {},
		"--cn single --crt s1.pem --eku server":  {"DNS:single"},
		"--cn bob --crt s2.pem --eku client":     {},
		"--cn *.top --crt top.pem --eku server":  {},
		"--cn 17 --crt n.pem --eku server":       {},
		"--cn 1.7 --crt n2.pem --eku server":     {},
		"--cn k.example. --crt k.pem":            {"DNS:k.example"},
		"--cn müller.example --crt idn.pem":      {"DNS:xn--mller-kva.example"},
		"--cn *.müller.example --crt idn2.pem":   {"DNS:*.xn--mller-kva.example"},
		"--cn *.*.example --crt w.pem":           {},
		"--cn l.example:443 --crt l.pem":         {},
		"--cn 2001:db8::1 --crt six.pem":         {"IP:2001:db8::1"},
		"--cn bob@n.example --crt mail.pem":      {},
		"--cn under_score.example":               {},
		"--cn 1.2 --crt dotted.pem":              {},
		"--cn -x.example --crt x.pem":            {},
		"--cn a..example --crt y.pem":            {},
		"--cn m.example@x --crt m.pem":           {},
		"--mode user --cn j.example":             {},
	} {
		s.ok("request --sign --json " + line)
		var view certificateView
		if err := json.Unmarshal([]byte(s.out), &view); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(view.SANs, want) {
			t.Errorf("%s: names %v, want %v", line, view.SANs, want)
		}
		if said := strings.Contains(s.err, "--no-san leaves it out"); said != (len(want) == 1 && !strings.Contains(line, "--dns") && !strings.Contains(line, "--ip")) {
			t.Errorf("%s: says %q", line, s.err)
		}
	}
	// An earlier request without it goes on as it is.
	s.exits("request --cn old.example --no-san", 2)
	s.ok("request --cn old.example --sign")
	if got := s.sansOf("old.example.pem"); len(got) != 0 {
		t.Errorf("names %v", got)
	}
	s.write("box.csr", pkitest.NamedRequest(t, pkitest.Key(t), "box.example"))
	s.ok("sign box.csr --yes")
	if got := s.sansOf("box.crt.pem"); !slices.Equal(got, []string{"DNS:box.example"}) {
		t.Errorf("names %v", got)
	}
	s.write("box2.csr", pkitest.NamedRequest(t, pkitest.Key(t), "box.example"))
	s.ok("sign box2.csr --yes --no-san --cn other.example --org O")
	crts, err := pemfile.ReadCertificates("box2.crt.pem")
	if err != nil || len(crts) != 1 || pki.SubjectString(crts[0].RawSubject) != "O=O,CN=other.example" && pki.SubjectString(crts[0].RawSubject) != "CN=other.example,O=O" {
		t.Errorf("%v, %v", crts, err)
	}
}

// Requests as other tools write them are taken from files, and only the request of these ever leaves the host.
func TestOnlyTheRequestLeaves(t *testing.T) {
	s := newShell(t)
	s.admin()
	key := pkitest.Key(t)
	secret, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pkitest.NamedRequest(t, key, "web")
	sent := s.bodies()
	s.write("both.pem", slices.Concat(secret, csr))
	s.ok("csr send both.pem")
	s.says("it holds a private key, too, which stays here")
	s.exits("csr send admin.pem", 1)
	s.says("the key must stay where it is")
	s.write("named-wrong.csr", bytes.ReplaceAll(secret, []byte("PRIVATE KEY"), []byte("CERTIFICATE REQUEST")))
	s.exits("csr send named-wrong.csr", 1)
	s.says("not a PKCS#10 request")
	id := s.pendingID()
	s.ok("csr sign --with both.pem " + id)
	s.answers("csr send -", bytes.NewReader(pkitest.NamedRequest(t, pkitest.Key(t), "piped")), 0)
	s.answers("csr send - -", bytes.NewReader(csr), 1)
	s.says("named more than once")
	for _, body := range sent() {
		if bytes.Contains(body, []byte("PRIVATE KEY")) || bytes.Contains(body, secret[30:80]) {
			t.Errorf("a key was sent: %s", body)
		}
	}
	if n := len(sent()); n < 3 {
		t.Errorf("only %d bodies were seen", n)
	}
}

// bodies collects what is sent to the daemon.
func (s *shell) bodies() func() [][]byte {
	var mu sync.Mutex
	var all [][]byte
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if len(body) > 0 {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, body)
		}
		return false
	})
	return func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// pendingID is the id of the one pending request.
func (s *shell) pendingID() string {
	s.Helper()
	s.ok("csr list --json")
	var views []requestView
	if err := json.Unmarshal([]byte(s.out), &views); err != nil || len(views) != 1 {
		s.Fatalf("%s: %v", s.out, err)
	}
	return views[0].ID
}

// What certtool, certutil, certreq and editors have written is taken from a file as it is.
func TestRequestsOfOtherTools(t *testing.T) {
	folder, err := filepath.Abs("testdata/requests")
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t)
	s.admin()
	names := map[string]string{
		"certutil.txt": "CN=nss host", "certreq.txt": "CN=host.corp.example", "utf16.bin": "CN=", "utf8-mark.pem": "CN=bom.example", "request.der": "CN=bom.example",
	}
	for name, subject := range names {
		path := filepath.Join(folder, name)
		s.ok("csr show " + path)
		s.says("subject: .*" + subject)
		s.ok("sign " + path + " --yes --crt " + name + ".crt")
		s.ok("csr send " + path)
	}
	// A name that no certificate of ours has is the daemon's to refuse: another one may take it.
	s.exits("csr send "+filepath.Join(folder, "certtool.txt"), 1)
	s.says("the daemon answered 400")
}
