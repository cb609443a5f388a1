package testkit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

func TestBufferTellsWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Buffer
		first, again := b.Contains("ready"), b.Contains("ready")
		fmt.Fprint(&b, "rea")
		synctest.Wait()
		select {
		case <-first:
			t.Fatal("told before all of it was written")
		default:
		}
		fmt.Fprint(&b, "dy\n")
		<-first
		<-again
		<-b.Contains("eady")
		if b.String() != "ready\n" {
			t.Errorf("%q", b.String())
		}
	})
}

func TestBackgroundStopsOnce(t *testing.T) {
	failure := errors.New("failed at the end")
	runs := 0
	var stop func() error
	ok := t.Run("it", func(t *testing.T) {
		stop = Background(t, func(ctx context.Context) error {
			runs++
			<-ctx.Done()
			return nil
		})
	})
	if !ok || stop() != nil || runs != 1 {
		t.Errorf("%v, %d runs", ok, runs)
	}
	stop = Background(ignoring{t}, func(ctx context.Context) error { <-ctx.Done(); return failure })
	if err := stop(); !errors.Is(err, failure) || !errors.Is(stop(), failure) {
		t.Errorf("%v", err)
	}
}

// ignoring is a test that does not fail.
type ignoring struct{ testing.TB }

func (ignoring) Error(...any) {}
