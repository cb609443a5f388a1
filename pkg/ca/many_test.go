package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Several authorities of one name on one store are what several daemons on one database have.

// openAt opens one more, whose clock differs from the world's.
func (w *world) openAt(cfg setup, ahead time.Duration) (*Authority, *clock.Fake) {
	w.t.Helper()
	clk := clock.NewFake(w.clock.Now().Add(ahead))
	a, err := Open(w.ctx, w.store, clk, cfg.row, cfg.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, clk
}

// together runs f for each of many at the same time.
func together(many []*Authority, f func(i int, a *Authority)) {
	var running sync.WaitGroup
	for i, a := range many {
		running.Go(func() { f(i, a) })
	}
	running.Wait()
}

func (w *world) many(cfg setup) []*Authority {
	w.t.Helper()
	many := make([]*Authority, 10)
	errs := make([]error, len(many))
	together(many, func(i int, _ *Authority) { many[i], errs[i] = Open(w.ctx, w.store, w.clock, cfg.row, cfg.Config) })
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
	return many
}

// made counts the lists that were made.
func (w *world) made() int { return len(w.audit(audit.Filter{Action: audit.MakeCRL})) }

func (w *world) refusals() (n int) {
	for _, e := range w.audit(audit.Filter{}) {
		if e.Result == audit.Refused {
			n++
		}
	}
	return n
}

func TestManyBeginTogether(t *testing.T) {
	w := newWorld(t)
	many := w.many(config(store.Services))
	if got := len(w.audit(audit.Filter{Action: audit.CreateCA})); got != 1 {
		t.Errorf("%d CA certificates", got)
	}
	together(many, func(_ int, a *Authority) {
		if _, err := wired(a).CRLs(w.ctx); err != nil {
			t.Error(err)
		}
	})
	if got := w.made(); got != 1 {
		t.Errorf("%d lists were made, want 1", got)
	}
}

// One revocation is one new list, the same bytes from everyone who is asked right after.
func TestManyServeOneList(t *testing.T) {
	w := newWorld(t)
	many := w.many(config(store.Services))
	for n := range 5 {
		if err := wired(many[n]).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(int64(7 + n))}); err != nil {
			t.Fatal(err)
		}
		before := w.made()
		lists := make([]wireLists, len(many))
		together(many, func(i int, a *Authority) {
			var err error
			if lists[i], err = wired(a).CRLs(w.ctx); err != nil {
				t.Error(err)
			}
		})
		for _, l := range lists {
			if string(l.PEM) != string(lists[0].PEM) {
				t.Fatal("not all serve the same list")
			}
		}
		crl, err := pki.ParseCRLPEM(lists[0].PEM)
		if err != nil || len(crl.RevokedCertificateEntries) != n+1 {
			t.Errorf("a list without the revocation: %v", err)
		}
		if got := w.made() - before; got != 1 {
			t.Errorf("%d lists were made, want 1", got)
		}
		w.clock.Advance(time.Hour)
	}
}

func TestManyRevokeAndApprove(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.AutoApprove, cfg.LockAutoApprove, cfg.row.MaxPending = 3, true, 4
	many := w.many(cfg)
	var revoked, approved, pending, full counter
	together(many, func(i int, a *Authority) {
		switch err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(7)}); {
		case err == nil:
			revoked.add()
		case !errors.Is(err, ErrConflict):
			t.Error(err)
		}
		id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), fmt.Sprint("host", i)))
		if errors.Is(err, ErrTooManyPending) {
			full.add()
			return
		} else if err != nil {
			t.Error(err)
			return
		}
		if _, err := wired(a).Certificate(w.ctx, id); err == nil {
			approved.add()
		} else {
			pending.add()
		}
	})
	if got := fmt.Sprint(revoked.n, approved.n, pending.n, full.n); got != "1 3 4 3" {
		t.Errorf("revoked, approved, pending, refused: %s, want 1 3 4 3", got)
	}
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() { c.mu.Lock(); c.n++; c.mu.Unlock() }

