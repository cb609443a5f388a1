package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

var stolen = Rotation{Begin: store.AtOnce, Compromised: true}

// TestRenewedJustBeforeWithdrawal: the answer to a renewal was lost, and then the CA was withdrawn. The same message again gets a certificate that
// counts, in place of the one that was lost, and then that one again; it is no fork.
func TestRenewedJustBeforeWithdrawal(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.AuthorityName{store.Users, store.Services} {
		cfg := config(name)
		cfg.Fork = ForkRefuse
		a := w.open(cfg)
		crt, key := w.enrol(a, "host")
		next := newKey(t)
		e := renewalEnvelope(t, crt, key, csrNamed(t, next, "host"))
		lost, err := wired(a).Renew(w.ctx, anonymous, e)
		if err != nil {
			t.Fatal(err)
		}
		// Two in a row: what comes between is withdrawn, too.
		for range 2 {
			w.clock.Advance(time.Minute)
			id := w.rotate(a, stolen)
			got, err := wired(a).Renew(w.ctx, anonymous, e)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			made := w.parse(got)
			if bytes.Equal(got, lost) || !bytes.Equal(made.AuthorityKeyId, id) || !pki.SameKey(made.PublicKey, next.Public()) {
				t.Errorf("%s: not one for that key by the CA that counts", name)
			}
			if again, err := wired(a).Renew(w.ctx, anonymous, e); err != nil || !bytes.Equal(again, got) {
				t.Errorf("%s: once more: another one, error %v", name, err)
			}
			lost = got
		}
		if l := w.lineage(a, crt); l.Forks != 0 {
			t.Errorf("%s: %d forks", name, l.Forks)
		}
		// Once the holder has gone on from there, it is of no use to whoever has recorded it.
		w.successor(a, w.parse(lost), next)
		w.rotate(a, stolen)
		_, err = wired(a).Renew(w.ctx, anonymous, e)
		wantError(t, err, ErrConflict)
	}
}

// TestSubmittedJustBeforeWithdrawal: the same request again does not get the certificate of a CA that was withdrawn. What rules approve is
// approved again, and what they do not waits.
func TestSubmittedJustBeforeWithdrawal(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, web)
	a := w.open(cfg)
	csr := csrOf(t, "", "a.web.example")
	before := w.submitted(a, csr, "")
	w.clock.Advance(time.Minute)
	id := w.rotate(a, stolen)
	after := w.submitted(a, csr, "")
	if after.Issued == nil || after.ID == before.ID || !bytes.Equal(after.Issued.Certificate.AuthorityKeyId, id) {
		t.Fatalf("%+v", after)
	}
	if again := w.submitted(a, csr, ""); again.ID != after.ID {
		t.Error("once more: another one")
	}
	// One that was revoked, too, is another matter.
	w.revoke(a, alice, after.Issued.Certificate, Revoking{})
	w.rotate(a, stolen)
	if again := w.submitted(a, csr, ""); again.Issued != nil {
		t.Error("who was revoked is back, as the CA was withdrawn")
	}

	other := csrOf(t, "", "other.example")
	held := w.submitted(a, other, "").ID
	if err := wired(a).Sign(w.ctx, alice, held); err != nil {
		t.Fatal(err)
	}
	w.rotate(a, stolen)
	if again := w.submitted(a, other, ""); again.Issued != nil || again.ID == held {
		t.Errorf("%+v", again)
	}
}

// TestInvitedJustBeforeWithdrawal: the invitation was used up for a certificate of a CA that was withdrawn before it was fetched. The same request with
// it gets another one, which is no second use; another request does not.
func TestInvitedJustBeforeWithdrawal(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	good := func(crypto.PublicKey) error { return nil }
	inv := Invitation{ID: "one", Authority: a.name, Uses: 1, Made: epoch, Until: epoch.Add(day), Verify: good, Covers: func(*pki.Request) error { return nil }}
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		return tx.PutInvitation(w.ctx, inv.row(store.Invitation{}, audit.Actor{Kind: audit.Operator}))
	})
	if err != nil {
		t.Fatal(err)
	}
	req := w.request(newKey(t), "web")
	if _, err := a.SubmitInvited(w.ctx, anonymous, req, inv, Asked{}); err != nil {
		t.Fatal(err)
	}
	id := w.rotate(a, stolen)
	got, err := a.SubmitInvited(w.ctx, anonymous, req, inv, Asked{})
	if err != nil || !bytes.Equal(got.Issued.Certificate.AuthorityKeyId, id) {
		t.Fatalf("%v", err)
	}
	again, err := a.SubmitInvited(w.ctx, anonymous, req, inv, Asked{})
	if err != nil || again.ID != got.ID {
		t.Errorf("once more: another one, error %v", err)
	}
	_, err = a.SubmitInvited(w.ctx, anonymous, w.request(newKey(t), "mail"), inv, Asked{})
	wantError(t, err, ErrUninvited)
}

