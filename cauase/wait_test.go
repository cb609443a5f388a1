package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// onPoll does something once, when the certificate of a request that is pending has been asked for twice.
func (s *shell) onPoll(do func(id uint64)) {
	asked := 0
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/crt/") && strings.Trim(r.URL.Path[9:], "0123456789") == "" {
			if asked++; asked == 3 {
				do(mustID(s.T, r.URL.Path[9:]))
			}
		}
		return false
	})
	s.Cleanup(func() { s.daemon.Intercept(nil) })
}

func (s *shell) submitted() int {
	return len(s.daemon.CAS.Profiles)
}

// Where nobody can be asked, and nothing says that nobody needs to be, nothing is submitted. The null device is no terminal.
func TestNothingIsSubmittedWhereNobodyCanBeAsked(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, in := range []io.Reader{null, strings.NewReader("y\n"), nil} {
		s.answers("sign a.csr", in, 1)
		s.says("nobody can be asked whether this is right, and nothing was submitted: standard input is not a terminal\n.*hint: --yes does not ask")
	}
	if s.submitted() != 0 {
		t.Error("a request was submitted")
	}
}

// Nothing is submitted that could not be stored.
func TestNothingIsSignedThatCannotBeStored(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write to all folders: only what is missing is tried")
	}
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	if err := os.Mkdir("folder.pem", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("closed", 0o500); err != nil {
		t.Fatal(err)
	}
	outs := []string{"nowhere/a.pem", "folder.pem", "a.csr/a.pem"}
	if os.Geteuid() != 0 {
		outs = append(outs, "closed/a.pem")
	}
	for _, out := range outs {
		s.exits("sign a.csr --yes --crt "+out, 1)
		s.exits("request --cn host --key host.key --crt "+out, 1)
	}
	if s.submitted() != 0 {
		t.Errorf("%d requests were submitted", s.submitted())
	}
}

