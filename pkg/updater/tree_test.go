package updater

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/pemfile"
)

// newTreeHost keeps a certificate of an authority under a root, with its chain and the roots.
func newTreeHost(t *testing.T, dir string) (h *host, root, web *clienttest.Authority) {
	t.Helper()
	h = newHost(t, dir)
	h.t = t
	h.o.poll = undisturbed
	root = clienttest.NewAuthority(t, h.daemon.Clock, "Root")
	web = clienttest.NewAuthorityUnder(t, h.daemon.Clock, "Web", root)
	web.AutoApprove = 100
	h.daemon.Others = map[string]*clienttest.Authority{"home-root": root, "web": web}
	h.job.Authority, h.job.Chain, h.job.Root, h.job.Profile = "web", true, h.path("root.pem"), "server"
	return h, root, web
}

// verifies judges what is on disk as a peer does that trusts the roots alone.
func (h *host) verifies(now time.Time) {
	h.t.Helper()
	pair := h.pair(now)
	roots, err := pemfile.CAStore(h.job.Root).ReadCertificates()
	must(h.t, err)
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range roots {
		pool.AddCert(crt)
	}
	for _, crt := range pair.Chain {
		between.AddCert(crt)
	}
	_, err = pair.Crt.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		h.t.Errorf("at %s, with a chain of %d and %d roots: %v", now, len(pair.Chain), len(roots), err)
	}
}

// TestTree: through rollovers of an authority and of its root, whoever trusts the roots stored here
// verifies the certificate, and the hook hears of each.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, root, web := newTreeHost(t, dir)
		a, stop := h.start()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Authority != "web" || s.Mode != "" {
			t.Fatalf("%+v\n%s", s, h.log)
		}
		if got := web.Profiles; len(got) != 1 || got[0] != "profile=server" {
			t.Errorf("asked for %q", got)
		}
		h.verifies(time.Now())
		for i := range 8 {
			time.Sleep(60 * day)
			if i%2 == 1 {
				root.Rollover()
			}
			web.Rollover()
			time.Sleep(40 * day) // within which CA certificates and the certificate are due
			h.verifies(time.Now())
		}
		must(t, os.Remove(h.job.Root))
		a.kick(nil)
		time.Sleep(2 * time.Hour)
		h.verifies(time.Now())
		if s := h.status(a); s.State != StateOK {
			t.Errorf("%+v\n%s", s, h.log)
		}
		stop()
		if !strings.Contains(strings.Join(h.hooks, ";"), "root") {
			t.Errorf("the hook was told %q", h.hooks)
		}
	})
}

// TestPutUnderRoot: an authority gets a root, and no host has to be told.
func TestPutUnderRoot(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, root, _ := newTreeHost(t, dir)
		h.job.Authority, h.job.Pins = client.CAS, []client.Pin{client.PinOf(h.daemon.CAS.Newest().Crt)}
		_, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		h.verifies(time.Now())
		if n := len(h.pair(time.Now()).Chain); n != 0 {
			t.Errorf("a chain of %d below a CA that is its own root", n)
		}
		time.Sleep(30 * day)
		synctest.Wait() // whatever asks for roots has ended
		h.daemon.CAS.Parent = root
		h.daemon.CAS.Rollover()
		time.Sleep(60 * day)
		h.verifies(time.Now())
		if n := len(h.pair(time.Now()).Chain); n != 1 {
			t.Errorf("a chain of %d below a root\n%s", n, h.log)
		}
	})
}

// TestTreeLies: what others could not verify, and roots that nothing vouches for, change no file; the
// status says what is wrong, and afterwards all is well again.
func TestTreeLies(t *testing.T) {
	for name, c := range map[string]struct {
		lie   func(h *host, root, web *clienttest.Authority) func(http.ResponseWriter, *http.Request) bool
		keeps []string
		class string
	}{
		"a bundle of another root": {func(h *host, _, _ *clienttest.Authority) func(http.ResponseWriter, *http.Request) bool {
			other := clienttest.NewAuthority(h.t, h.daemon.Clock, "Root")
			return on("/root.pem", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(clienttest.Bundle(other.Newest().Crt)) })
		}, []string{"root.pem"}, "roots"},
		"no chain": {func(_ *host, _, web *clienttest.Authority) func(http.ResponseWriter, *http.Request) bool {
			return func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("Accept"); return false }
		}, []string{"web.crt", "web.key"}, "certificate chain"},
		"a chain of another CA": {func(_ *host, root, web *clienttest.Authority) func(http.ResponseWriter, *http.Request) bool {
			other := root.NewCABelow("Web")
			return on("/crt/renew", func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Accept")
				var answer bytes.Buffer
				web.Renew(&answer, r)
				_, _ = w.Write(append(answer.Bytes(), clienttest.Bundle(other.Crt)...))
			})
		}, []string{"web.crt", "web.key"}, "certificate chain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h, root, web := newTreeHost(t, dir)
				a, stop := h.start()
				defer stop()
				time.Sleep(60 * day)
				before := map[string][]byte{}
				for _, file := range c.keeps {
					before[file] = h.read(file)
				}
				h.daemon.Intercept(c.lie(h, root, web))
				time.Sleep(8 * day)
				for file, content := range before {
					if !bytes.Equal(h.read(file), content) {
						t.Errorf("%s has changed", file)
					}
				}
				if s := h.status(a); s.State == StateOK || !h.has(a, c.class) {
					t.Errorf("no problem of class %q: %+v", c.class, s.Problems)
				}
				h.daemon.Intercept(nil)
				time.Sleep(2 * time.Hour)
				h.verifies(time.Now())
				if s := h.status(a); s.State != StateOK {
					t.Errorf("afterwards: %+v", s)
				}
			})
		})
	}
}

// TestStagedRequest: a request whose key cauase has staged, and not put in place, is handed in as it is.
func TestStagedRequest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		key, err := pemfile.ReadKey(h.path("web.key"))
		must(t, err)
		must(t, pemfile.StageKey(pemfile.PairPaths{Crt: h.job.Crt, Key: h.job.Key}, key))
		must(t, os.Remove(h.path("web.key")))
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK {
			t.Fatalf("%+v\n%s", s, h.log)
		}
		if pair := h.pair(time.Now()); !bytes.Equal(pair.Crt.RawSubjectPublicKeyInfo, h.subjectKey("web.csr")) {
			t.Error("another key was made")
		}
	})
}

func (h *host) subjectKey(csr string) []byte {
	h.t.Helper()
	s := look(&Job{CSR: h.path(csr), CA: h.path("ca.pem"), CRL: h.path("crl.pem")}, time.Now())
	must(h.t, s.requestErr)
	return s.request.CSR.RawSubjectPublicKeyInfo
}
