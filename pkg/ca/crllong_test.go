package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"math"
	"math/big"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/store"
)

func (w *world) revokeSerial(a *Authority, serial int64) {
	w.t.Helper()
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(serial)}); err != nil {
		w.t.Fatal(err)
	}
}

// lengthy is an authority that takes all its lists for long ones.
func (w *world) lengthy(cfg setup) *Authority {
	w.t.Helper()
	a := w.open(cfg)
	a.crls.long = 1
	return a
}

func lists(t *testing.T, crl *x509.RevocationList, serial int64) bool {
	t.Helper()
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Int64() == serial {
			return true
		}
	}
	return false
}

// A revocation has the next list made at once. As long as that takes, whoever asks for a long one gets the previous, without waiting; but
// not forever.
func TestNobodyWaitsForALongList(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	custody := &slowCustody{}
	told := make(chan struct{}, 100)
	cfg.Custody, cfg.Outdated = custody, func() { told <- struct{}{} }
	a := w.lengthy(cfg)
	before := w.crl(a)
	w.revokeSerial(a, 7)
	if len(told) != 1 {
		t.Fatalf("a revocation was told of %d times", len(told))
	}
	hold := custody.next()
	made := make(chan error, 1)
	go func() { _, err := a.Refresh(w.ctx); made <- err }()
	<-hold.entered
	for range 3 {
		if got := w.crl(a); !bytes.Equal(got.Raw, before.Raw) {
			t.Fatalf("list %v was served while its successor was being signed, want %v", got.Number, before.Number)
		}
	}
	w.clock.Advance(maxLate)
	late, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := a.CRLs(late); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that has been out of date for %v was served: %v", maxLate, err)
	}
	close(hold.letGo)
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if got := w.crl(a); !lists(t, got, 7) {
		t.Error("the revocation is not in the list that was made")
	}
	// A list that has lived for half its life is renewed in the same way.
	last := w.crl(a)
	w.clock.Advance(a.CRLLife() * 3 / 5)
	if got := w.crl(a); !bytes.Equal(got.Raw, last.Raw) {
		t.Error("somebody has waited for a list that is renewed")
	}
	if _, err := a.Refresh(w.ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.crl(a); got.Number.Cmp(last.Number) <= 0 {
		t.Errorf("list %v was renewed as %v", last.Number, got.Number)
	}
}

// One that is out of date is not served when no other can be made.
func TestLongListThatCannotBeMade(t *testing.T) {
	w := newWorld(t)
	broken := &brokenStore{Store: w.store}
	w.store = broken
	cfg := config(store.Services)
	cfg.Outdated = func() {}
	a := w.lengthy(cfg)
	w.crl(a)
	w.revokeSerial(a, 7)
	broken.broken.Store(true)
	if _, err := a.Refresh(w.ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	if list, err := a.CRLs(w.ctx); err == nil {
		t.Errorf("list %d was served, which lacks a revocation", list[0].Number)
	}
	broken.broken.Store(false)
	if !lists(t, w.crl(a), 7) {
		t.Error("the revocation is in no list")
	}
}

// A short list is made for whoever asks after a revocation, who thus finds it: that takes no time.
func TestShortListHasWhatWasRevoked(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Outdated = func() {}
	a := w.open(cfg)
	for serial := range int64(3) {
		w.crl(a)
		w.revokeSerial(a, 7+serial)
		if !lists(t, w.crl(a), 7+serial) {
			t.Errorf("the list lacks what was revoked just before")
		}
	}
}

// A tallyStore counts the revocations that are read.
type tallyStore struct {
	store.Store
	read atomic.Int64
}

func (s *tallyStore) View(ctx context.Context, fn func(store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return fn(tallyReader{r, s}) })
}

type tallyReader struct {
	store.Reader
	of *tallyStore
}

func (r tallyReader) Revoked(ctx context.Context, a store.AuthorityName, after int64, limit int, fn func(store.Revoked) error) error {
	return r.Reader.Revoked(ctx, a, after, limit, func(v store.Revoked) error {
		r.of.read.Add(1)
		return fn(v)
	})
}

