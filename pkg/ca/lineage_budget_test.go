package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// One certificate that renews and revokes itself over and over adds few entries to the lists, and then has to wait.
func TestRenewingAndRevokingOverAndOver(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	var spent *Exhausted
	renewals := 0
	for range 1000 {
		next := newKey(t)
		data, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csrNamed(t, next, "host")))
		if errors.As(err, &spent) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		renewals++
		old, oldKey := crt, key
		crt, key = w.parse(data), next
		if err := wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, old, oldKey)); err != nil {
			wantError(t, err, ErrBudget)
		}
	}
	limits := budgetOf(93*day, 0)
	if spent == nil || int64(renewals) != limits.renewals || spent.After != 24*time.Hour || !strings.Contains(spent.Error(), "renewals in a day") {
		t.Fatalf("after %d renewals: %v", renewals, spent)
	}
	if n := len(w.crl(a).RevokedCertificateEntries); int64(n) != limits.revocations {
		t.Errorf("%d entries in the list", n)
	}
	w.clock.Advance(23 * time.Hour)
	if err := w.tryRenew(a, crt, key); !errors.As(err, &spent) || spent.After != time.Hour {
		t.Errorf("the same day: %v", err)
	}
	w.clock.Advance(time.Hour)
	crt, key = w.successor(a, crt, key)
	// The newest can be revoked whatever there was before: it is the last time.
	if err := wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, crt, key)); err != nil {
		t.Error(err)
	}
}

// Who renews as clients do never meets a budget, however short certificates live.
func TestBudgetsHaveRoom(t *testing.T) {
	for _, validity := range []time.Duration{time.Second, time.Minute, time.Hour, day, 7 * day, 31 * day, 93 * day, 3650 * day} {
		b := budgetOf(validity, 0)
		every := max(validity/3, 100*time.Millisecond) // and once more, with another key, whenever the answer was lost
		if need := 2 * int64(day/every); b.renewals < need || b.bytes < need*4096 {
			t.Errorf("%v: %+v, needed are %d renewals", validity, b, need)
		}
		if validity <= 31*day && b.renewals < int64(day/(5*time.Minute)) {
			t.Errorf("%v: %+v: not enough for a client of the reference that is started every five minutes", validity, b)
		}
	}
	if b := budgetOf(day, 7); b.renewals != 7 {
		t.Errorf("%+v", b)
	}
}

// longNames are as many names as a certificate may have, of 240 bytes each.
func longNames() (names []string) {
	for n := range 100 {
		names = append(names, fmt.Sprintf("host-%d.%s", n, strings.Repeat(strings.Repeat("a", 56)+".", 4)+"example"))
	}
	return names
}

// A request of 95 KB is no request for a renewal, and of those that are only a digest is kept.
func TestRenewalsKeepLittleOfTheirRequests(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	next := newKey(t)
	large := csrFor(t, next, x509.CertificateRequest{DNSNames: longNames()})
	_, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, large))
	wantError(t, err, ErrInvalid)
	if err == nil || !strings.Contains(err.Error(), "has at most") {
		t.Errorf("%d bytes: %v", len(large), err)
	}
	second, _ := w.successor(a, crt, key)
	row := w.recorded(a, second)
	if row.CSR != nil || len(row.CSRDigest) != 32 || len(row.KeyID) != 20 {
		t.Errorf("kept: %q, %x, %x", row.CSR, row.CSRDigest, row.KeyID)
	}
	_, err = a.Request(w.ctx, row.ID)
	wantError(t, err, ErrNotFound)
}

// A certificate with many long names, which is large itself, can be renewed, but not without end.
func TestBytesOfALineageAreCounted(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Renewals = 40
	a := w.open(cfg)
	key := newKey(t)
	id, err := wired(a).Submit(w.ctx, anonymous, csrFor(t, key, x509.CertificateRequest{DNSNames: longNames()}))
	if err != nil {
		t.Fatal(err)
	}
	if err := wired(a).Sign(w.ctx, alice, id); err != nil {
		t.Fatal(err)
	}
	crt, renewals := w.fetch(a, id), 0
	for ; renewals < 40; renewals++ {
		if err = w.tryRenew(a, crt, key); err != nil {
			break
		}
	}
	var spent *Exhausted
	if !errors.As(err, &spent) || renewals < 10 || renewals > 20 || spent.What != "stored bytes" {
		t.Errorf("after %d renewals: %v", renewals, err)
	}
}

