package updater

import (
	"bytes"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/enroll"
	"cauase/pkg/envelope"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// on answers one route, and leaves others alone.
func on(suffix string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		answer(w, r)
		return true
	}
}

func says(typ, body string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", typ)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// renewing answers a renewal with a certificate that is not quite the right one.
func renewing(a *clienttest.Authority, key func(x509.CertificateRequest) any, change func(*x509.Certificate)) func(http.ResponseWriter, *http.Request) bool {
	return on("/crt/renew", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		message, err := envelope.Parse(body)
		if err != nil {
			return
		}
		renewal, _ := envelope.DecodeRenewal(message.Payload())
		request, _ := pki.ParseRequest([]byte(renewal.RequestPEM))
		crt := a.Issue(request.CSR, key(*request.CSR), change)
		_, _ = w.Write(pkitest.PEM(crt))
	})
}

// TestRogue puts something else in the daemon's place. No file changes for the worse, the
// status says what is wrong, and afterwards all is well again.
func TestRogue(t *testing.T) {
	own := func(csr x509.CertificateRequest) any { return csr.PublicKey }
	nothing := func(*x509.Certificate) {}
	for name, c := range map[string]struct {
		rogue func(h *host) func(http.ResponseWriter, *http.Request) bool
		keeps []string // files that must stay as they are
		class string
	}{
		"web page": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("", says("text/html", "<html>welcome</html>", 200))
		}, []string{"web.crt", "web.key", "ca.pem", "crl.pem"}, enroll.ClassNotCA},
		"web page in disguise": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("", says("application/json", "<!DOCTYPE html><p>", 200))
		}, []string{"web.crt", "web.key", "ca.pem", "crl.pem"}, enroll.ClassNotCA},
		"redirects": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
		}, []string{"web.crt", "web.key", "ca.pem", "crl.pem"}, enroll.ClassNotCA},
		"500": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("", says("text/plain", "oops", 500))
		}, []string{"web.crt", "web.key", "ca.pem", "crl.pem"}, enroll.ClassServer},
		"nothing": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("", says("", "", 200))
		}, []string{"web.crt", "web.key", "ca.pem", "crl.pem"}, ""},
		"half a certificate": {func(*host) func(http.ResponseWriter, *http.Request) bool {
			return on("/crt/renew", says("", "-----BEGIN CERTIFICATE-----\nMIIB", 200))
		}, []string{"web.crt", "web.key"}, "invalid"},
		"another's key": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return renewing(h.daemon.CAS, func(x509.CertificateRequest) any { return pkitest.Key(h.t).Public() }, nothing)
		}, []string{"web.crt", "web.key"}, "wrong key"},
		"other names": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return renewing(h.daemon.CAS, own, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} })
		}, []string{"web.crt", "web.key"}, "wrong names"},
		"expired": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return renewing(h.daemon.CAS, own, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = c.NotBefore.Add(-2*time.Hour), c.NotBefore.Add(-time.Hour)
			})
		}, []string{"web.crt", "web.key"}, enroll.ClassExpired},
		"of another CA": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return renewing(clienttest.NewAuthority(h.t, h.daemon.Clock, "CAS"), own, nothing)
		}, []string{"web.crt", "web.key"}, "unknown issuer"},
		"older CA": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			old := clienttest.NewAuthority(h.t, clock.NewFake(time.Now().Add(-50*day)), "CAS")
			return func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasSuffix(r.URL.Path, "/ca.crt.json"):
					_, _ = io.WriteString(w, "[]")
				case strings.HasSuffix(r.URL.Path, "/ca.crt.pem"):
					_, _ = w.Write(pkitest.PEM(old.Newest().Crt))
				default:
					return false
				}
				return true
			}
		}, []string{"ca.pem"}, "unknown anchor"},
		"forged successor": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			other := clienttest.NewAuthority(h.t, h.daemon.Clock, "CAS")
			real := h.daemon.CAS.Newest()
			forged := other.Link(clienttest.CA{Crt: real.Crt, Key: other.Newest().Key}, other.Newest())
			return on("/ca.crt.json", says("application/json", "["+string(forged)+"]", 200))
		}, []string{"ca.pem"}, "chain"},
		"older list": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return on("/cas/crl", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(h.daemon.CAS.CRL(h.daemon.CAS.Newest(), 3, h.daemon.Clock.Now()))
			})
		}, []string{"crl.pem"}, "CRL rollback"},
		"delta list": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			return on("/cas/crl", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(h.daemon.CAS.PartialCRL(h.daemon.CAS.Newest(), 9, h.daemon.Clock.Now()))
			})
		}, []string{"crl.pem"}, "CRL"},
		"another CA's list": {func(h *host) func(http.ResponseWriter, *http.Request) bool {
			other := clienttest.NewAuthority(h.t, h.daemon.Clock, "other")
			return on("/cas/crl", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(other.CRLs()) })
		}, []string{"crl.pem"}, "CRL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.t = t
				h.o.poll = undisturbed
				h.daemon.CAS.Number = 5
				a, stop := h.start()
				defer stop()
				time.Sleep(61 * day)
				before := map[string][]byte{}
				for _, file := range c.keeps {
					before[file] = h.read(file)
				}
				h.daemon.Intercept(c.rogue(h))
				time.Sleep(5 * day) // the certificate is due meanwhile
				for file, content := range before {
					if !bytes.Equal(h.read(file), content) {
						t.Errorf("%s has changed", file)
					}
				}
				s := h.status(a)
				if c.class != "" && !slices.ContainsFunc(s.Problems, func(p Problem) bool { return p.Class == c.class }) {
					t.Errorf("no problem of class %q: %+v", c.class, s.Problems)
				}
				if s.State == StateOK {
					t.Error("all is said to be well")
				}
				if n := strings.Count(h.log.String(), "level=ERROR"); n > 5 {
					t.Errorf("%d errors in the log:\n%s", n, h.log)
				}
				h.daemon.Intercept(nil)
				time.Sleep(2 * time.Hour)
				if s := h.status(a); s.State != StateOK {
					t.Errorf("afterwards: %+v", s)
				}
				h.pair(time.Now())
				crls, err := pemfile.CRLStore(h.job.CRL).ReadCRLs()
				if err != nil || len(crls) != 1 || crls[0].Number.Cmp(big.NewInt(5)) < 0 {
					t.Errorf("lists: %v, %v", crls, err)
				}
			})
		})
	}
}
