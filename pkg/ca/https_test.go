package ca

import (
	"crypto/x509"
	"testing"

	"cauase/pkg/store"
)

func TestHTTPSAuthority(t *testing.T) {
	for _, host := range []string{"ca.example.org", "192.0.2.1", "2001:db8::1"} {
		t.Run(host, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.HTTPS)
			cfg.Host = host
			a := w.open(cfg)
			leaf, issuer, err := a.IssueServer(w.ctx, newKey(t).Public())
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(issuer)
			opts := x509.VerifyOptions{Roots: roots, CurrentTime: w.clock.Now(), DNSName: host}
			if _, err := leaf.Verify(opts); err != nil {
				t.Error(err)
			}
			if issuer.NotAfter.Sub(epoch) != 40*93*day {
				t.Errorf("HTTPS CA lives %v", issuer.NotAfter.Sub(epoch))
			}
		})
	}
}

// A daemon that moves to another host can serve HTTPS there at once: the CA that may only name
// the old host is set aside, and used again when the daemon moves back.
func TestHTTPSAuthorityMoves(t *testing.T) {
	w := newWorld(t)
	issuers := map[string]string{}
	for _, host := range []string{"127.0.0.1", "ca.example.org", "127.0.0.1"} {
		cfg := config(store.HTTPS)
		cfg.Host = host
		a := w.open(cfg)
		leaf, issuer, err := a.IssueServer(w.ctx, newKey(t).Public())
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		cas, err := a.CACertificates(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, crt := range cas {
			roots.AddCert(crt)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: w.clock.Now(), DNSName: host}); err != nil {
			t.Errorf("at %s: %v", host, err)
		}
		if before, ok := issuers[host]; ok && before != string(issuer.Raw) {
			t.Errorf("back at %s: another CA", host)
		}
		issuers[host] = string(issuer.Raw)
	}
}
