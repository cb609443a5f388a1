package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
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
	w := &world{t: t, ctx: t.Context(), path: filepath.Join(t.TempDir(), "ca.sqlite"), clock: clock.NewFake(epoch)}
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

func config(name store.Authority) Config {
	cfg := Config{
		Name: name, Netloc: "ca.example.org:8009",
		Spans: rollover.Spans{Leaf: 93 * day, Life: 4}, KeyType: pki.KeyECDSAP256,
		Backdate: time.Minute, Retention: 30 * day, MaxPending: 5,
	}
	if name == store.HTTPS {
		cfg.Host, cfg.Spans.Life = "ca.example.org", 40
	}
	return cfg
}

func (w *world) open(cfg Config) *Authority {
	w.t.Helper()
	a, err := Open(w.ctx, w.store, w.clock, cfg)
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
	id, err := a.Submit(w.ctx, anonymous, csrNamed(w.t, key, cn))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := a.Sign(w.ctx, alice, id, nil); err != nil {
		w.t.Fatal(err)
	}
	return w.fetch(a, id), key
}

func (w *world) fetch(a *Authority, id int64) *x509.Certificate {
	w.t.Helper()
	data, err := a.Certificate(w.ctx, id)
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
	list, err := a.CRLs(w.ctx)
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

func TestLifeOfACertificate(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	key := newKey(t)
	csr := csrNamed(t, key, "db1")

	id, err := a.Submit(w.ctx, anonymous, csr)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Submit(w.ctx, anonymous, csr); err != nil || again != id {
		t.Errorf("the same request again: id %d, error %v; want id %d", again, err, id)
	}
	if got, err := a.Request(w.ctx, id); err != nil || string(got) != string(csr) {
		t.Errorf("request comes back changed: %q, %v", got, err)
	}
	_, err = a.Certificate(w.ctx, id)
	wantError(t, err, ErrNotFound)
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 || pending[0].ID != id || pending[0].Subject != "CN=db1" {
		t.Errorf("pending: %+v, %v", pending, err)
	}

	if err := a.Sign(w.ctx, alice, id, nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.Sign(w.ctx, alice, id, nil), ErrNotFound)
	wantError(t, a.Reject(w.ctx, alice, id), ErrNotFound)
	if got, err := a.Request(w.ctx, id); err != nil || string(got) != string(csr) {
		t.Errorf("request is gone once signed: %q, %v", got, err)
	}
	if again, err := a.Submit(w.ctx, anonymous, csr); err != nil || again != id {
		t.Errorf("a signed request again: id %d, error %v; want id %d", again, err, id)
	}
	first := w.fetch(a, id)
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.VerifyIssued(first, cas, w.clock.Now()); err != nil {
		t.Error(err)
	}
	if want := epoch.Add(93 * day); !first.NotAfter.Equal(want) {
		t.Errorf("not after %v, want %v", first.NotAfter, want)
	}
	if want := epoch.Add(-time.Minute); !first.NotBefore.Equal(want) {
		t.Errorf("not before %v, want %v", first.NotBefore, want)
	}
	wantURL := fmt.Sprintf("http://ca.example.org:8009/cas/crl/%s", new(big.Int).SetBytes(cas[0].SubjectKeyId))
	if got := first.CRLDistributionPoints; len(got) != 1 || got[0] != wantURL {
		t.Errorf("CRL distribution points %v, want %v", got, wantURL)
	}

	w.clock.Advance(62 * day)
	nextKey := newKey(t)
	data, err := a.Renew(w.ctx, anonymous, renewalEnvelope(t, first, key, csrNamed(t, nextKey, "ignored")))
	if err != nil {
		t.Fatal(err)
	}
	second := w.parse(data)
	if second.Subject.CommonName != "db1" || len(second.DNSNames) != 1 || second.DNSNames[0] != "db1.example.org" {
		t.Errorf("renewed for %v %v", second.Subject, second.DNSNames)
	}
	if !pki.SameKey(second.PublicKey, nextKey.Public()) || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("renewed with the old key or serial")
	}

	if err := a.RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, second, nextKey)); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, second, nextKey)), ErrConflict)
	_, err = a.Renew(w.ctx, anonymous, renewalEnvelope(t, second, nextKey, csrNamed(t, newKey(t), "x")))
	wantError(t, err, ErrInvalid)
	crl := w.crl(a)
	if len(crl.RevokedCertificateEntries) != 1 || crl.RevokedCertificateEntries[0].SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Errorf("CRL lists %+v", crl.RevokedCertificateEntries)
	}
	if err := crl.CheckSignatureFrom(cas[0]); err != nil {
		t.Error(err)
	}

	var log []string
	for _, e := range w.audit(audit.Filter{Authority: "cas"}) {
		log = append(log, fmt.Sprintf("%s %s", e.Action, e.Result))
	}
	want := "[ca.create ok csr.submit ok crt.sign ok crt.sign refused csr.reject refused crt.renew ok crt.revoke ok crt.revoke refused crt.renew refused crl.generate ok]"
	if got := fmt.Sprint(log); got != want {
		t.Errorf("audit log\n%s\nwant\n%s", got, want)
	}
}

