package ca

import (
	"context"
	"testing"
	"time"

	"cauase/pkg/store"
)

// A crowdedStore has very many lineages, all of which have confirmed what is asked for, and counts how many it was asked to look at.
type crowdedStore struct {
	store.Store
	lineages int64
	queries  int
	cut      int // queries until ctx is over; 0: never
}

type crowdedReader struct {
	store.Reader
	s *crowdedStore
}

func (s *crowdedStore) View(ctx context.Context, fn func(store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return fn(crowdedReader{r, s}) })
}

func (r crowdedReader) CountHolders(_ context.Context, _ store.AuthorityName, _ time.Time, _ store.Sought, after store.LineagePage, lineages int) (store.Holders, store.LineagePage, error) {
	s := r.s
	if s.queries++; s.queries == s.cut {
		return store.Holders{}, store.LineagePage{}, context.DeadlineExceeded
	}
	n := s.lineages - after.ID
	last := store.LineagePage{}
	if n > int64(lineages) {
		n, last = int64(lineages), store.LineagePage{ID: after.ID + int64(lineages)}
	}
	return store.Holders{Seen: int(n), Confirmed: int(n)}, last, nil
}

// Whoever asks for the timeline, or for metrics, has a bounded number of lineages counted, also of millions; what was counted is told
// again, the longer the more it were; and a count that was interrupted goes on where it was.
func TestCensus(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.clock.Advance(time.Hour)
	w.rotate(a, Rotation{Begin: store.WhenAdopted})
	crowd := &crowdedStore{Store: a.store, lineages: 1_000_000}
	a.store = crowd
	ask := func(most int) *Adoption {
		t.Helper()
		before := crowd.queries
		found, err := a.RecentAdoption(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n := crowd.queries - before; n > most {
			t.Errorf("%d pages were counted, want at most %d", n, most)
		}
		return found
	}
	complete := func() *Adoption {
		t.Helper()
		for range 1_000_000 / store.HoldersPage / censusPages {
			if found := ask(censusPages); found != nil && found.Holders.Seen == int(crowd.lineages) {
				return found
			}
		}
		t.Fatalf("not complete after %d pages", crowd.queries)
		return nil
	}
	crowd.cut = 3
	if _, err := a.RecentAdoption(w.ctx); err == nil {
		t.Fatal("was not cut")
	}
	if found := complete(); found.Holders.Confirmed != 1_000_000 || crowd.queries != 101 {
		t.Errorf("%+v after %d pages, want 100 and the one that failed", found.Holders, crowd.queries)
	}

	w.clock.Advance(restAfter(store.Holders{Seen: 1_000_000}, a.spans.Leaf) - time.Second)
	if ask(0) == nil {
		t.Error("what was counted a moment ago is forgotten")
	}
	w.clock.Advance(time.Second)
	crowd.lineages++
	if found := ask(censusPages); found == nil || found.Holders.Seen != 1_000_000 {
		t.Errorf("until all are counted again: %+v", found)
	}
	if found := complete(); found.Holders.Seen != 1_000_001 {
		t.Errorf("%+v", found.Holders)
	}
}
