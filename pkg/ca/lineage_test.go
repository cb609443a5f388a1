package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// successor has the holder of a certificate renew it with a key of its own.
func (w *world) successor(a *Authority, crt *x509.Certificate, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
	w.t.Helper()
	next := newKey(w.t)
	data, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(w.t, crt, key, csrNamed(w.t, next, "next")))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.parse(data), next
}

func (w *world) tryRenew(a *Authority, crt *x509.Certificate, key crypto.Signer) error {
	_, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(w.t, crt, key, csrNamed(w.t, newKey(w.t), "next")))
	return err
}

func (w *world) revoke(a *Authority, actor audit.Actor, crt *x509.Certificate, how Revoking) {
	w.t.Helper()
	if err := a.RevokeSerial(w.ctx, actor, crt.SerialNumber, how); err != nil {
		w.t.Fatal(err)
	}
}

// user authenticates.
func (w *world) user(a *Authority, crt *x509.Certificate) audit.Actor {
	w.t.Helper()
	actor, err := a.Authenticate(w.ctx, anonymous, crt)
	if err != nil {
		w.t.Fatal(err)
	}
	return actor
}

func (w *world) lineage(a *Authority, crt *x509.Certificate) (l store.Lineage) {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r store.Reader) (err error) {
		l, err = r.LineageOf(w.ctx, a.name, crt.SerialNumber)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// outOf tells which of some certificates the revocation list has, in digits.
func (w *world) outOf(a *Authority, crts ...*x509.Certificate) string {
	w.t.Helper()
	out := map[string]bool{}
	for _, e := range w.crl(a).RevokedCertificateEntries {
		out[e.SerialNumber.String()] = true
	}
	var text strings.Builder
	for _, crt := range crts {
		fmt.Fprint(&text, map[bool]int{true: 1}[out[crt.SerialNumber.String()]])
	}
	return text.String()
}

// A user renews and keeps both pairs; an administrator revokes the new one. The old one is good for nothing.
func TestUserRevokedWithTheNewestKeepsNoOlderOne(t *testing.T) {
	w := newWorld(t)
	users := w.open(config(store.Users))
	admin, _ := w.enrol(users, "admin")
	first, key := w.enrol(users, "mallory")
	second, secondKey := w.successor(users, first, key)
	w.user(users, first) // until then it is as good as the new one

	w.revoke(users, w.user(users, admin), second, Revoking{})
	for name, crt := range map[string]*x509.Certificate{"old": first, "new": second} {
		if _, err := users.Authenticate(w.ctx, anonymous, crt); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("the %s certificate: %v", name, err)
		}
	}
	wantError(t, w.tryRenew(users, first, key), ErrInvalid)
	wantError(t, w.tryRenew(users, second, secondKey), ErrInvalid)
	if got := w.outOf(users, first, second, admin); got != "110" {
		t.Errorf("listed: %s", got)
	}
	if l := w.lineage(users, first); l.State != store.LineageEnded || l.Role != "" || !l.EndedAt.Equal(w.clock.Now()) {
		t.Errorf("%+v", l)
	}
	w.user(users, admin)
}

// A thief mints successors ahead: all of them are out with any one of them.
func TestSuccessorsMadeAheadEndWithTheLineage(t *testing.T) {
	w := newWorld(t)
	services := w.open(config(store.Services))
	first, key := w.enrol(services, "host")
	all, keys := []*x509.Certificate{first}, []crypto.Signer{key}
	for range 5 {
		crt, key := w.successor(services, first, key) // each of the same one
		all, keys = append(all, crt), append(keys, key)
	}
	_, other := w.enrol(services, "other")
	l, members, err := services.Lineage(w.ctx, w.lineage(services, all[3]).ID, 0)
	if err != nil || len(members) != len(all) || l.Renewals != 5 || l.Forks != 4 {
		t.Errorf("%d members of %+v, error %v", len(members), l, err)
	}
	w.revoke(services, alice, all[2], Revoking{Reason: 5})
	if got := w.outOf(services, all...); got != "111111" {
		t.Errorf("listed: %s", got)
	}
	for i := range all {
		wantError(t, w.tryRenew(services, all[i], keys[i]), ErrInvalid)
	}
	wantError(t, services.EndLineage(w.ctx, alice, l.ID, 0), ErrConflict)
	wantError(t, services.EndLineage(w.ctx, alice, l.ID+1, 0), ErrNotFound)
	_ = other
}