func TestAutoApprovalEndsAndStaysLocked(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.AutoApprove, cfg.LockAutoApprove = 2, true
	a := w.open(cfg)
	for i := range 3 {
		id, err := a.Submit(w.ctx, anonymous, csrNamed(t, newKey(t), fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Certificate(w.ctx, id)
		if auto := err == nil; auto != (i < 2) {
			t.Errorf("request %d: certificate %v", i, err)
		}
		if i == 0 {
			crt := w.fetch(a, id)
			if len(crt.PolicyIdentifiers) != 1 || crt.PolicyIdentifiers[0].String() != "1.3.6.1.4.1.37476.9000.70.0.0" {
				t.Errorf("policies of an auto-signed certificate: %v", crt.PolicyIdentifiers)
			}
			if len(crt.CRLDistributionPoints) != 0 {
				t.Errorf("a user certificate points to a CRL: %v", crt.CRLDistributionPoints)
			}
		}
	}
	w.restart()
	cfg.AutoApprove = 100
	a = w.open(cfg)
	id, err := a.Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "late"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Certificate(w.ctx, id)
	wantError(t, err, ErrNotFound)
}

func TestPendingLimit(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "before")
	var last []byte
	for i := range 5 {
		last = csrNamed(t, newKey(t), fmt.Sprint("host", i))
		if _, err := a.Submit(w.ctx, anonymous, last); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "one-too-many"))
	wantError(t, err, ErrTooManyPending)
	if _, err := a.Submit(w.ctx, anonymous, last); err != nil {
		t.Errorf("a request that is pending, again: %v", err)
	}
	if _, err := a.Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "x"))); err != nil {
		t.Errorf("renewal at the limit: %v", err)
	}
	pending, err := a.Pending(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reject(w.ctx, alice, pending[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = a.Request(w.ctx, pending[0].ID)
	wantError(t, err, ErrNotFound)
	if _, err := a.Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "now-there-is-room")); err != nil {
		t.Error(err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	w := newWorld(t)
	services, users := w.open(config(store.Services)), w.open(config(store.Users))

	st, err := users.current(w.ctx, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = services.Submit(w.ctx, anonymous, csrNamed(t, st.signer.key, "impostor"))
	wantError(t, err, ErrInvalid)

	crt, key := w.enrol(services, "stolen")
	rev := envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), Reason: store.KeyCompromise}
	if err := services.RevokeByUser(w.ctx, alice, rev); err != nil {
		t.Fatal(err)
	}
	_, err = services.Submit(w.ctx, anonymous, csrNamed(t, key, "same-key"))
	wantError(t, err, ErrInvalid)

	_, key = w.enrol(users, "bob")
	_, err = users.Submit(w.ctx, anonymous, csrNamed(t, key, "bob-again"))
	wantError(t, err, ErrConflict)
	if _, err := services.Submit(w.ctx, anonymous, csrNamed(t, key, "bobs-host")); err != nil {
		t.Errorf("a user's key for a service: %v", err)
	}
	ca := st.signer.crt
	_, err = users.Submit(w.ctx, anonymous, csrFor(t, newKey(t), x509.CertificateRequest{RawSubject: ca.RawSubject}))
	wantError(t, err, ErrInvalid)
}

func TestSignWithTemplate(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	key := newKey(t)
	id, err := a.Submit(w.ctx, anonymous, csrNamed(t, key, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := pki.ParseRequest(csrNamed(t, newKey(t), "granted"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sign(w.ctx, alice, id, template); err != nil {
		t.Fatal(err)
	}
	crt := w.fetch(a, id)
	if crt.Subject.CommonName != "granted" || crt.DNSNames[0] != "granted.example.org" || !pki.SameKey(crt.PublicKey, key.Public()) {
		t.Errorf("signed %v %v", crt.Subject, crt.DNSNames)
	}
}

// A holder who lost the answer asks again; somebody who recorded the envelope gains nothing.
func TestRenewalIsRepeatable(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.Authority{store.Users, store.Services} {
		a := w.open(config(name))
		crt, key := w.enrol(a, "host")
		e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
		first, err := a.Renew(w.ctx, anonymous, e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := a.Renew(w.ctx, anonymous, e)
		if err != nil || string(first) != string(again) {
			t.Errorf("%s: the same envelope again: another certificate, error %v", name, err)
		}
		w.clock.Advance(2 * time.Hour)
		again, err = a.Renew(w.ctx, anonymous, e)
		if name == store.Users {
			wantError(t, err, ErrConflict)
		} else if err != nil || string(first) == string(again) {
			t.Errorf("%s: the same envelope two hours later: the same certificate, error %v", name, err)
		}
	}
}

func TestRenewalsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	a, users := w.open(config(store.Services)), w.open(config(store.Users))
	crt, key := w.enrol(a, "host")
	userCrt, userKey := w.enrol(users, "user")
	csr := csrNamed(t, newKey(t), "host")

	unsigned := func(payload []byte, err error) *envelope.Envelope {
		if err != nil {
			t.Fatal(err)
		}
		data, err := envelope.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		e, err := envelope.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	renewal := envelope.Renewal{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(csr)}
	tests := []struct {
		name string
		e    *envelope.Envelope
		want error
	}{
		{"not signed", unsigned(envelope.EncodeRenewal(renewal)), ErrUnauthorized},
		{"signed with another key", renewalEnvelope(t, crt, newKey(t), csr), ErrUnauthorized},
		{"certificate of the other authority", renewalEnvelope(t, userCrt, userKey, csr), ErrInvalid},
		{"request is not a request", renewalEnvelope(t, crt, key, []byte("hello")), ErrInvalid},
		{"payload of a revocation", revocationEnvelope(t, crt, key), ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.Renew(w.ctx, anonymous, tt.e)
			wantError(t, err, tt.want)
		})
	}
	t.Run("CA certificate", func(t *testing.T) {
		st, err := a.current(w.ctx, w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Renew(w.ctx, anonymous, renewalEnvelope(t, st.signer.crt, st.signer.key, csr))
		wantError(t, err, ErrInvalid)
	})
	t.Run("expired a second ago", func(t *testing.T) {
		w.clock.Set(crt.NotAfter)
		if _, err := a.Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csr)); err != nil {
			t.Errorf("in the last second of its life: %v", err)
		}
		w.clock.Set(crt.NotAfter.Add(time.Second))
		_, err := a.Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csr))
		wantError(t, err, ErrInvalid)
	})
}

func TestRevokeBySerial(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, _ := w.enrol(a, "host")
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}), ErrConflict)
	wantError(t, a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: cas[0].SerialNumber}), ErrInvalid)
	unknown := big.NewInt(123456789)
	if err := a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: unknown, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	var kept []time.Time
	err = w.store.View(w.ctx, func(r store.Reader) error {
		for _, serial := range []*big.Int{crt.SerialNumber, unknown} {
			rev, err := r.Revocation(w.ctx, store.Services, serial)
			if err != nil {
				return err
			}
			kept = append(kept, rev.KeepUntil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := crt.NotAfter.Add(a.CRLLife()); !kept[0].Equal(want) {
		t.Errorf("a known certificate is kept until %v, want %v", kept[0], want)
	}
	if want := cas[0].NotAfter.Add(a.CRLLife()); !kept[1].Equal(want) {
		t.Errorf("an unknown certificate is kept until %v, want %v", kept[1], want)
	}
}

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	users, services := w.open(config(store.Users)), w.open(config(store.Services))
	user, userKey := w.enrol(users, "carol")
	service, _ := w.enrol(services, "host")

	actor, err := users.Authenticate(w.ctx, anonymous, user)
	if err != nil || actor.Kind != audit.User || actor.Serial.Cmp(user.SerialNumber) != 0 || actor.Address != anonymous.Address {
		t.Errorf("%+v, %v", actor, err)
	}
	_, err = users.Authenticate(w.ctx, anonymous, service)
	wantError(t, err, ErrUnauthorized)
	cas, err := users.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = users.Authenticate(w.ctx, anonymous, cas[0])
	wantError(t, err, ErrUnauthorized)

	if err := users.RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, user, userKey)); err != nil {
		t.Fatal(err)
	}
	_, err = users.Authenticate(w.ctx, anonymous, user)
	wantError(t, err, ErrUnauthorized)

	other, _ := w.enrol(users, "dave")
	w.clock.Set(other.NotAfter.Add(time.Second))
	_, err = users.Authenticate(w.ctx, anonymous, other)
	wantError(t, err, ErrUnauthorized)
}

