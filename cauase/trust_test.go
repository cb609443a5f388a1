package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
)

func TestDirectories(t *testing.T) {
	s := newShell(t)
	s.ok("crl update --ca-crt cas --crl crls")
	ca := s.daemon.CAS.Newest().Crt
	if got := s.files(); len(got) != 4 || !strings.HasSuffix(got[1], ".ca.pem") || !strings.HasSuffix(got[3], ".crl.pem") {
		t.Errorf("files %v", got)
	}
	s.daemon.Clock.Advance(clienttest.LeafLife)
	s.daemon.CAS.Rollover()
	s.ok("ca update --ca-crt cas")
	s.says("cas: updated, 2 CA certificates")
	s.daemon.Clock.Set(ca.NotAfter.Add(time.Second))
	s.ok("ca update --ca-crt cas --json")
	var view updatedView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || !view.Changed || view.Count != 1 {
		t.Errorf("%s, %v", s.out, err)
	}
	s.ok("ca show --ca-crt cas")
	s.says(client.PinOf(s.daemon.CAS.Newest().Crt).String())
}

// newReferenceShell is a shell whose daemon is a reference daemon.
func newReferenceShell(t *testing.T) *shell {
	t.Helper()
	s := newShell(t)
	s.daemon = clienttest.StartReference(t, s.daemon.Clock)
	t.Setenv("CAUASE_CA_URL", s.daemon.URL)
	return s
}

// withhold has somebody in the network say that the daemon has no voucher.
func (s *shell) withhold(more clienttest.Interceptor) {
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/https-ca.json") {
			http.Error(w, "Invalid integer", http.StatusBadRequest)
			return true
		}
		return more != nil && more(w, r)
	})
}

func TestReferenceDaemon(t *testing.T) {
	s := newReferenceShell(t)
	s.admin()
	s.exits("csr list", 1)
	s.says("does not vouch for its HTTPS certificate\n.*hint: somebody may be answering.*; only if it is a reference caucased.*--caucase")
	s.ok("csr list --caucase")
	s.says("warning: --caucase: .*not authenticated")
	if s.exits("csr list --caucase --strict-https", 1); strings.Contains(s.out+s.err, "pending") {
		t.Error("both at once are accepted")
	}
	s.Setenv("CAUASE_CAUCASE", "1")
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr sign " + id)
	s.says("(?s)subject: +CN=web\n.*signed " + id)
	if files := s.files(); slices.ContainsFunc(files, func(name string) bool { return strings.Contains(name, "vouched") }) {
		t.Errorf("files %v", files)
	}
	// It cannot be talked into a voucher either.
	s.daemon.Reference = false
	other := clienttest.NewAuthority(t, s.daemon.Clock, "CAS")
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/https-ca.json") {
			return false
		}
		_, _ = w.Write(other.Vouch([]*x509.Certificate{other.Newest().Crt}))
		return true
	})
	s.exits("csr list", 1)
	s.says("not vouched for by a trusted CA")
}

