package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

func TestFirstUser(t *testing.T) {
	s := newShell(t)
	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn alice")
	s.says(`first contact.* sha256:[0-9a-f]{64}`)
	s.says(`alice.pem: certificate of CN=alice, 93 days left`)
	if got, want := s.files(), []string{"alice.csr.pem", "alice.pem", "cau.crt.pem"}; !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if info, err := os.Stat("alice.pem"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("alice.pem has mode %v, %v", info.Mode(), err)
	}
	before := s.serial("alice.pem")
	s.ok("request --mode user --cn alice")
	if s.serial("alice.pem") != before {
		t.Error("the same command again made another certificate")
	}
	s.ok("csr list --user-key alice.pem")
	s.says("No request is pending")
}

func TestSignWith(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.exits("request --cn other --dns other.example --csr template.csr.pem", 2)
	s.ok("csr sign " + id + " --with template.csr.pem")
	s.ok("request --cn web")
	s.says(`note: signed with changes: subject is "CN=other", requested was "CN=web"`)
	s.says(`note: signed with changes: SANs are DNS:other.example, requested were none`)
}

// One file for key and certificate may be spelt in two ways.
func TestRequestOneFileTwice(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --crt web.pem --key ./web.pem", 2)
	s.ok("csr sign " + s.id())
	s.ok("request --cn web --crt web.pem --key ./web.pem")
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.pem"})
	if err != nil || pair.Crt == nil {
		t.Errorf("no key and certificate in web.pem: %v", err)
	}
}

// A comma is part of a name, except between fingerprints, which have one variable.
func TestCommas(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --org Example,Inc. --org Other --uri https://x.example/a,b", 2)
	req, err := os.ReadFile("web.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.ParseRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(slices.Values(csr.CSR.Subject.Organization)), []string{"Example,Inc.", "Other"}; !slices.Equal(got, want) {
		t.Errorf("organisations %q, want %q", got, want)
	}
	if want := []string{"URI:https://x.example/a,b"}; !slices.Equal(csr.SANs, want) {
		t.Errorf("SANs %q, want %q", csr.SANs, want)
	}
	pins := client.PinOf(s.daemon.CAU.Newest().Crt).String() + "," + client.PinOf(s.daemon.CAS.Newest().Crt).String()
	for _, list := range []string{pins, strings.ReplaceAll(pins, ",", " ")} {
		s.Setenv("CAUASE_CA_FINGERPRINT", list)
		s.ok("ca update --ca-crt pinned.pem")
		s.ok("ca update --mode user --user-ca-crt pinned-users.pem")
	}
}

// The same command again means the same names, before and after the certificate is there.
func TestRequestForOtherNames(t *testing.T) {
	s := newShell(t)
	s.admin()
	const full = "request --cn web --org O --dns a.example --ip 2001:DB8::1 --uri spiffe://x/y --eku server"
	s.exits(full, 2)
	id := s.id()
	for i := range 2 {
		for _, other := range []string{"--dns b.example", "--org P", "--ip 192.0.2.1", "--email a@b.example", "--uri spiffe://x/z", "--eku client"} {
			s.exits("request --cn web "+other, 1)
			s.says("error: .?web.csr.pem is a request without .*--" + strings.Fields(other)[0][2:])
			s.says("hint: .*--force")
		}
		if i == 0 {
			s.ok("csr sign " + id)
		}
		s.ok("request --cn web")
		s.ok(full)
	}
}

// Whoever signs has to see for what.
func TestShowRequestedUsages(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --eku server --eku code --eku 1.2.3.4", 2)
	s.ok("csr show " + s.id())
	s.says(`(?m)^usages: +server, code, 1\.2\.3\.4$`)
	s.says(`(?m)^asks for: +ExtendedKeyUsage, KeyUsage$`)
	s.ok("csr show --json web.csr.pem")
	s.says(`"usages": \[\s+"server",\s+"code",\s+"1\.2\.3\.4"\s+\]`)
}

func TestReject(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr reject " + id)
	s.exits("crt get "+id+" x.pem", 1)
	s.says("rejected")
}

