package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
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

func TestHTTPSWarning(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.ok("csr list")
	if strings.Contains(s.err, "warning") {
		t.Errorf("warned: %s", s.err)
	}
	s.daemon.Reference = true
	s.ok("csr list")
	s.says("warning: .*not authenticated")
	s.exits("csr list --strict-https", 1)
	s.says("hint: leave out --strict-https")
	s.daemon.Reference = false
	s.daemon.SetLeaf(s.daemon.CAS.IssueServer(t, "127.0.0.1"))
	s.exits("csr list", 1)
	s.says("hint: somebody may be answering")
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
