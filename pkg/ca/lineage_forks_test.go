package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

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

// After a restore the renewals are not on record that were made after the backup. Whoever holds one does not go on once the
// lineage of what it renewed is ended, be it as a host or as a user. Others of that name that were certified after that do.
func TestRenewalThatIsNotOnRecordDoesNotOutliveItsLineage(t *testing.T) {
	for _, name := range []store.AuthorityName{store.Services, store.Users} {
		t.Run(string(name), func(t *testing.T) {
			w := newWorld(t)
			a := w.open(config(name))
			first, firstKey := w.enrol(a, "somebody")
			bystander, bystandersKey := w.enrol(a, "bystander")
			var backup []store.Row
			err := w.store.View(w.ctx, func(r store.Reader) error {
				return r.Rows(w.ctx, func(row store.Row) error { backup = append(backup, row); return nil })
			})
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Hour)
			renewal, renewalKey := w.successor(a, first, firstKey)
			theirs, theirKey := w.successor(a, bystander, bystandersKey)

			other := newWorld(t)
			other.clock.Advance(w.clock.Now().Sub(other.clock.Now()))
			err = other.store.Update(w.ctx, func(tx store.Tx) error {
				return tx.Load(w.ctx, func(yield func(store.Row, error) bool) {
					for _, row := range backup {
						if !yield(row, nil) {
							return
						}
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			b := other.open(config(name))
			other.clock.Advance(time.Hour)
			if name == store.Users {
				if actor, err := b.Authenticate(w.ctx, anonymous, renewal); err != nil || actor.Role != store.RoleAdministrator {
					t.Errorf("before the lineage has ended: %+v, %v", actor, err)
				}
			}
			other.revoke(b, alice, first, Revoking{})
			wantError(t, other.tryRenew(b, renewal, renewalKey), ErrInvalid)
			if name == store.Users {
				_, err := b.Authenticate(w.ctx, anonymous, renewal)
				wantError(t, err, ErrUnauthorized)
				if _, err := b.Authenticate(w.ctx, anonymous, theirs); err != nil {
					t.Error(err)
				}
			}
			if err := other.tryRenew(b, theirs, theirKey); err != nil {
				t.Errorf("a bystander: %v", err)
			}
			other.clock.Advance(time.Hour)
			again, againKey := other.enrol(b, "somebody")
			if err := other.tryRenew(b, again, againKey); err != nil {
				t.Errorf("of that name, later: %v", err)
			}
		})
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