func TestCRLNumbers(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	first := w.crl(a)
	if len(first.RevokedCertificateEntries) != 0 || first.Number.Sign() <= 0 {
		t.Fatalf("first CRL: number %v, %d entries", first.Number, len(first.RevokedCertificateEntries))
	}
	if life := first.NextUpdate.Sub(w.clock.Now()); life < a.CRLLife() || life > a.CRLLife()+time.Second {
		t.Errorf("next update in %v, want %v", life, a.CRLLife())
	}
	same := func(step string) {
		t.Helper()
		if got := w.crl(a); string(got.Raw) != string(first.Raw) {
			t.Errorf("%s: another CRL, number %v", step, got.Number)
		}
	}
	grown := func(step string) {
		t.Helper()
		got := w.crl(a)
		if got.Number.Cmp(first.Number) <= 0 {
			t.Errorf("%s: number %v after %v", step, got.Number, first.Number)
		}
		if now := w.clock.Now(); got.ThisUpdate.After(now) || now.Sub(got.ThisUpdate) > 2*time.Minute {
			t.Errorf("%s: this update %v at %v", step, got.ThisUpdate, now)
		}
		first = got
	}
	same("again")
	w.restart()
	a = w.open(config(store.Services))
	same("after a restart")
	w.clock.Advance(a.CRLLife()/2 - time.Hour)
	same("before half of its life")
	w.clock.Advance(2 * time.Hour)
	grown("after half of its life")
	crt, _ := w.enrol(a, "host")
	same("after issuing")
	if err := a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	grown("after a revocation")
	w.restart()
	a = w.open(config(store.Services))
	same("after another restart")
	w.clock.Advance(-3 * day)
	grown("after the clock was set back")
}

