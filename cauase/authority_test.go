package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/pemfile"
)

// newTreeShell has, beside the usual authorities, one named web under the root home-root.
func newTreeShell(t *testing.T) (s *shell, root, web *clienttest.Authority) {
	t.Helper()
	s = newShell(t)
	root = clienttest.NewAuthority(t, s.daemon.Clock, "Root")
	web = clienttest.NewAuthorityUnder(t, s.daemon.Clock, "Web", root)
	s.daemon.Others = map[string]*clienttest.Authority{"home-root": root, "web": web}
	return s, root, web
}

func (s *shell) certificates(path string) []*x509.Certificate {
	s.Helper()
	crts, err := pemfile.ReadCertificates(path)
	if err != nil {
		s.Fatal(err)
	}
	return crts
}

// TestAuthority works with an authority by its name, whose files are named after it.
func TestAuthority(t *testing.T) {
	s, _, web := newTreeShell(t)
	s.admin()
	s.exits("--authority web request --cn www", 2)
	id := s.id()
	s.says("hint: .*csr sign " + id + " --authority web --user-key FILE")
	s.ok("--authority web csr list")
	s.says(id + ` +as-requested +93d +ECDSA P-256 +CN=www`)
	s.ok("csr sign --authority web " + id)
	s.Setenv("CAUASE_AUTHORITY", "web")
	s.ok("request --cn www")
	s.ok("crl update")
	s.says("web.crl.pem: updated")
	for _, name := range []string{"web.crt.pem", "web.crl.pem"} {
		if !slices.Contains(s.files(), name) {
			t.Errorf("no %s among %v", name, s.files())
		}
	}
	s.ok("crt show www.pem")
	s.says("trusted: +yes, by web.crt.pem")
	s.exits("--mode user ca update", 1)
	s.says("--mode and CAUASE_AUTHORITY exclude each other")
	os.Unsetenv("CAUASE_AUTHORITY")
	s.exits("--authority ../web ca update", 1)
	s.says("is not the name of an authority")
	s.exits("--authority nowhere ca update", 1)
	s.says("404")
	s.ok("--authority cas ca update") // is --mode service
	if got := s.certificates("cas.crt.pem"); len(got) != 1 || !got[0].Equal(s.daemon.CAS.Newest().Crt) {
		t.Error("--authority cas is not --mode service")
	}
	s.ok("--authority web ca update --ca-crt elsewhere.pem")
	if got := s.certificates("elsewhere.pem"); len(got) != 1 || !got[0].Equal(web.Newest().Crt) {
		t.Error("--ca-crt is not heeded")
	}
}

// TestChain stores a certificate with its chain, and keeps it over renewals and rollovers.
func TestChain(t *testing.T) {
	s, root, web := newTreeShell(t)
	s.Setenv("CAUASE_AUTHORITY", "web")
	web.AutoApprove = 3
	chained := func(path string) {
		t.Helper()
		crts := s.certificates(path)
		if len(crts) != 2 || crts[0].IsCA || !crts[1].Equal(web.Newest().Below) {
			t.Errorf("%s: %d certificates", path, len(crts))
		}
		pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: path})
		if err != nil || !pair.Crt.Equal(crts[0]) || len(pair.Chain) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	s.ok("request --cn www --chain")
	id := s.id()
	chained("www.pem")
	s.ok("crt get " + id + " --chain")
	if n := strings.Count(s.out, "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("%d certificates", n)
	}
	s.ok("crt renew www.pem --force")
	chained("www.pem")
	s.daemon.Clock.Advance(time.Hour)
	web.Rollover()
	s.ok("crt renew www.pem --force")
	chained("www.pem")
	s.ok("request --cn plain")
	if n := len(s.certificates("plain.pem")); n != 1 {
		t.Errorf("%d certificates without --chain", n)
	}
	s.ok("crt renew plain.pem --force --chain")
	chained("plain.pem")
	s.ok("crt revoke www.pem")

	s.ok("ca root")
	s.says("web.root.pem: updated, 1 root\n")
	if got := s.certificates("web.root.pem"); len(got) != 1 || !got[0].Equal(root.Newest().Crt) {
		t.Error("another root is stored")
	}
	s.daemon.Clock.Advance(clienttest.LeafLife)
	root.Rollover()
	s.ok("request --cn other --chain --root-ca web.root.pem")
	if n := len(s.certificates("web.root.pem")); n != 2 {
		t.Errorf("%d roots after a rollover", n)
	}
	s.says("note: first contact|certificate of")
}