// The count that is locked is that of one of those who lock at once, and all keep to it.
func TestManyLockTheCount(t *testing.T) {
	w := newWorld(t)
	unlocked := config(store.Services)
	unlocked.row.AutoApprove = 50
	before := w.open(unlocked) // runs since before anybody locked
	many := make([]*Authority, 10)
	together(many, func(i int, _ *Authority) {
		cfg := config(store.Services)
		cfg.row.AutoApprove, cfg.LockAutoApprove = 2, true
		var err error
		if many[i], err = Open(w.ctx, w.store, w.clock, cfg.row, cfg.Config); err != nil {
			t.Error(err)
		}
	})
	if got := len(w.audit(audit.Filter{Action: audit.LockAuto})); got != 1 {
		t.Errorf("locked %d times", got)
	}
	approved := 0
	for i := range 5 {
		id, err := wired(before).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), fmt.Sprint("host", i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wired(before).Certificate(w.ctx, id); err == nil {
			approved++
		}
	}
	if approved != 2 {
		t.Errorf("%d approved, want the 2 that are locked", approved)
	}
}

// What one daemon changes another notices when it looks, without anybody asking it for anything.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(config(store.Services)), w.open(config(store.Services))
	w.crl(b)
	if changed, err := b.Refresh(w.ctx); changed || err != nil {
		t.Errorf("nothing has happened: %v, %v", changed, err)
	}
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(7)}); err != nil {
		t.Fatal(err)
	}
	if changed, err := b.Refresh(w.ctx); changed || err != nil || b.crls.serving.Load().count != 1 {
		t.Errorf("after a revocation: %v, %v, %d entries", changed, err, b.crls.serving.Load().count)
	}
	if err := SetNextKeyType(w.ctx, w.store, w.clock, store.Services, pki.KeyEd25519); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * span)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(-2 * span) // so that b does not make one
	if changed, err := b.Refresh(w.ctx); !changed || err != nil || len(b.cas.Load().list) != 2 {
		t.Errorf("after a rollover: %v, %v, %d CA certificates", changed, err, len(b.cas.Load().list))
	}
}

// A revocation that was seen, and that the database has lost in a failover, is in no list from then on, and
// hides no other.
func TestRevocationLost(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	revoke := func(serial int64) {
		t.Helper()
		if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(serial)}); err != nil {
			t.Fatal(err)
		}
	}
	revoke(7)
	revoke(8)
	w.crl(a)
	if err := w.store.Update(w.ctx, func(tx store.Tx) error {
		_, err := tx.PruneRevocations(w.ctx, store.Services, w.clock.Now().Add(100*span), 10) // without saying so
		return err
	}); err != nil {
		t.Fatal(err)
	}
	revoke(9)
	entries := w.crl(a).RevokedCertificateEntries
	if len(entries) != 1 || entries[0].SerialNumber.Int64() != 9 {
		t.Errorf("the list has %v", entries)
	}
}

// What another daemon has done to the CA certificates counts in the next operation, also if it is under way.
func TestManySignWithTheLatestCA(t *testing.T) {
	for _, name := range []string{"sign", "renew"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.open(config(store.Services))
			crt, key := w.enrol(a, "host")
			old := a.cas.Load().list[0]
			id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "another"))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.Update(w.ctx, func(tx store.Tx) error { return a.forgetKey(w.ctx, tx, w.clock.Now(), old, store.CADisowned, "test") }); err != nil {
				t.Fatal(err)
			}
			var made *x509.Certificate
			if name == "sign" {
				if err := wired(a).Sign(w.ctx, alice, id); err != nil {
					t.Fatal(err)
				}
				made = w.fetch(a, id)
			} else {
				pem, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host")))
				if err != nil {
					t.Fatal(err)
				}
				made = w.parse(pem)
			}
			if string(made.AuthorityKeyId) == string(old.crt.SubjectKeyId) {
				t.Error("a CA has signed whose key is erased")
			}
		})
	}
}