// A revoked holder's message, replayed without end, leaves nothing behind; what others are refused does once, and
// then a count.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Fork = ForkRefuse
	a := w.open(cfg)
	entries := func() []audit.Entry { return w.audit(audit.Filter{}) }

	gone, goneKey := w.enrol(a, "gone")
	w.revoke(a, alice, gone, Revoking{})
	before := len(entries())
	for range 50 {
		wantError(t, w.tryRenew(a, gone, goneKey), ErrInvalid)
		wantError(t, wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, gone, goneKey)), ErrConflict)
		h, err := a.Holder(w.ctx, anonymous, gone, func(crypto.PublicKey) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, a.Refused(w.ctx, h, audit.Renew, fmt.Errorf("%w: nonsense", ErrInvalid)), ErrInvalid)
	}
	if n := len(entries()) - before; n != 0 {
		t.Errorf("%d entries of a revoked holder", n)
	}

	crt, key := w.enrol(a, "host")
	next, nextKey := w.successor(a, crt, key)
	before = len(entries())
	for range 25 {
		wantError(t, w.tryRenew(a, crt, key), ErrConflict)
		h, err := a.Holder(w.ctx, anonymous, next, func(crypto.PublicKey) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, a.Refused(w.ctx, h, audit.Renew, fmt.Errorf("%w: nonsense", ErrInvalid)), ErrInvalid)
	}
	found := entries()[before:]
	if len(found) != 1 || found[0].Result != audit.Refused || found[0].Actor.Lineage != lineageText(w.lineage(a, crt).ID) {
		t.Errorf("%+v", found)
	}
	w.clock.Advance(time.Hour)
	if err := a.recordRefusals(w.ctx, w.clock.Now(), false); err != nil {
		t.Fatal(err)
	}
	found = entries()[before:]
	if len(found) != 2 || !strings.HasPrefix(found[1].Detail, "49 more since ") {
		t.Errorf("%+v", found)
	}
	if err := a.recordRefusals(w.ctx, w.clock.Now(), true); err != nil || len(entries()) != before+2 {
		t.Errorf("%d entries, error %v", len(entries())-before, err)
	}
	_ = nextKey
}

// A daemon that is stopped loses no count.
func TestRefusalsAreRecordedBeforeTheEnd(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	h, err := a.Holder(w.ctx, anonymous, crt, func(crypto.PublicKey) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	refuse := func() {
		t.Helper()
		wantError(t, a.Refused(w.ctx, h, audit.Renew, fmt.Errorf("%w: nonsense", ErrInvalid)), ErrInvalid)
	}
	for range 7 {
		refuse()
	}
	refused := func() (details []string) {
		for _, e := range w.audit(audit.Filter{Action: audit.Renew}) {
			if e.Result == audit.Refused {
				details = append(details, e.Detail)
			}
		}
		return details
	}
	if got := refused(); len(got) != 1 {
		t.Errorf("before the end: %q", got)
	}
	a.Finish(w.ctx)
	if got := refused(); len(got) != 2 || !strings.HasPrefix(got[1], "6 more since ") {
		t.Errorf("at the end: %q", got)
	}
	a.Finish(w.ctx)
	if got := refused(); len(got) != 2 {
		t.Errorf("after the end: %q", got)
	}
	_ = key
}

// What is counted is bounded, however many are refused.
func TestRefusalsAreBounded(t *testing.T) {
	var r refusals
	recorded := 0
	for n := range 3 * maxRefusals {
		if r.atOnce(epoch, refusal{who: fmt.Sprint(n), entry: audit.Entry{Action: audit.Renew}, atOnce: 1}) {
			recorded++
		}
	}
	if len(r.since) > maxRefusals+1 || recorded > maxRefusals+1 {
		t.Errorf("%d are counted, %d recorded", len(r.since), recorded)
	}
	if due := r.due(epoch.Add(refusalPeriod), false); len(due) != 1 || !strings.HasPrefix(due[0].entry.Detail, fmt.Sprint(2*maxRefusals-1, " more")) {
		t.Errorf("%+v", due)
	}
	if due := r.due(epoch.Add(2*refusalPeriod), true); len(due) != 0 || len(r.since) != 0 {
		t.Errorf("%+v, %d left", due, len(r.since))
	}
}

// Whoever goes on has one entry in an hour, and is recorded at once again after an hour of quiet.
func TestRefusalsThatGoOn(t *testing.T) {
	var r refusals
	now := epoch
	refuse := func(times int) (recorded int) {
		for range times {
			if r.atOnce(now, refusal{who: "somebody", entry: audit.Entry{Action: audit.Renew}, atOnce: 3}) {
				recorded++
			}
		}
		return recorded
	}
	if n := refuse(10); n != 3 {
		t.Errorf("%d of ten", n)
	}
	for range 3 {
		now = now.Add(refusalPeriod)
		if due := r.due(now, false); len(due) != 1 || due[0].count != 7 {
			t.Fatalf("%+v", due)
		}
		if n := refuse(7); n != 0 {
			t.Errorf("%d were recorded at once", n)
		}
	}
	for range 2 {
		now = now.Add(refusalPeriod)
		r.due(now, false)
	}
	if n := refuse(10); n != 3 {
		t.Errorf("%d of ten, after an hour without any", n)
	}
}

// There are at most so many users, and room for another once one is none any more.
func TestUsersAreLimited(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.MaxUsers = 2
	users := w.open(cfg)
	first, key := w.enrol(users, "first")
	w.enrol(users, "second")
	w.successor(users, first, key) // is the same user
	id, err := wired(users).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "third"))
	if err != nil {
		t.Fatal(err)
	}
	err = wired(users).Sign(w.ctx, alice, id)
	wantError(t, err, ErrTooManyUsers)
	wantError(t, err, ErrConflict)
	w.revoke(users, alice, first, Revoking{})
	if err := wired(users).Sign(w.ctx, alice, id); err != nil {
		t.Error(err)
	}
	services := config(store.Services)
	services.MaxUsers = 1
	a := w.open(services)
	w.enrol(a, "one")
	w.enrol(a, "two")

	cfg.MaxUsers = MaxUsers + 1
	if _, err := Open(w.ctx, w.store, w.clock, cfg.row, cfg.Config); err == nil {
		t.Error("there may be more users than fit into a backup")
	}
}