// What was seen once is not forgotten: a daemon that has vouched for its HTTPS certificate is no reference
// daemon, whatever answers in its place, whatever the command line says, and for each of its authorities.
func TestVoucherIsRemembered(t *testing.T) {
	s := newReferenceShell(t)
	s.daemon.Reference = false
	s.admin()
	s.ok("csr list")
	if s.err != "" && !strings.Contains(s.err, "first contact") {
		t.Errorf("says %s", s.err)
	}
	content, err := os.ReadFile("cas.crt.pem.vouched")
	if err != nil || !strings.Contains(string(content), s.daemon.URL+"\n") {
		t.Errorf("%s, %v", content, err)
	}
	s.withhold(nil)
	for _, line := range []string{"csr list", "--mode user csr list", "csr sign 1", "csr reject 1", "csr show 1", "csr get 1", "crt revoke --serial 5"} {
		before := len(s.daemon.Seen())
		s.exits("--caucase "+line, 1)
		s.says("has done so before\n.*hint: .*remove cas.crt.pem.vouched after making sure")
		if slices.ContainsFunc(s.daemon.Seen()[before:], func(seen string) bool { return strings.Contains(seen, " https ") }) {
			t.Errorf("%s: a request was sent", line)
		}
	}
	// Another name of the place is the same place.
	if err := os.Symlink("cas.crt.pem", "link.crt.pem"); err != nil {
		t.Fatal(err)
	}
	s.exits("--caucase csr list --ca-crt link.crt.pem", 1)
	s.says("remove .*cas.crt.pem.vouched")

	// What is damaged counts.
	for _, damage := range []func() error{
		func() error { return os.WriteFile("cas.crt.pem.vouched", nil, 0o600) },
		func() error {
			return errors.Join(os.Remove("cas.crt.pem.vouched"), os.Mkdir("cas.crt.pem.vouched", 0o700))
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		s.exits("--caucase csr list", 1)
		s.says("warning: cas.crt.pem.vouched .*taken for one that vouches")
	}
	// And what the daemon says itself is enough.
	s.daemon.Intercept(nil)
	s.ok("csr list")
	s.exits("--caucase csr list", 1)
	s.says("cannot be recorded.*\n.*hint: leave out --caucase")

	// An operator can have it forgotten.
	if err := os.Remove("cas.crt.pem.vouched"); err != nil {
		t.Fatal(err)
	}
	s.withhold(nil)
	s.exits("csr list", 1)
	s.ok("--caucase csr list")
}

// Of a CA that is not stored nothing is remembered.
func TestVoucherOfAStranger(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("csr sign 99", 1)
	if files := s.files(); slices.Contains(files, "cas.crt.pem") || slices.Contains(files, "cas.crt.pem.vouched") {
		t.Errorf("files %v", files)
	}
	s.ok("csr list")
	if files := s.files(); !slices.Contains(files, "cas.crt.pem") || !slices.Contains(files, "cas.crt.pem.vouched") {
		t.Errorf("files %v", files)
	}
}

// A daemon in the network's hands: the voucher is blocked, and a proxy with a certificate of its own shows another
// person's request under the attacker's id. Whoever approves what he sees would sign the attacker's key.
func TestBlockedVoucherShowsAnothersRequest(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	theirs := s.id()
	s.exits("request --cn alices-host", 2)
	honest, err := os.ReadFile("alices-host.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	shows := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" && r.URL.Path == "/cas/csr/"+theirs {
			_, _ = w.Write(honest)
			return true
		}
		return false
	}
	s.withhold(shows)
	s.daemon.SetLeaf(clienttest.NewAuthority(t, s.daemon.Clock, "Proxy").IssueServer(t, "127.0.0.1"))
	for _, line := range []string{"csr show " + theirs, "csr list", "csr sign " + theirs, "--caucase csr show " + theirs, "--caucase csr sign " + theirs} {
		s.exits(line, 1)
		s.says("does not vouch for its HTTPS certificate")
		if strings.Contains(s.out, "alices-host") {
			t.Errorf("%s shows %s", line, s.out)
		}
	}
	// Even if what was shown came from there, over HTTP: it is not what is signed.
	t.Setenv("CAUASE_USER_KEY", "")
	s.ok("csr show " + theirs)
	s.says("(?s)CN=alices-host.*unverified: +fetched over HTTP")
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}\n$`).FindString(s.out)
	s.daemon.Intercept(nil)
	s.daemon.SetLeaf(s.daemon.HTTPS.IssueServer(t, "127.0.0.1"))
	s.exits("csr sign --user-key admin.pem "+theirs+" --digest "+strings.TrimSpace(digest), 1)
	s.says("another than the one that was shown")
	s.exits("csr sign --user-key admin.pem "+theirs+" --csr alices-host.csr.pem", 1)
	s.says("another than the one that was shown")
	s.exits("crt get "+theirs, 2)
}

// The proxy steps aside between the request that is shown and the one that is signed.
func TestShownIsSigned(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	theirs := s.id()
	s.exits("request --cn alices-host", 2)
	honest, err := os.ReadFile("alices-host.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"application/pkcs10", "application/json"} {
		s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "GET" || r.URL.Path != "/cas/csr/"+theirs {
				return false
			}
			w.Header().Set("Content-Type", as)
			w.Header().Set("ETag", `"sha256:`+strings.Repeat("0", 64)+`"`)
			if as == "application/json" {
				_ = json.NewEncoder(w).Encode(map[string]string{"id": theirs, "csr": string(honest)})
				return true
			}
			_, _ = w.Write(honest)
			return true
		})
		for _, more := range []string{"", " --profile server --validity 1d", " --with admin.csr.pem", " --csr alices-host.csr.pem"} {
			s.exits("csr sign "+theirs+more, 1)
			s.says("(?s)another than the one that was shown.*hint: nothing has been decided")
		}
		s.exits("csr reject "+theirs+" --csr alices-host.csr.pem", 1)
		s.says("hint: nothing has been decided")
	}
	s.exits("crt get "+theirs, 2)
	s.daemon.Intercept(nil)
	s.ok("csr sign " + theirs + " --csr web.csr.pem")
	s.ok("crt get " + theirs)
}

func TestExpiredTrust(t *testing.T) {
	s := newShell(t)
	s.ok("ca update")
	s.daemon.Clock.Advance(2 * clienttest.LeafLife)
	s.daemon.CAS.Rollover()
	s.daemon.Clock.Advance(3 * clienttest.LeafLife)
	s.exits("ca update", 1)
	s.says("about 1.0 spans ago\n.*hint: .*--ca-fingerprint sha256:.*--catch-up SPANS")
	before := snapshot(s)
	s.exits("ca update --catch-up 0.9", 1)
	s.says("more than the 0.9 allowed")
	s.exits("crl update", 1)
	s.exits("request --cn web", 1)
	if snapshot(s) != before {
		t.Error("files have changed")
	}
	s.ok("ca update --ca-fingerprint " + client.PinOf(s.daemon.CAS.Newest().Crt).String())
}

func TestCatchUp(t *testing.T) {
	s := newShell(t)
	s.ok("ca update")
	first, err := os.ReadFile("cas.crt.pem")
	if err != nil {
		t.Fatal(err)
	}
	g := []clienttest.CA{s.daemon.CAS.Newest()}
	for range 4 {
		s.daemon.Clock.Advance(2 * clienttest.LeafLife)
		g = append(g, s.daemon.CAS.Rollover())
	}
	// The first expired four spans ago.
	for name, chain := range map[string][][]byte{
		"forged":      {s.daemon.CAS.Link(clienttest.CA{Crt: g[0].Crt, Key: g[4].Key}, g[4])},
		"reordered":   {s.daemon.CAS.Link(g[0], g[1]), s.daemon.CAS.Link(g[2], g[3]), s.daemon.CAS.Link(g[1], g[2])},
		"truncated":   {s.daemon.CAS.Link(g[0], g[1])},
		"rolled back": {s.daemon.CAS.Link(g[3], g[4])},
	} {
		s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/cas/crt/ca.crt.json" {
				_, _ = w.Write(append(append([]byte("["), bytes.Join(chain, []byte(","))...), ']'))
				return true
			}
			return false
		})
		s.exits("--catch-up 5 ca update", 1)
		s.exits("--catch-up 5 crl update", 1)
		if got, err := os.ReadFile("cas.crt.pem"); err != nil || !bytes.Equal(got, first) || len(s.files()) != 1 {
			t.Errorf("%s: the store has changed, or %v; files %v", name, err, s.files())
		}
	}
	s.daemon.Intercept(nil)
	s.exits("ca update", 1)
	s.exits("--catch-up 3.9 ca update", 1)
	t.Setenv("CAUASE_CATCH_UP", "4.1")
	s.ok("crl update")
	if got := storedCAs(t, "cas.crt.pem"); len(got) != 3 || !got[2].Equal(g[4].Crt) {
		t.Errorf("%d CA certificates", len(got))
	}
}

// A list that is withheld is told of, and none that has been is taken for it.
func TestListWithheld(t *testing.T) {
	s := newShell(t)
	old := s.daemon.CAS.Newest()
	s.daemon.Clock.Advance(time.Hour)
	s.daemon.CAS.Rollover()
	s.ok("ca update")
	s.ok("crl update --crl whole.pem")
	if s.err != "" {
		t.Errorf("says %q", s.err)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/crl") {
			return false
		}
		_, err := w.Write(s.daemon.CAS.CRL(old, 100, s.daemon.Clock.Now()))
		return err == nil
	})
	s.ok("crl update --crl whole.pem")
	if s.err != "" {
		t.Errorf("says %q while the list stored is current", s.err)
	}
	s.ok("crl update --crl one.pem")
	s.says("warning: the daemon has served no revocation list of the CA with key id")
}