// After a rejection the same command says so, as often as it is repeated, and submits nothing. Whoever wants it nevertheless
// says so.
func TestRejectedRequestIsNotSubmittedAgain(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --dns web.example", 2)
	id := s.id()
	for line, says := range map[string]string{
		"csr reject " + id + " --reason=":                                "--reason needs a text",
		"csr reject " + id + " --reason=" + strings.Repeat("x", 501):     "at most 500 are accepted",
		"csr reject " + id + " --reason=\x1b[2J":                         "not one line of text",
		"csr reject " + id + " --reason=" + strings.Repeat("\u202e", 10): "not one line of text",
	} {
		s.exits(line, 1)
		s.says(says)
	}
	s.ok("csr reject " + id + " --reason=no-such-host")
	for range 2 {
		s.exits("request --cn web --dns web.example", 4)
		s.says(`error: request in web.csr.pem was rejected on 2026-01-02 03:04:05 UTC: no-such-host\n.*hint: --again submits it once more`)
	}
	s.exits("request --cn web --json", 4)
	var view resultView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || view.Result != "rejected" || view.Reason != "no-such-host" || view.RejectedAt == nil || view.File != "web.csr.pem" {
		t.Errorf("%s: %v", s.out, err)
	}
	s.exits("csr send web.csr.pem", 4)
	s.says("no-such-host\n.*hint: --again")
	if got := s.daemon.CAS.Profiles; len(got) != 1 {
		t.Errorf("submitted %d times", len(got))
	}
	s.exits("request --cn web --again", 2)
	again := s.id()
	if again == id {
		t.Error("the id of what was rejected")
	}
	s.exits("request --cn web", 2)
	if s.id() != again {
		t.Error("submitted once more, although it is pending")
	}
	// While somebody waits.
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/crt/1") {
			s.daemon.CAS.RejectFor(mustID(t, again), "still no\x1b[2J")
		}
		return false
	})
	s.exits("request --cn web --wait", 4)
	s.says(`request ` + again + ` was rejected on .*: still no\\x1b\[2J`)
	s.daemon.Intercept(nil)
	s.exits("request --cn web --wait", 4)
	// A user who signs decides anew, and a new key is another request.
	s.ok("request --cn web --sign")
	s.exits("request --cn other", 2)
	s.ok("csr reject " + s.id())
	s.exits("request --cn other", 4)
	s.says(`was rejected on 2026-01-02 03:04:05 UTC\n`)
	s.exits("request --cn other --force", 2)
}

func mustID(t *testing.T, text string) uint64 {
	t.Helper()
	id, err := client.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(id)
}

// Waiting may end without a decision: the request stays pending, and can be resumed.
func TestWaitForALimitedTime(t *testing.T) {
	s := newShell(t)
	asked := 0
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		if asked++; asked > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	s.exits("request --cn web --wait=2500ms", 2)
	s.says("trying again in 1s")
	s.says("is pending|was left pending")
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	id := s.id()
	s.exits("request --cn web --wait=1ms", 2)
	if s.id() != id {
		t.Error("another request")
	}
	s.exits("request --cn web --wait=soon", 1)
	s.says("is not a duration such as")
	s.exits("request --cn web --wait 5m", 1)
	s.says("--wait=5m")
}

func TestWait(t *testing.T) {
	s := newShell(t)
	asked := 0
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/csr/") {
			asked++
			if asked == 1 {
				w.WriteHeader(http.StatusServiceUnavailable) // no reason to give up
				return true
			}
			w.WriteHeader(http.StatusNotFound) // rejected meanwhile
			return true
		}
		return false
	})
	s.exits("request --cn web --wait", 4)
	s.says("trying again")
	s.says("was rejected, or is long forgotten")
	if got := s.files(); !slices.Equal(got, []string{"cas.crt.pem"}) {
		t.Errorf("left %v", got)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/csr/") {
			cancel() // when it is known to be pending
		}
		return false
	})
	if code := s.runContext(ctx, "request --cn web --wait"); code != 2 {
		t.Errorf("interrupted: exit %d\n%s", code, s.err)
	}
	id := s.id()
	s.exits("request --cn web", 2)
	if s.id() != id {
		t.Error("an interrupted request was not resumed")
	}
}

// Whoever is in between a user and the daemon must not show a harmless request in the place of
// another.
func TestRequestShownToUserIsAuthentic(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn mallory", 2)
	id := s.id()
	s.exits("request --cn bob", 2)
	bob, err := os.ReadFile("bob.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.TLS != nil || !strings.HasSuffix(r.URL.Path, "/csr/"+id) {
			return false
		}
		_, err := w.Write(bob)
		return err == nil
	})
	s.ok("csr show " + id)
	s.says("CN=bob")
	s.admin()
	s.ok("csr show " + id)
	s.says("CN=mallory")
	s.ok("csr get " + id + " got.csr.pem")
	s.ok("csr show got.csr.pem")
	s.says("CN=mallory")
}