// How much of a lineage goes with one certificate depends on who says so, and how.
func TestWhatARevocationEnds(t *testing.T) {
	for name, test := range map[string]struct {
		revoke func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error
		listed string // of the first, the second and the newest
	}{
		"an administrator, the newest": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return a.RevokeSerial(w.ctx, alice, newest.SerialNumber, Revoking{})
		}, "111"},
		"an administrator, an older one": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return a.RevokeCertificate(w.ctx, alice, old, Revoking{})
		}, "111"},
		"an administrator, only this": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return a.RevokeCertificate(w.ctx, alice, newest, Revoking{OnlyThis: true})
		}, "001"},
		"an administrator, superseded": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return a.RevokeSerial(w.ctx, alice, old.SerialNumber, Revoking{Reason: superseded})
		}, "100"},
		"an administrator, only this and then all": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return errors.Join(a.RevokeSerial(w.ctx, alice, old.SerialNumber, Revoking{OnlyThis: true}),
				a.RevokeSerial(w.ctx, alice, old.SerialNumber, Revoking{}))
		}, "111"},
		"an administrator, by the lineage": {func(w *world, a *Authority, old, newest *x509.Certificate, _, _ crypto.Signer) error {
			return a.EndLineage(w.ctx, alice, w.lineage(a, old).ID, 1)
		}, "111"},
		"the holder, the newest": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			return wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(w.t, newest, newestKey))
		}, "111"},
		"the holder, an older one": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			return wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(w.t, old, oldKey))
		}, "100"},
		"the holder, an older one whose key is known to others": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(old.Raw)), Reason: store.KeyCompromise})
			return wired(a).RevokeByHolder(w.ctx, anonymous, signed(w.t, oldKey, payload, err))
		}, "111"},
		"the holder, the newest only": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(newest.Raw)), OnlyThis: true})
			return wired(a).RevokeByHolder(w.ctx, anonymous, signed(w.t, newestKey, payload, err))
		}, "001"},
		"the user, with the newest, an older one": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			if a.row.Role != store.RoleUsers {
				return a.RevokeSerial(w.ctx, alice, old.SerialNumber, Revoking{Reason: superseded})
			}
			return a.RevokeSerial(w.ctx, w.user(a, newest), old.SerialNumber, Revoking{})
		}, "100"},
		"the user, with an older one, another": {func(w *world, a *Authority, old, newest *x509.Certificate, oldKey, newestKey crypto.Signer) error {
			actor := alice
			if a.row.Role == store.RoleUsers {
				actor = w.user(a, old)
			}
			return a.RevokeCertificate(w.ctx, actor, newest, Revoking{})
		}, "111"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, name := range []store.AuthorityName{store.Users, store.Services} {
				a := w.open(config(name))
				first, firstKey := w.enrol(a, "somebody")
				second, secondKey := w.successor(a, first, firstKey)
				newest, newestKey := w.successor(a, second, secondKey)
				bystander, bystandersKey := w.enrol(a, "bystander")
				if err := test.revoke(w, a, first, newest, firstKey, newestKey); err != nil {
					t.Fatal(err)
				}
				if got := w.outOf(a, first, second, newest); got != test.listed {
					t.Errorf("%s: listed %s, want %s", name, got, test.listed)
				}
				if got, ended := w.lineage(a, second).State, test.listed == "111"; (got == store.LineageEnded) != ended {
					t.Errorf("%s: the lineage is %s", name, got)
				}
				if err := w.tryRenew(a, second, secondKey); (err != nil) != (test.listed == "111") {
					t.Errorf("%s: renewing what is between them: %v", name, err)
				}
				if w.outOf(a, bystander) != "0" || w.tryRenew(a, bystander, bystandersKey) != nil {
					t.Errorf("%s: a bystander is out", name)
				}
			}
		})
	}
}

// Who wants what caucase does gets it.
func TestRevokeOne(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.RevokeOne = true
	a := w.open(cfg)
	first, key := w.enrol(a, "host")
	second, secondKey := w.successor(a, first, key)
	w.revoke(a, alice, second, Revoking{})
	if got := w.outOf(a, first, second); got != "01" {
		t.Errorf("listed %s", got)
	}
	if err := w.tryRenew(a, first, key); err != nil {
		t.Error(err)
	}
	wantError(t, w.tryRenew(a, second, secondKey), ErrInvalid)
}