// While the certificate of somebody else's request is waited for, another user may sign it.
func TestSignWaitsForAnotherUser(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	s.onPoll(s.daemon.CAS.Approve)
	s.answers("sign a.csr --wait", typed{strings.NewReader("n\n")}, 0)
	s.says("not signed here")
	s.says("waiting for a decision on request [0-9]+")
	if got := s.sansOf("a.crt.pem"); !slices.Equal(got, []string{"DNS:host.example"}) {
		t.Errorf("names %v", got)
	}
	// Signed as it is, by somebody else, is not what was asked for.
	s.write("b.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	s.onPoll(s.daemon.CAS.Approve)
	s.answers("sign b.csr --dns other.example --wait", typed{strings.NewReader("n\n")}, 1)
	s.says("was signed already, as it is")
	if _, err := os.Stat("b.crt.pem"); err == nil {
		t.Error("it was stored")
	}
	s.write("c.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	s.onPoll(func(id uint64) { s.daemon.CAS.RejectFor(id, "not that one") })
	s.answers("sign c.csr --wait", typed{strings.NewReader("n\n")}, 4)
	s.says("was rejected on .*: not that one")
	s.daemon.Intercept(nil)

	s.write("d.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	s.answers("sign d.csr --wait=1ms", typed{strings.NewReader("n\n")}, 2)
	s.answers("sign d.csr --wait 5m", typed{strings.NewReader("n\n")}, 1)
	s.says("--wait=5m")
}

// Whoever interrupts at the question is told what is left, and goes on with it.
func TestInterruptedAtTheQuestion(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	defer out.Close()
	var stdout, stderr bytes.Buffer
	code := run(ctx, environment{
		args: strings.Fields("cauase sign a.csr --dns b.example"), stdin: typed{readStarts{in, cancel}}, stdout: &stdout, stderr: &stderr, clock: s.daemon.Clock,
	})
	if code != 2 || !strings.Contains(stderr.String(), "request 1000 was left pending\ncauase: hint: the same command again") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	s.ok("sign a.csr --dns b.example --yes")
	if s.submitted() != 1 {
		t.Errorf("submitted %d times", s.submitted())
	}
}

// readStarts cancels when somebody begins to read.
type readStarts struct {
	io.Reader
	cancel func()
}

func (r readStarts) Read(p []byte) (int, error) {
	r.cancel()
	return r.Reader.Read(p)
}

// The answer to what was signed may be lost: the same command again fetches it, and only it.
func TestSignAgainAfterTheAnswerIsLost(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	lost := false
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/crt/") && len(s.daemon.CAS.Approvals) > 0 && !lost {
			lost = true
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	const line = "sign a.csr --dns b.example --eku client --yes"
	s.exits(line, 1)
	s.says("hint: it was signed; cauase crt get [0-9]+ fetches it")
	s.ok(line)
	s.says("was signed already")
	if got := s.sansOf("a.crt.pem"); !slices.Equal(got, []string{"DNS:b.example"}) {
		t.Errorf("names %v", got)
	}
	s.exits("sign a.csr --dns c.example --eku client --yes", 1)
	s.exits("sign a.csr --dns b.example --eku server --yes", 1)
	s.exits("sign a.csr --dns b.example --eku client --validity 7d --yes", 1)
	s.says("was signed already, as it is, with the id")
}

// Whoever has submitted several requests hears of each of them, and of the reason.
func TestSendAndWait(t *testing.T) {
	s := newShell(t)
	s.admin()
	var ids []uint64
	for _, name := range []string{"a.csr", "b.csr"} {
		s.write(name, pkitest.NamedRequest(t, pkitest.Key(t), "host"))
	}
	s.ok("csr send a.csr b.csr")
	for line := range strings.Lines(s.out) {
		id, _, _ := strings.Cut(line, " ")
		ids = append(ids, mustID(t, id))
	}
	if s.exits("csr send --json a.csr b.csr --wait=1ms", 2); strings.Count(s.out, `"result": "pending"`) != 2 || strings.Count(s.err, "was left pending") != 2 {
		t.Errorf("%s%s", s.out, s.err)
	}
	s.onPoll(func(uint64) {
		s.daemon.CAS.Approve(ids[0])
		s.daemon.CAS.RejectFor(ids[1], "not b")
	})
	s.exits("csr send a.csr b.csr --wait --json", 4)
	var sent []sentView
	if err := json.Unmarshal([]byte(s.out), &sent); err != nil || len(sent) != 2 || sent[0].Result != "signed" || sent[1].Result != "rejected" || sent[1].Reason != "not b" || sent[1].RejectedAt == nil {
		t.Errorf("%s: %v", s.out, err)
	}
	s.daemon.Intercept(nil)
	s.ok("csr send a.csr --wait")
	s.says("request [0-9]+ is signed; cauase crt get [0-9]+ FILE fetches")
	s.exits("csr send a.csr --wait 5m", 1)
	s.says("--wait=5m")
	for _, flag := range []string{"", " --wait"} {
		s.exits("csr send nowhere.csr"+flag, 1)
		s.exits("csr send admin.pem"+flag, 1)
		s.says("error: admin.pem: request: a private key")
	}
}

// Why there is no certificate is told to whoever has the request.
func TestGetOfARejectedRequest(t *testing.T) {
	s := newShell(t)
	s.admin()
	csr := pkitest.NamedRequest(t, pkitest.Key(t), "host")
	s.write("host.csr.pem", csr)
	der, err := pki.ParseRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	s.write("elsewhere.der", der.CSR.Raw)
	s.write("other.csr", pkitest.NamedRequest(t, pkitest.Key(t), "other"))
	s.ok("csr send host.csr.pem")
	id := s.id()
	s.exits("crt get "+id, 2)
	s.says("hint: .*--wait")
	s.ok("csr reject " + id + " --reason=no-such-host")
	for _, line := range []string{" host.pem", " host.crt.pem", " host.crt", " --csr elsewhere.der", " --wait --csr host.csr.pem"} {
		s.exits("crt get "+id+line, 4)
		s.says("error: request " + id + " was rejected on .*: no-such-host")
	}
	for _, line := range []string{"", " x.pem", " -", " --wait"} {
		s.exits("crt get "+id+line, 1)
		s.says("hint: with --csr FILE")
	}
	s.exits("crt get "+id+" --csr other.csr", 1)
	s.exits("crt get "+id+" --csr 7", 1)
	s.exits("crt get "+id+" --csr nowhere", 1)
}

// Nothing is said twice in one message.
func TestErrorsAboutRequestsSayOnceWhatTheyAreAbout(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/cas/crt/") {
			http.Error(w, "no", http.StatusForbidden)
			return true
		}
		return false
	})
	s.exits("request --cn web --sign", 1)
	s.says(`error: sign request [0-9]+: the daemon answered 403: no\n.*hint: key and request are kept`)
	s.exits("request --cn web", 2)
	id := s.id()
	s.exits("csr sign "+id, 1)
	s.says(`error: sign request [0-9]+: the daemon answered 403: no\n`)
	// The reason is not hidden behind what is left.
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/cas/crt/") {
			http.Error(w, "revoked", http.StatusUnauthorized)
			return true
		}
		return false
	})
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host"))
	for _, line := range []string{"request --cn other --sign", "sign a.csr --yes"} {
		s.exits(line, 1)
		s.says(`hint: the certificate in --user-key is expired, revoked, or not one of a user of this CA; .*pending; the same command again`)
	}
	s.exits("csr sign 7", 1)
	s.says(`error: get request 7: the daemon answered 404`)
}
