package ca

import (
	"fmt"
	"testing"

	"cauase/pkg/audit"
)

// What a user has decided is the lineage's: it outlives renewals, not 90 days, and is bounded.
func TestConsents(t *testing.T) {
	w := newWorld(t)
	users := w.open(config("cau"))
	crt, key := w.enrol(users, "alice")
	bobs, _ := w.enrol(users, "bob")
	alice, bob := w.user(users, crt), w.user(users, bobs)
	list := func(user audit.Actor) string {
		t.Helper()
		found, err := users.Consents(w.ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, c := range found {
			text += fmt.Sprint(c.Origin, "=", c.Allowed, " ")
		}
		return text
	}
	decide := func(origin string, allowed bool) {
		t.Helper()
		if err := users.Consent(w.ctx, alice, origin, allowed); err != nil {
			t.Fatal(err)
		}
	}
	decide("https://a.example", true)
	w.clock.Advance(day)
	decide("https://b.example", false)
	next, _ := w.successor(users, crt, key)
	if got := list(w.user(users, next)); got != "https://a.example=true https://b.example=false " || list(bob) != "" {
		t.Errorf("decided: %q, by bob %q", got, list(bob))
	}
	wantError(t, users.WithdrawConsents(w.ctx, bob, ""), ErrNotFound)
	wantError(t, users.WithdrawConsents(w.ctx, alice, "https://c.example"), ErrNotFound)
	decide("https://a.example", false) // in the place of the one before
	if got := list(alice); got != "https://b.example=false https://a.example=false " {
		t.Errorf("decided: %q", got)
	}
	if err := users.WithdrawConsents(w.ctx, alice, "https://b.example"); err != nil || list(alice) != "https://a.example=false " {
		t.Errorf("withdrawn: %q, %v", list(alice), err)
	}
	if n := len(w.audit(audit.Filter{ActorSerial: crt.SerialNumber, ObjectKind: audit.KindOrigin})); n != 4 {
		t.Errorf("%d entries", n)
	}
	for n := range maxConsents + 5 {
		decide(fmt.Sprintf("https://%d.example", n), true)
	}
	if found, _ := users.Consents(w.ctx, alice); len(found) != maxConsents || found[0].Origin != "https://5.example" {
		t.Errorf("%d decisions, the first about %s", len(found), found[0].Origin)
	}
	for _, origin := range []string{"https://a.example b", "a\nb", fmt.Sprintf("https://%300d", 1)} {
		wantError(t, users.Consent(w.ctx, alice, origin, true), ErrInvalid)
	}
	w.clock.Advance(ConsentLife)
	if got := list(alice); got != "" {
		t.Errorf("after 90 days: %q", got)
	}
	for _, text := range []string{"x", "1 yes a\n", "a true b\n", "1 true a b\n"} {
		if _, err := ParseConsents(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