// An envelope that was intercepted, sent again after its result was revoked, makes nothing, whoever revoked it and how.
func TestInterceptedRenewalMakesNothingAfterTheResultWasRevoked(t *testing.T) {
	for _, how := range []Revoking{{}, {OnlyThis: true}, {Reason: superseded}} {
		w := newWorld(t)
		for _, name := range []store.AuthorityName{store.Users, store.Services} {
			a := w.open(config(name))
			crt, key := w.enrol(a, "host")
			e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
			made, err := wired(a).Renew(w.ctx, anonymous, e)
			if err != nil {
				t.Fatal(err)
			}
			w.revoke(a, alice, w.parse(made), how)
			entries := len(w.audit(audit.Filter{}))
			for range 3 {
				got, err := wired(a).Renew(w.ctx, anonymous, e)
				wantError(t, err, ErrConflict)
				if got != nil {
					t.Errorf("%s: a certificate was made", name)
				}
				w.clock.Advance(2 * time.Hour)
			}
			if n := len(w.audit(audit.Filter{})) - entries; n != 0 {
				t.Errorf("%s: %d entries for a replay", name, n)
			}
			if l := w.lineage(a, crt); l.Renewals != 1 {
				t.Errorf("%s: %d renewals", name, l.Renewals)
			}
		}
	}
}

// That a request has renewed a certificate is known as long as that certificate could be used: also when what it was
// renewed with has expired long before, as spans were made shorter.
func TestReplayAfterTheResultWasForgotten(t *testing.T) {
	w := newWorld(t)
	crt, key := w.enrol(w.open(config(store.Services)), "host")
	short := config(store.Services)
	short.row.Span = day
	a := w.open(short)
	e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
	if _, err := wired(a).Renew(w.ctx, anonymous, e); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(40 * day)
	for range 2 {
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(day)
	}
	_, err := wired(a).Renew(w.ctx, anonymous, e)
	wantError(t, err, ErrConflict)
}

// The migration of a database without lineages is completed, once.
func TestEndingLineages(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Users))
	first, key := w.enrol(a, "mallory")
	second, _ := w.successor(a, first, key)
	w.revoke(a, alice, second, Revoking{OnlyThis: true, Reason: 9})
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		l, err := tx.LineageOf(w.ctx, store.Users, first.SerialNumber)
		if err != nil {
			return err
		}
		l.State, l.EndedAt, l.Reason, l.Role = store.LineageEnding, epoch, 9, ""
		return tx.PutLineage(w.ctx, l)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(w.ctx, anonymous, first); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("before that is done: %v", err)
	}
	wantError(t, w.tryRenew(a, first, key), ErrInvalid)
	w.clock.Advance(time.Hour)
	for range 2 {
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.outOf(a, first, second); got != "11" {
		t.Errorf("listed %s", got)
	}
	if l := w.lineage(a, first); l.State != store.LineageEnded || !l.EndedAt.Equal(epoch) {
		t.Errorf("%+v", l)
	}
	if n := len(w.audit(audit.Filter{Action: audit.EndLineage})); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// Entries say in whose lineage somebody stood, and of whose certificate they tell.
func TestEntriesNameTheLineage(t *testing.T) {
	w := newWorld(t)
	users, services := w.open(config(store.Users)), w.open(config(store.Services))
	admin, _ := w.enrol(users, "admin")
	actor := w.user(users, admin)
	crt, key := w.enrol(services, "host")
	w.successor(services, crt, key)
	w.revoke(services, actor, crt, Revoking{})
	mine, theirs := lineageText(w.lineage(users, admin).ID), lineageText(w.lineage(services, crt).ID)
	seen := map[audit.Action]int{}
	for _, e := range w.audit(audit.Filter{Authority: "cas"}) {
		if e.Object.Kind == audit.KindCertificate && (e.Object.Lineage != theirs || !strings.Contains(e.Detail, " lineage="+theirs)) {
			t.Errorf("%s names no lineage of the certificate: %+v", e.Action, e)
		}
		seen[e.Action]++
		switch e.Action {
		case audit.Renew:
			if e.Actor.Lineage != theirs {
				t.Errorf("%+v", e)
			}
		case audit.Revoke, audit.EndLineage:
			if e.Actor.Lineage != mine || e.Actor.Role != store.RoleAdministrator {
				t.Errorf("%+v", e)
			}
		}
	}
	for _, action := range []audit.Action{audit.Sign, audit.Renew, audit.Revoke, audit.EndLineage} {
		if seen[action] == 0 {
			t.Errorf("there is no entry of %s", action)
		}
	}
	if found := w.audit(audit.Filter{Lineage: theirs}); len(found) != 5 { // with the request
		t.Errorf("of the lineage: %+v", found)
	}
	if id, err := services.LineageOf(w.ctx, crt.SerialNumber); err != nil || lineageText(id) != theirs {
		t.Errorf("%d, %v", id, err)
	}
	_, err := services.LineageOf(w.ctx, big.NewInt(7))
	wantError(t, err, ErrNotFound)
	page, err := services.Lineages(w.ctx, store.LineagePage{}, 5)
	if err != nil || len(page) != 1 || page[0].Subject != "CN=host" {
		t.Errorf("%+v, %v", page, err)
	}
}