// deciderFunc approves after something has happened.
type deciderFunc func()

func (f deciderFunc) Decide(context.Context, policy.Case) (policy.Verdict, error) {
	f()
	return policy.Verdict{Decision: policy.Approve, Rule: "shown"}, nil
}

// TestShownCertificateWithdrawnMeanwhile: while rules and hooks look at a request, the CA is withdrawn that has issued the certificate which was shown
// with it. Whether that was on record or made by the thief, nothing is issued.
func TestShownCertificateWithdrawnMeanwhile(t *testing.T) {
	for name, how := range map[string]struct{ forged, user bool }{
		"a user": {user: true}, "a thief as a user": {user: true, forged: true}, "a holder": {}, "a thief as a holder": {forged: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			users := w.open(config(store.Users))
			crt, key := w.enrol(users, "alice")
			if how.forged {
				key = newKey(t)
				crt = w.forge(users.cas.Load().newest(), crt, key, 1)
			}
			actor, asked := anonymous, Asked{}
			if how.user {
				actor = w.user(users, crt)
			} else {
				holder, err := w.holderOf(users, crt, key)
				if err != nil {
					t.Fatal(err)
				}
				if asked.By.Certificate, err = users.Credential(w.ctx, holder); err != nil {
					t.Fatal(err)
				}
			}
			happens := func() {}
			cfg := config(store.Services)
			cfg.Rules, cfg.Policy = engine(t, web), deciderFunc(func() { happens() })
			a := w.open(cfg)
			if _, err := a.Submit(w.ctx, actor, w.request(newKey(t), "before"), asked); err != nil {
				t.Fatal(err)
			}
			received := w.counter(a, store.CounterReceivedCSR)
			happens = func() {
				happens = func() {}
				w.rotate(users, stolen)
			}
			_, err := a.Submit(w.ctx, actor, w.request(newKey(t), "web"), asked)
			wantError(t, err, ErrUnauthorized)
			if n := w.counter(a, store.CounterReceivedCSR); n != received {
				t.Errorf("%d requests on record after %d", n, received)
			}
		})
	}
}

// TestUserOfWithdrawnCAChangesNothing: a user was authenticated a moment before the CA of the certificate was withdrawn.
func TestUserOfWithdrawnCAChangesNothing(t *testing.T) {
	w := newWorld(t)
	users, services := w.open(config(store.Users)), w.open(config(store.Services))
	alice, key := w.enrol(users, "alice")
	host, _ := w.enrol(services, "host")
	forged := w.forge(users.cas.Load().newest(), alice, newKey(t), 1)
	id, err := wired(services).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "server"))
	if err != nil {
		t.Fatal(err)
	}
	holder, err := w.holderOf(users, alice, key)
	if err != nil {
		t.Fatal(err)
	}
	var actors []audit.Actor
	for _, crt := range []*x509.Certificate{alice, forged} {
		actors = append(actors, w.user(users, crt))
	}
	w.rotate(users, stolen)
	before := len(w.audit(audit.Filter{}))
	for _, actor := range actors {
		for what, try := range map[string]func() error{
			"sign":       func() error { return wired(services).Sign(w.ctx, actor, id) },
			"reject":     func() error { return services.Reject(w.ctx, actor, id, Shown{}, "") },
			"revoke":     func() error { return services.RevokeSerial(w.ctx, actor, host.SerialNumber, Revoking{}) },
			"let pages":  func() error { return users.Consent(w.ctx, actor, "https://pages.example", true) },
			"end others": func() error { return users.EndLineage(w.ctx, actor, w.lineage(users, alice).ID, 0) },
		} {
			if err := try(); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for _, e := range w.audit(audit.Filter{})[before:] {
		if e.Result != audit.Refused {
			t.Errorf("%+v", e)
		}
	}
	// What is on record can be exchanged, and is good for nothing else.
	if _, err := users.Credential(w.ctx, holder); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("shown to get another one: %v", err)
	}
	if holder, err = w.holderOf(users, alice, key); err != nil {
		t.Fatal(err)
	}
	if _, err := users.Credential(w.ctx, holder); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("shown to get another one, later: %v", err)
	}
	if _, err := users.Renew(w.ctx, holder, w.request(newKey(t), "alice")); err != nil {
		t.Error(err)
	}
}