// Clocks that differ make neither lists nor CA certificates again and again.
func TestClocksThatDiffer(t *testing.T) {
	for _, tt := range []struct {
		ahead time.Duration
		lists int // that one revocation may cost
	}{{time.Second, 1}, {50 * time.Second, 1}, {90 * time.Second, 2}, {time.Hour, 2}, {12 * time.Hour, 2}} {
		t.Run(fmt.Sprint(tt.ahead), func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			b := w.open(cfg)
			a, ahead := w.openAt(cfg, tt.ahead)
			serial := int64(1)
			for range 40 {
				before := w.made()
				serial++
				if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(serial)}); err != nil {
					t.Fatal(err)
				}
				for range 5 {
					if one, other := w.lists(a), w.lists(b); one == "" || other == "" {
						t.Fatal("no list")
					}
				}
				if got := w.made() - before; got > tt.lists {
					t.Fatalf("%d lists were made for one revocation", got)
				}
				if w.lists(a) != w.lists(b) {
					t.Fatal("they serve different lists")
				}
				w.clock.Advance(20 * day)
				ahead.Advance(20 * day)
				for range 3 {
					if err := errors.Join(a.Maintain(w.ctx), b.Maintain(w.ctx)); err != nil {
						t.Fatal(err)
					}
				}
			}
			// 800 days are four CAs of four spans, the last two of them alive.
			if got := len(w.audit(audit.Filter{Action: audit.CreateCA})); got != 5 {
				t.Errorf("%d CA certificates were made", got)
			}
			for _, e := range w.audit(audit.Filter{Action: audit.ExpireCA}) {
				if e.Detail != "expired" {
					t.Errorf("a CA certificate is %s", e.Detail)
				}
			}
		})
	}
}

// An awayStore fails whatever is asked of it, at once or by not answering.
type awayStore struct {
	store.Store
	mu    sync.Mutex
	fails func(ctx context.Context) error
}

func (s *awayStore) away(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = f
}

func (s *awayStore) check(ctx context.Context) error {
	s.mu.Lock()
	f := s.fails
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (s *awayStore) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s *awayStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.Store.Update(ctx, fn)
}

// While the store is away, what is in memory is served, as long as it is valid. Everything else
// fails, and nothing is recorded as refused.
func TestStoreAway(t *testing.T) {
	gone := func(context.Context) error { return store.ErrUnavailable }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	w := newWorld(t)
	away := &awayStore{Store: w.store}
	w.store = away
	a := w.open(config(store.Services))
	leaf, key := w.enrol(a, "host")
	list := w.lists(a)
	for name, fails := range map[string]func(context.Context) error{"gone": gone, "hangs": hangs} {
		t.Run(name, func(t *testing.T) {
			away.away(fails)
			defer away.away(nil)
			if got := w.lists(a); got != list {
				t.Error("another list than before")
			}
			if _, err := a.CRL(w.ctx, new(big.Int).SetBytes(leaf.AuthorityKeyId)); err != nil {
				t.Error(err)
			}
			if _, err := wired(a).Chain(w.ctx); err != nil {
				t.Error(err)
			}
			if _, err := wired(a).CACertificate(w.ctx); err != nil {
				t.Error(err)
			}
			if name == "hangs" {
				return // the rest waits for as long as its caller does
			}
			_, err := a.Authenticate(w.ctx, anonymous, leaf)
			wantError(t, err, store.ErrUnavailable)
			_, err = wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "late"))
			wantError(t, err, store.ErrUnavailable)
			_, err = wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, leaf, key, csrNamed(t, newKey(t), "host")))
			wantError(t, err, store.ErrUnavailable)
			wantError(t, wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, leaf, key)), store.ErrUnavailable)
			wantError(t, a.Maintain(w.ctx), store.ErrUnavailable)
			_, err = a.Refresh(w.ctx)
			wantError(t, err, store.ErrUnavailable)
		})
	}
	away.away(gone)
	w.clock.Advance(a.CRLLife() - time.Minute)
	if got := w.lists(a); got != list {
		t.Error("at its end, another list")
	}
	w.clock.Advance(time.Minute)
	_, err := wired(a).CRLs(w.ctx)
	wantError(t, err, store.ErrUnavailable)
	away.away(nil)
	if got := w.lists(a); got == list {
		t.Error("the store is back, the list is the old one")
	}
	if got := w.refusals(); got != 0 {
		t.Errorf("%d operations are recorded as refused", got)
	}
}

// Nor does an outcome that is not known count as refused.
func TestUncertainOutcome(t *testing.T) {
	w := newWorld(t)
	away := &awayStore{Store: w.store}
	w.store = away
	a := w.open(config(store.Services))
	leaf, key := w.enrol(a, "host")
	away.away(func(context.Context) error { return store.ErrUncertain })
	wantError(t, wired(a).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, leaf, key)), store.ErrUncertain)
	away.away(nil)
	if got := w.refusals(); got != 0 {
		t.Errorf("%d operations are recorded as refused", got)
	}
	if p := a.cfg.Decide(w.clock.Now(), a.spans, a.cas.Load().times()); p.Create || p.Signer == rollover.None {
		t.Errorf("plan %+v", p)
	}
}
