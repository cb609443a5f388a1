package ca

import (
	"math/big"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

func TestRevokeBySerial(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, _ := w.enrol(a, "host")
	cas, err := a.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	wantError(t, wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}), ErrConflict)
	wantError(t, wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: cas[0].SerialNumber}), ErrInvalid)
	unknown := big.NewInt(123456789)
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: unknown, Reason: 4}); err != nil {
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

	if err := wired(users).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, user, userKey)); err != nil {
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
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
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
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
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
	// A while later it is forgotten, and the next list is without it.
	w.clock.Advance(a.CRLLife() / 3)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(a.CRLLife() / 3)
	if n := len(w.crl(a).RevokedCertificateEntries); n != 0 {
		t.Errorf("%d entries in the next list, want 0", n)
	}
	err := w.store.View(w.ctx, func(r store.Reader) error {
		_, err := r.CertificateBySerial(w.ctx, store.Services, crt.SerialNumber)
		return err
	})
	wantError(t, err, store.ErrNotFound)
}

// So it does when spans, and the lives of lists, have become longer in between.
func TestRevocationIsForgottenAfterSpansGrew(t *testing.T) {
	w := newWorld(t)
	short := config(store.Services)
	short.row.Span = day
	a := w.open(short)
	crt, _ := w.enrol(a, "host")
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(day / 2)
	shortLife := a.CRLLife()
	a = w.open(config(store.Services))
	entries := func() int {
		t.Helper()
		list, err := wired(a).CRLs(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		crls, err := pki.ParseCRLsPEM(list.PEM) // of two CAs, as a successor was due at once
		if err != nil {
			t.Fatal(err)
		}
		return len(crls[0].RevokedCertificateEntries)
	}
	if n := entries(); n != 1 {
		t.Fatalf("%d entries, want 1", n)
	}
	// No list has been made since the certificate has expired: the one before lasts for weeks.
	w.clock.Set(crt.NotAfter.Add(shortLife + time.Hour))
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(a.CRLLife() / 2)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := entries(); n != 1 {
		t.Errorf("%d entries in the first list after the expiry, want 1", n)
	}
	w.clock.Advance(a.CRLLife() / 3)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(a.CRLLife() / 3)
	if n := entries(); n != 0 {
		t.Errorf("%d entries in the next list, want 0", n)
	}
}