// TestChainRefused: a chain that others could not verify is not stored, and nothing changes.
func TestChainRefused(t *testing.T) {
	s, root, web := newTreeShell(t)
	s.Setenv("CAUASE_AUTHORITY", "web")
	web.AutoApprove = 1
	s.ok("request --cn www --chain")
	s.ok("ca root")
	before := snapshot(s)
	stranger := clienttest.NewAuthority(t, s.daemon.Clock, "Root")
	for name, c := range map[string]struct{ chain []*x509.Certificate }{
		"no chain":      {nil},
		"another CA":    {[]*x509.Certificate{root.NewCABelow("Web").Crt}},
		"with the root": {[]*x509.Certificate{web.Newest().Crt, root.Newest().Crt}},
		"with junk":     {[]*x509.Certificate{web.Newest().Crt, stranger.Newest().Crt}},
	} {
		s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/crt/renew") {
				return false
			}
			answer := &bytes.Buffer{}
			r.Header.Del("Accept")
			web.Renew(answer, r)
			_, _ = w.Write(append(answer.Bytes(), clienttest.Bundle(c.chain...)...))
			return true
		})
		s.exits("crt renew www.pem --force", 1)
		s.says("error: .*does not lead to a trusted root")
		s.says("hint: ")
		for _, left := range s.files() {
			if strings.HasSuffix(left, ".next") { // its certificate was issued
				if err := os.Remove(left); err != nil {
					t.Fatal(err)
				}
			}
		}
		if after := snapshot(s); after != before {
			t.Errorf("%s: files have changed:\n%s", name, after)
		}
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/web/crt/root.pem" {
			_, _ = w.Write(clienttest.Bundle(stranger.Newest().Crt))
			return true
		}
		return false
	})
	s.exits("ca root", 1)
	s.says("bundle of roots does not hold")
	if after := snapshot(s); after != before {
		t.Errorf("roots replaced: files have changed:\n%s", after)
	}
}

// TestRootPinned: the fingerprint of the root is good for the authorities under it, and that of one of
// these not for the root.
func TestRootPinned(t *testing.T) {
	s, root, web := newTreeShell(t)
	s.Setenv("CAUASE_AUTHORITY", "web")
	s.exits("ca root --ca-fingerprint "+client.PinOf(web.Newest().Crt).String(), 1)
	s.says("no root in the bundle has it")
	if got := s.files(); len(got) > 0 {
		t.Errorf("left %v", got)
	}
	s.ok("ca root --ca-fingerprint " + client.PinOf(root.Newest().Crt).String())
	if strings.Contains(s.err, "first contact") {
		t.Errorf("pinned, and yet a first contact: %s", s.err)
	}
	if got := s.files(); !slices.Equal(got, []string{"web.crt.pem", "web.root.pem"}) {
		t.Errorf("files %v", got)
	}
}

