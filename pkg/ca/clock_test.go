package ca

import (
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// The clock jumps ten years ahead, and is set back after a day: nothing that matters is lost, and
// the next rollover comes as if nothing had happened.
func TestClockJumpsAhead(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.clock.Advance(day)
	kept, _ := w.enrol(a, "kept")
	revoked, _ := w.enrol(a, "revoked")
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: revoked.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	before := w.crl(a)

	jump := 3650 * day
	w.clock.Advance(jump)
	for range 24 {
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
	}
	w.enrol(a, "future")
	w.clock.Advance(-jump)

	check := func(when string) {
		t.Helper()
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		list, err := wired(a).CRLs(w.ctx)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		crls, err := pki.ParseCRLsPEM(list.PEM)
		if err != nil || len(crls[0].RevokedCertificateEntries) != 1 || crls[0].Number.Cmp(before.Number) < 0 || w.clock.Now().Before(crls[0].ThisUpdate) {
			t.Errorf("%s: list %v from %v with %d entries, %v", when, crls[0].Number, crls[0].ThisUpdate, len(crls[0].RevokedCertificateEntries), err)
		}
		leaf, _ := w.enrol(a, "host")
		cas, err := a.CACertificates(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pki.VerifyIssued(leaf, cas, w.clock.Now()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("when the clock is right again")
	w.restart()
	a = w.open(config(store.Services))
	check("after a restart")
	err := w.store.View(w.ctx, func(r store.Reader) error {
		_, err := r.CertificateBySerial(w.ctx, store.Services, kept.SerialNumber)
		return err
	})
	if err != nil {
		t.Errorf("the record of a valid certificate: %v", err)
	}

	w.clock.Set(epoch.Add(2 * span))
	check("when the successor is due")
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active, rollover.Passive}) {
		t.Errorf("phases %v", got)
	}
	links := w.links(a)
	if len(links) != 1 || w.parse([]byte(links[0].NewPEM)).NotBefore.After(w.clock.Now()) {
		t.Errorf("the chain leads to the future: %d links", len(links))
	}
	w.restart()
	a = w.open(config(store.Services))
	w.clock.Advance(span + time.Minute)
	check("when the successor signs")
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Retired, rollover.Active}) {
		t.Errorf("phases %v", got)
	}
}

// Right after its CA was made the daemon is restarted with longer spans: a successor is due at
// once, and must not look older than its predecessor, which clients take for a reordered chain.
func TestSuccessorIsNeverOlder(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.Span = 10 * time.Second
	w.open(cfg)
	cfg.row.Span = span
	a := w.open(cfg)
	cas, err := a.CACertificates(w.ctx)
	if err != nil || len(cas) != 2 {
		t.Fatalf("%d CA certificates, %v", len(cas), err)
	}
	if cas[1].NotBefore.Before(cas[0].NotBefore) {
		t.Errorf("the successor is valid from %v, its predecessor from %v", cas[1].NotBefore, cas[0].NotBefore)
	}
}