// addRevocations revokes count certificates, each of which expires an hour after the one before.
func (w *world) addRevocations(first, count int) {
	w.t.Helper()
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		for i := range count {
			_, err := tx.AddRevocation(w.ctx, store.Revocation{
				Authority: store.Services, Serial: new(big.Int).Lsh(big.NewInt(int64(first+i)), 100), RevokedAt: epoch.Add(time.Duration(i) * time.Second),
				KeepUntil: epoch.Add(time.Duration(i) * time.Hour), Reason: i % 3,
			})
			if err != nil {
				return err
			}
		}
		_, err := tx.AddCounter(w.ctx, store.Services, store.CounterCRLNumber, 1)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// One more revocation costs the reading of that one, also when others have been pruned before. The list is the one that a daemon puts
// together that reads all of them, octet for octet.
func TestFurtherRevocationsAreReadAlone(t *testing.T) {
	w := newWorld(t)
	tally := &tallyStore{Store: w.store}
	w.store = tally
	a := w.open(config(store.Services))
	w.crl(a)
	w.addRevocations(1000, 2000)
	if n := len(w.crl(a).RevokedCertificateEntries); n != 2000 {
		t.Fatalf("%d entries", n)
	}
	further := func(what string, serial int64, entries int) {
		t.Helper()
		tally.read.Store(0)
		w.revokeSerial(a, serial)
		got := w.crl(a)
		if n := tally.read.Load(); n > 2 { // the newest once more, and the further one
			t.Errorf("%s: %d revocations were read for one more", what, n)
		}
		if n := len(got.RevokedCertificateEntries); n != entries {
			t.Errorf("%s: %d entries, want %d", what, n, entries)
		}
		if whole := w.crl(w.open(config(store.Services))); !bytes.Equal(whole.Raw, got.Raw) {
			t.Errorf("%s: another daemon puts together list %v, and not %v", what, whole.Number, got.Number)
		}
	}
	w.clock.Advance(10 * day)
	further("none pruned", 7, 2001)
	w.clock.Advance(a.CRLLife()/pruneAfter + time.Hour)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	pruned := w.prunedSoFar()
	if pruned == 0 || pruned >= pruneBatch {
		t.Fatalf("%d were pruned, want some in one batch", pruned)
	}
	w.clock.Advance(60 * day)
	further("some pruned", 8, 2002-pruned)
	w.clock.Advance(a.CRLLife()/pruneAfter + time.Hour)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if pruned = w.prunedSoFar(); pruned < 2*pruneBatch {
		t.Fatalf("%d were pruned, want several batches", pruned)
	}
	further("more pruned", 9, 2003-pruned)
}

func (w *world) prunedSoFar() int {
	w.t.Helper()
	var pruned int64
	err := w.store.View(w.ctx, func(r store.Reader) (err error) {
		pruned, err = r.Counter(w.ctx, store.Services, store.CounterPruned)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return int(pruned)
}

// After a start the entries of a long list are read in parts, each revocation once, and are the same list.
func TestManyRevocationsAreReadInParts(t *testing.T) {
	w := newWorld(t)
	tally := &tallyStore{Store: w.store}
	w.store = tally
	a := w.open(config(store.Services))
	w.crl(a)
	const count = 3*revocationPage + 17
	for done := 0; done < count; done += revocationPage { // appended to the list, page by page
		w.addRevocations(1_000_000+done, min(revocationPage, count-done))
		w.crl(a)
	}
	if least, size := w.leastAllocated(a), a.ListSize(); least > size/8 {
		t.Errorf("the list after one more revocation allocates %d bytes: it has %d", least, size)
	}
	served := w.crl(a)
	tally.read.Store(0)
	again := w.open(config(store.Services))
	if got := w.crl(again); !bytes.Equal(got.Raw, served.Raw) {
		t.Errorf("%d entries in list %v, want %d in list %v", len(got.RevokedCertificateEntries), got.Number, len(served.RevokedCertificateEntries), served.Number)
	}
	all := int64(len(served.RevokedCertificateEntries))
	if n := tally.read.Load(); n < all || n > all+100 {
		t.Errorf("%d were read for %d", n, all)
	}
	if n := again.crls.entries.of.Count(); int64(n) != all {
		t.Errorf("%d entries in memory, want %d", n, all)
	}
}

// leastAllocated is how many bytes are allocated for the list after one more revocation. The parts of a long list are not among them; now and then
// a new one is begun.
func (w *world) leastAllocated(a *Authority) int64 {
	w.t.Helper()
	least := int64(math.MaxInt64)
	for serial := range int64(5) {
		w.revokeSerial(a, 1+serial)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := a.CRLs(w.ctx); err != nil {
			w.t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		least = min(least, int64(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}
