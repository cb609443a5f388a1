package ca

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestInquiryIsShared: however many ask while others are being answered, the store is asked once more for all of them, and tells
// them what became true before they asked.
func TestInquiryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := inquiry{turn: newLock()}
		var truth, asked atomic.Int64
		hold := make(chan struct{})
		read := func(context.Context) (int64, int64, error) {
			seen := truth.Load()
			asked.Add(1)
			<-hold
			return seen, seen, nil
		}
		var running sync.WaitGroup
		ask := func(least int64) {
			running.Go(func() {
				if number, _, err := q.ask(t.Context(), read); err != nil || number < least {
					t.Errorf("told %d, %v, where it was %d already", number, err, least)
				}
			})
		}
		ask(0)
		synctest.Wait() // it is being answered
		truth.Store(1)
		for range 100 {
			ask(1)
		}
		synctest.Wait()
		close(hold)
		running.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("the store was asked %d times", n)
		}
	})
}

// TestInquiryOutlivesWhoAsked: one whose request ends while it asks for all leaves the others without an answer, and they ask again. So
// does one that panics. An error of the store is everybody's.
func TestInquiryOutlivesWhoAsked(t *testing.T) {
	for what, first := range map[string]func(ctx context.Context) error{
		"gone":     func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panicked": func(ctx context.Context) error { <-ctx.Done(); panic("asker") },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := inquiry{turn: newLock()}
				if err := q.turn.lock(t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var asked atomic.Int64
				read := func(ctx context.Context) (int64, int64, error) {
					if asked.Add(1) == 1 {
						return 0, 0, first(ctx)
					}
					return 7, 8, nil
				}
				var failed, answered atomic.Int64
				var running sync.WaitGroup
				ask := func(ctx context.Context) {
					defer func() {
						if recover() != nil {
							failed.Add(1)
						}
					}()
					switch number, version, err := q.ask(ctx, read); {
					case errors.Is(err, context.Canceled):
						failed.Add(1)
					case err == nil && number == 7 && version == 8:
						answered.Add(1)
					default:
						t.Errorf("%d, %d, %v", number, version, err)
					}
				}
				running.Go(func() { ask(ctx) })
				synctest.Wait() // first in the line
				for range 5 {
					running.Go(func() { ask(t.Context()) })
				}
				synctest.Wait()
				q.turn.unlock()
				synctest.Wait()
				cancel()
				running.Wait()
				if failed.Load() != 1 || answered.Load() != 5 {
					t.Errorf("%d failed, %d were answered", failed.Load(), answered.Load())
				}
			})
		})
	}
	q := inquiry{turn: newLock()}
	broken := errors.New("broken")
	if _, _, err := q.ask(t.Context(), func(context.Context) (int64, int64, error) { return 0, 0, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}