// A revocation leaves the lists only after the certificate has expired and a list made since
// has shown it.
func TestRevocationIsForgotten(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, _ := w.enrol(a, "host")
	if err := a.RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	w.clock.Set(crt.NotAfter.Add(a.CRLLife() - time.Hour))
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(w.crl(a).RevokedCertificateEntries); n != 1 {
		t.Errorf("%d entries after the certificate has expired, want 1", n)
	}
	// The daemon was off when the certificate expired: this is the first list since.
	w.clock.Set(crt.NotAfter.Add(2 * a.CRLLife()))
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(w.crl(a).RevokedCertificateEntries); n != 1 {
		t.Errorf("%d entries in the first list after a long rest, want 1", n)
	}
	w.clock.Advance(a.CRLLife() / 2)
	if n := len(w.crl(a).RevokedCertificateEntries); n != 0 {
		t.Errorf("%d entries in the next list, want 0", n)
	}
	err := w.store.View(w.ctx, func(r store.Reader) error {
		_, err := r.CertificateBySerial(w.ctx, store.Services, crt.SerialNumber)
		return err
	})
	wantError(t, err, store.ErrNotFound)
}

func TestLeafNeverOutlivesItsIssuer(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	a := w.open(cfg)
	// The daemon is off until just before its only CA expires.
	w.clock.Advance(4*93*day - time.Hour)
	crt, _ := w.enrol(a, "host")
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := pki.VerifyIssued(crt, cas, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if crt.NotAfter.After(issuer.NotAfter) {
		t.Errorf("certificate until %v, its CA until %v", crt.NotAfter, issuer.NotAfter)
	}
}

func TestFirstRequestsInParallel(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.AutoApprove, cfg.MaxPending = 3, 100
	a := w.open(cfg)
	const n = 16
	csrs := make([][]byte, n)
	for i := range csrs {
		csrs[i] = csrNamed(t, newKey(t), fmt.Sprint("user", i))
	}
	ids := make(chan int64, n)
	errs := make(chan error, n)
	for _, csr := range csrs {
		go func() {
			id, err := a.Submit(w.ctx, anonymous, csr)
			ids <- id
			errs <- err
		}()
	}
	approved := 0
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if _, err := a.Certificate(w.ctx, <-ids); err == nil {
			approved++
		}
	}
	if approved != 3 {
		t.Errorf("%d requests approved, want 3", approved)
	}
}

func TestSameEnvelopeInParallel(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
	const n = 32
	out := make(chan string, n)
	for range n {
		go func() {
			data, err := a.Renew(w.ctx, anonymous, e)
			if err != nil {
				t.Error(err)
			}
			out <- string(data)
		}()
	}
	distinct := map[string]bool{}
	for range n {
		distinct[<-out] = true
	}
	if len(distinct) != 1 {
		t.Errorf("%d certificates for one envelope", len(distinct))
	}
}

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
// the old host is left aside, and is back when the daemon moves back.
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
