package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

func stranger(address string) audit.Actor {
	return audit.Actor{Kind: audit.Anonymous, Address: address}
}

// TestOneStrangerCannotFillThePendingRequests: there is room for others, whatever address of its network it
// comes from, and what nobody decides about makes room again.
func TestOneStrangerCannotFillThePendingRequests(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.MaxPending, cfg.PendingTTL = 50, 7*day
	a := w.open(cfg)
	submit := func(address string) (int64, error) {
		return wired(a).Submit(w.ctx, stranger(address), csrNamed(t, newKey(t), "someone"))
	}
	for n := range 12 {
		if _, err := submit(fmt.Sprintf("2001:db8:1:2:%x::1", n)); err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
	}
	_, err := submit("2001:db8:1:2:ffff::1")
	wantError(t, err, ErrTooManyPending)
	for _, other := range []string{"2001:db8:1:3::1", "192.0.2.1", "192.0.2.2"} {
		if _, err := submit(other); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	// Who has been recognised is nobody's neighbour.
	if _, err := wired(a).Submit(w.ctx, audit.Actor{Kind: audit.Operator}, csrNamed(t, newKey(t), "ours")); err != nil {
		t.Error(err)
	}

	w.clock.Advance(7*day - time.Hour)
	young, err := submit("192.0.2.3")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	pending, err := a.Pending(w.ctx)
	if err != nil || len(pending) != 1 || pending[0].ID != young {
		t.Errorf("%d pending, %v", len(pending), err)
	}
	expired := w.audit(audit.Filter{Action: audit.Expire})
	if len(expired) != 16 || expired[0].Actor.Kind != audit.Daemon || !strings.HasPrefix(expired[0].Detail, "CN=") {
		t.Errorf("%d entries: %+v", len(expired), expired)
	}
	if _, err := submit("2001:db8:1:2::1"); err != nil {
		t.Errorf("after the old ones are gone: %v", err)
	}
}

func TestPendingRequestsStayWithoutALimit(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	if _, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "someone")); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(80 * day)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
		t.Errorf("%d pending, %v", len(pending), err)
	}
}

// TestForesee: what the store says of a request comes before anything is computed with its key. The signature here is
// a forged one, which only computing reveals.
func TestForesee(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.MaxPending = 1
	a := w.open(cfg)
	text := csrFor(t, newKey(t), x509.CertificateRequest{DNSNames: []string{"a.example"}})
	outline, err := pki.ParseOutline(text)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := a.Foresee(w.ctx, anonymous, outline, ""); done != nil || err != nil {
		t.Errorf("a new one: %v, %v", done, err)
	}
	id, err := wired(a).Submit(w.ctx, anonymous, text)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := a.Foresee(w.ctx, anonymous, outline, ""); err != nil || done == nil || done.ID != id {
		t.Errorf("the same again: %v, %v", done, err)
	}

	other, err := pki.ParseOutline(forged(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Check(); !errors.Is(err, pki.ErrInvalid) {
		t.Fatalf("its signature is accepted: %v", err)
	}
	_, err = a.Foresee(w.ctx, anonymous, other, "")
	wantError(t, err, ErrTooManyPending)
	_, err = a.Foresee(w.ctx, anonymous, other, "no-such-profile")
	wantError(t, err, ErrInvalid)
}

// forged is a request whose signature is not that of its key.
func forged(t *testing.T) []byte {
	t.Helper()
	der := bytes.Clone(pkitest.ParsedRequest(t, pkitest.SharedKey(t, pki.KeyRSA2048, "forged"), &x509.CertificateRequest{DNSNames: []string{"b.example"}}).CSR.Raw)
	der[len(der)-1] ^= 1
	return pki.EncodeCSRPEM(der)
}
