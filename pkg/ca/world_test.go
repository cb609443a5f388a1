package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
)

const day = 24 * time.Hour

var epoch = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

var (
	anonymous = audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7", RequestID: "r1"}
	alice     = audit.Actor{Kind: audit.User, Serial: big.NewInt(4711), KeyID: []byte{1, 2}, Address: "192.0.2.8"}
)

// A world is a store with authorities on it, at a time that tests move.
type world struct {
	t     testing.TB
	ctx   context.Context
	path  string
	store store.Store
	clock *clock.Fake
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), path: sqltest.New(t), clock: clock.NewFake(epoch)}
	w.openStore()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) openStore() {
	w.t.Helper()
	st, err := sqlstore.Open(w.ctx, w.path, sqlstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = st
}

// restart closes and opens the store, as a daemon's restart does.
func (w *world) restart() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.openStore()
}

// A setup is the row of an authority and the configuration of its daemon.
type setup struct {
	row store.Authority
	Config
}

func config(name store.AuthorityName) setup {
	s := setup{
		row: store.Authority{
			Name: name, Title: "Caucase CAS", Role: store.RoleServices,
			Span: 93 * day, Life: 4, KeyType: string(pki.KeyECDSAP256), MaxPending: 5,
		},
		Config: Config{
			Netloc: "ca.example.org:8009", Backdate: time.Minute, Retention: 30 * day, Statements: envelope.Statements{},
		},
	}
	switch name {
	case store.Users:
		s.row.Title, s.row.Role = "Caucase CAU", store.RoleUsers
	case store.HTTPS:
		s.row.Title, s.row.Role, s.row.Life, s.Host = "Caucased CA", store.RoleDaemon, 40, "ca.example.org"
	}
	return s
}

func (w *world) open(cfg setup) *Authority {
	w.t.Helper()
	a, err := Open(w.ctx, w.store, w.clock, cfg.row, cfg.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrFor(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCSRPEM(der)
}

func csrNamed(t testing.TB, key crypto.Signer, cn string) []byte {
	t.Helper()
	return csrFor(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: []string{cn + ".example.org"}})
}

// enrol submits, signs and fetches.
func (w *world) enrol(a *Authority, cn string) (*x509.Certificate, crypto.Signer) {
	w.t.Helper()
	key := newKey(w.t)
	id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(w.t, key, cn))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := wired(a).Sign(w.ctx, alice, id); err != nil {
		w.t.Fatal(err)
	}
	return w.fetch(a, id), key
}

func (w *world) fetch(a *Authority, id int64) *x509.Certificate {
	w.t.Helper()
	data, err := wired(a).Certificate(w.ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.parse(data)
}

func (w *world) parse(data []byte) *x509.Certificate {
	w.t.Helper()
	crt, err := pki.ParseCertificatePEM(data)
	if err != nil {
		w.t.Fatal(err)
	}
	return crt
}

func signed(t testing.TB, key crypto.Signer, payload []byte, err error) *envelope.Envelope {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope.Sign(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func renewalEnvelope(t testing.TB, crt *x509.Certificate, key crypto.Signer, csr []byte) *envelope.Envelope {
	t.Helper()
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(csr),
	})
	return signed(t, key, payload, err)
}

func revocationEnvelope(t testing.TB, crt *x509.Certificate, key crypto.Signer) *envelope.Envelope {
	t.Helper()
	payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw))})
	return signed(t, key, payload, err)
}

func (w *world) crl(a *Authority) *x509.RevocationList {
	w.t.Helper()
	list, err := wired(a).CRLs(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	crl, err := pki.ParseCRLPEM(list.PEM)
	if err != nil {
		w.t.Fatal(err)
	}
	return crl
}

func (w *world) audit(f audit.Filter) []audit.Entry {
	w.t.Helper()
	var entries []audit.Entry
	err := w.store.View(w.ctx, func(r store.Reader) error {
		return r.Audit(w.ctx, f, func(e audit.Entry) error {
			entries = append(entries, e)
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return entries
}

func wantError(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}