func TestProfiles(t *testing.T) {
	s, _, web := newTreeShell(t)
	s.admin()
	s.Setenv("CAUASE_AUTHORITY", "web")
	s.exits("request --cn www --profile server", 2)
	id := s.id()
	s.ok("csr send www.csr.pem --profile client") // the same request has the same id
	if got := web.Profiles; !slices.Equal(got, []string{"profile=server"}) {
		t.Errorf("asked for %q", got)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.Path != "/web/csr" {
			return false
		}
		csr, err := os.ReadFile("www.csr.pem")
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode([]map[string]string{{"id": id, "csr": string(csr), "profile": "server"}, {"id": "7", "csr": "junk", "profile": "e\x1b[2J"}})
		return true
	})
	s.ok("csr list")
	s.says(id + ` +server +- +ECDSA P-256 +CN=www`)
	if strings.Contains(s.out, "\x1b") {
		t.Error("an escape sequence reaches the terminal")
	}
	s.ok("csr list --json")
	s.says(`"profile": "server"`)
	s.daemon.Intercept(nil)
	s.ok("csr sign " + id + " --profile server --validity 1d")
	if got := web.Approvals; !slices.Equal(got, []string{"profile=server&validity=86400"}) {
		t.Errorf("signed as %q", got)
	}
}

func TestParseValidity(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"36h": 36 * time.Hour, "1d": day, "90d": 90 * day, "7": 7 * day, "0.5": day / 2, "1.5d": 36 * time.Hour, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour,
		"": 0, "d": 0, "0": 0, "-1": 0, "-1d": 0, "1w": 0, "NaN": 0, "NaNd": 0, "Inf": 0, "1e3": 0, "1500ms": 0, "0.5s": 0, "200000d": 0, "0x10": 0, "+36h": 0, "9999999h": 0, "3abc": 0,
	} {
		got, err := parseValidity(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// TestRequestPlacesStagedKey: a run that was killed between staging a key and the rest is gone on with.
func TestRequestPlacesStagedKey(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --crt web.crt --key web.key", 2)
	id := s.id()
	if err := os.Rename("web.key", ".web.key.key.next"); err != nil {
		t.Fatal(err)
	}
	s.exits("request --cn web --crt web.crt --key web.key", 2)
	if s.id() != id {
		t.Error("another request")
	}
	if !slices.Contains(s.files(), "web.key") || slices.Contains(s.files(), ".web.key.key.next") {
		t.Errorf("files %v", s.files())
	}
	// With the key alone there is no request to go on with: a new one, for the same key.
	if err := os.Rename("web.key", ".web.key.key.next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("web.csr.pem"); err != nil {
		t.Fatal(err)
	}
	s.exits("request --cn web --crt web.crt --key web.key", 2)
}

// TestForce: key and certificate stay until those that replace them are there.
func TestForce(t *testing.T) {
	s := newShell(t)
	s.admin()
	const request = "request --cn web --crt web.crt --key web.key"
	s.daemon.CAS.AutoApprove = 1
	s.ok(request)
	first := s.serial("web.crt")
	s.exits(request+" --force", 2)
	id := s.id()
	if s.serial("web.crt") != first {
		t.Error("the certificate was replaced before there is another")
	}
	if _, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.crt", Key: "web.key"}); err != nil {
		t.Errorf("the pair in use: %v", err)
	}
	s.exits(request, 2)
	if s.id() != id {
		t.Error("the same command again has made another request")
	}
	s.ok("csr sign " + id)
	s.ok(request)
	if s.serial("web.crt") == first {
		t.Error("the certificate was not replaced")
	}
	for _, name := range s.files() {
		if strings.HasPrefix(name, ".") {
			t.Errorf("%s is left", name)
		}
	}
	// crt get finds the key that waits for its certificate.
	s.exits(request+" --force", 2)
	id = s.id()
	s.ok("csr sign " + id)
	s.ok("crt get " + id + " web.crt --key web.key")
	if pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.crt", Key: "web.key"}); err != nil || pair.Crt == nil {
		t.Errorf("after crt get: %v", err)
	}
	// Rejected, nothing of it stays.
	before := snapshot(s)
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusBadRequest)
		}
		return r.Method == http.MethodPut
	})
	s.exits(request+" --force", 1)
	if after := snapshot(s); after != before {
		t.Errorf("files changed:\n%s\nwere:\n%s", after, before)
	}
}
