package ca

import (
	"context"
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

func TestForks(t *testing.T) {
	thief := audit.Actor{Kind: audit.Anonymous, Address: "203.0.113.9"}
	for _, policy := range []ForkPolicy{"", ForkFlag, ForkRefuse, ForkAllow} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			cfg.Fork = policy
			counted := map[audit.Action]int{}
			cfg.Observe = func(_ store.AuthorityName, action audit.Action, err error) {
				if err == nil {
					counted[action]++
				}
			}
			a := w.open(cfg)
			crt, key := w.enrol(a, "host")
			w.successor(a, crt, key)
			w.clock.Advance(day)
			_, err := wired(a).Renew(w.ctx, thief, renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host")))
			l := w.lineage(a, crt)
			entries := w.audit(audit.Filter{Action: audit.Fork})
			switch policy {
			case ForkRefuse:
				wantError(t, err, ErrConflict)
				if l.Renewals != 1 || l.Forks != 0 {
					t.Errorf("%+v", l)
				}
			case ForkAllow:
				if err != nil || l.Renewals != 2 || l.Forks != 0 || len(entries) != 0 || counted[audit.Fork] != 0 {
					t.Errorf("error %v, %d entries, %+v", err, len(entries), l)
				}
			default:
				if err != nil || l.Renewals != 2 || l.Forks != 1 || !l.ForkedAt.Equal(w.clock.Now()) ||
					l.ForkAddress != thief.Address || l.ForkedFrom != anonymous.Address || counted[audit.Fork] != 1 {
					t.Errorf("error %v, %+v, counted %v", err, l, counted)
				}
				if len(entries) != 1 || entries[0].Object != audit.LineageObject(l.ID) || entries[0].Actor.Lineage != lineageText(l.ID) ||
					!strings.Contains(entries[0].Detail, thief.Address) || !strings.Contains(entries[0].Detail, anonymous.Address) {
					t.Errorf("%+v", entries)
				}
				alive, forked, err := a.CountLineages(w.ctx)
				if alive != 0 || forked != 1 || err != nil {
					t.Errorf("%d have forked, %d users, error %v", forked, alive, err)
				}
			}
			// Whoever goes on with what is newest is no fork.
			if policy == ForkFlag {
				_, members, err := a.Lineage(w.ctx, l.ID, 1)
				if err != nil || members[0].Serial.Cmp(l.Newest) != 0 {
					t.Errorf("%+v, error %v", members, err)
				}
			}
		})
	}
	for _, text := range []string{"Flag", "none", " "} {
		if _, err := ParseForkPolicy(text); err == nil {
			t.Errorf("%q is a policy", text)
		}
	}
}

// An old certificate was withdrawn alone. Whoever has its key cannot put out those who have the newest, whatever reason they
// give.
func TestHolderOfRevokedCertificateEndsNoLineage(t *testing.T) {
	w := newWorld(t)
	services := w.open(config(store.Services))
	first, key := w.enrol(services, "host")
	second, secondKey := w.successor(services, first, key)
	w.revoke(services, alice, first, Revoking{OnlyThis: true})
	for _, reason := range []int{0, store.KeyCompromise, superseded} {
		holder, err := services.Holder(w.ctx, anonymous, first, func(crypto.PublicKey) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, services.RevokeOwn(w.ctx, holder, Revoking{Reason: reason}), ErrConflict)
	}
	if l := w.lineage(services, second); l.State != store.LineageActive {
		t.Errorf("%+v", l)
	}
	if got := w.outOf(services, first, second); got != "10" {
		t.Errorf("listed %s", got)
	}
	w.successor(services, second, secondKey)
}

// unrecordedHost is a certificate, and the authority that has issued it, without what it has issued.
func unrecordedHost(t *testing.T) (*world, *Authority, *x509.Certificate, crypto.Signer) {
	t.Helper()
	w := newWorld(t)
	other := newWorld(t)
	crt, key := w.enrol(w.open(config(store.Services)), "host")
	err := other.store.Update(w.ctx, func(tx store.Tx) error {
		return w.store.View(w.ctx, func(r store.Reader) error {
			return tx.Load(w.ctx, func(yield func(store.Row, error) bool) {
				err := r.Rows(w.ctx, func(row store.Row) error {
					switch row.(type) {
					case store.Certificate, store.Lineage:
						return nil
					}
					if !yield(row, nil) {
						return context.Canceled
					}
					return nil
				})
				if err != nil {
					yield(nil, err)
				}
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return other, other.open(config(store.Services)), crt, key
}

// A certificate that is not on record, as after a restore, has a lineage once it is renewed, and that ends with it.
func TestLineageOfWhatIsNotOnRecord(t *testing.T) {
	other, b, crt, key := unrecordedHost(t)
	second, secondKey := other.successor(b, crt, key)
	third, thirdKey := other.successor(b, crt, key)
	l := other.lineage(b, third)
	if l.ID != store.UnrecordedLineage(crt.SerialNumber) || l.Forks != 1 || l.Renewals != 2 || l.Subject != "CN=host" {
		t.Errorf("%+v", l)
	}
	other.revoke(b, alice, crt, Revoking{})
	if got := other.outOf(b, crt, second, third); got != "111" {
		t.Errorf("listed %s", got)
	}
	for crt, key := range map[*x509.Certificate]crypto.Signer{crt: key, second: secondKey, third: thirdKey} {
		wantError(t, other.tryRenew(b, crt, key), ErrInvalid)
	}
}

// A lineage that began with what is not on record is revoked by its newest certificate, or by its id: the first is out, too.
func TestUnrecordedCertificateEndsWithItsLineage(t *testing.T) {
	for name, end := range map[string]func(w *world, a *Authority, newest *x509.Certificate){
		"by the newest": func(w *world, a *Authority, newest *x509.Certificate) { w.revoke(a, alice, newest, Revoking{}) },
		"by the lineage": func(w *world, a *Authority, newest *x509.Certificate) {
			if err := a.EndLineage(w.ctx, alice, w.lineage(a, newest).ID, 0); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, first, key := unrecordedHost(t)
			newest, _ := w.successor(a, first, key)
			end(w, a, newest)
			if got := w.outOf(a, first, newest); got != "11" {
				t.Errorf("listed %s", got)
			}
			row := w.recorded(a, first)
			if row.Method != store.Recovered || row.Lineage != row.ID || row.Subject != "CN=host" || row.CAID == 0 {
				t.Errorf("%+v", row)
			}
		})
	}
}

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

// What is counted is bounded, however many are refused.
func TestRefusalsAreBounded(t *testing.T) {
	var r refusals
	recorded := 0
	for n := range 3 * maxRefusals {
		if r.first(epoch, fmt.Sprint(n), audit.Entry{Action: audit.Renew}) {
			recorded++
		}
	}
	if len(r.since) > maxRefusals+1 || recorded > maxRefusals+1 {
		t.Errorf("%d are counted, %d recorded", len(r.since), recorded)
	}
	if due := r.due(epoch.Add(refusalPeriod), false); len(due) != 1 || !strings.HasPrefix(due[0].Detail, fmt.Sprint(2*maxRefusals-1, " more")) {
		t.Errorf("%+v", due)
	}
	if due := r.due(epoch.Add(2*refusalPeriod), true); len(due) != 0 {
		t.Errorf("%+v", due)
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
	for _, e := range w.audit(audit.Filter{Authority: "cas"}) {
		switch e.Action {
		case audit.Sign:
			if !strings.Contains(e.Detail, " lineage="+theirs) {
				t.Errorf("%+v", e)
			}
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
