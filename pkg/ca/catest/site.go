package catest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit/pkitest"
)

// A Site is the authorities that every daemon has, on a database and at an address of their own, and a clock
// that stands still.
type Site struct {
	Dir                    string // for files of the test
	Clock                  *clock.Fake
	Store                  store.Store
	Users, Services, HTTPS *ca.Authority
}

// NewSite makes a site that lasts until the test ends.
func NewSite(t testing.TB) *Site {
	t.Helper()
	path := sqltest.New(t)
	s := &Site{Dir: filepath.Dir(path), Clock: clock.NewFake(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))}
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.Store = db
	for name, to := range map[store.AuthorityName]**ca.Authority{
		store.Users: &s.Users, store.Services: &s.Services, store.HTTPS: &s.HTTPS,
	} {
		host := ""
		if name == store.HTTPS {
			host = "127.0.0.1"
		}
		*to, err = Open(t.Context(), db, s.Clock, Config{
			Name: name, Netloc: "127.0.0.1:8009", Host: host, KeyType: pki.KeyECDSAP256,
			Spans: rollover.Spans{Leaf: 93 * 24 * time.Hour, Life: 4}, Backdate: time.Minute, Retention: 30 * 24 * time.Hour,
			MaxPending: 50,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Client returns an HTTP client that shows crt, unless it is nil, whatever the server would like to
// see. It accepts no server but the site's, and follows no redirects.
func (s *Site) Client(t testing.TB, crt *tls.Certificate) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: s.TLS(t, crt), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// TLS is how a client of the site's does its handshakes, showing crt unless it is nil.
func (s *Site) TLS(t testing.TB, crt *tls.Certificate) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	cas, err := s.HTTPS.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cas {
		roots.AddCert(c)
	}
	return &tls.Config{
		RootCAs: roots, ServerName: "127.0.0.1", Time: s.Clock.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if crt == nil {
				return &tls.Certificate{}, nil
			}
			return crt, nil
		},
	}
}

// Pending submits a new request for key to an authority and returns its id.
func (s *Site) Pending(t testing.TB, a *ca.Authority, key crypto.Signer) int64 {
	t.Helper()
	id, err := Wired(a).Submit(t.Context(), audit.Actor{Kind: audit.Operator}, pkitest.NamedRequest(t, key, "someone"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Issue returns a new certificate of an authority, and its id.
func (s *Site) Issue(t testing.TB, a *ca.Authority) (*tls.Certificate, int64) {
	t.Helper()
	key := pkitest.Key(t)
	id := s.Pending(t, a, key)
	issued, err := a.Approve(t.Context(), audit.Actor{Kind: audit.Operator}, id, ca.Approval{})
	if err != nil {
		t.Fatal(err)
	}
	crt := issued.Certificate
	return &tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key, Leaf: crt}, id
}
