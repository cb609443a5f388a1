package hook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestOneClientDoesNotHoldUpOthers: who has a hook hang, as often as it can, leaves places for others, and turns.
func TestOneClientDoesNotHoldUpOthers(t *testing.T) {
	log, _ := logged()
	p := NewProgram(Authorize, script(t, "read x; [ \"$x\" != hang ] || exec sleep 1000; echo yes"), time.Hour, log)
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, atOnce+waiting)
	var running sync.WaitGroup
	for n := range atOnce + waiting {
		running.Go(func() {
			// Addresses of one network of IPv6 are one client.
			if _, err := p.RunFor(ctx, fmt.Sprintf("2001:db8::%x", n+1), []byte("hang\n")); errors.Is(err, ErrBusy) {
				refused <- err
			}
		})
	}
	for range (atOnce + waiting) / 2 {
		<-refused
	}
	for p.places.count() < (atOnce+waiting)/2 || len(p.slots) < atOnceOfOne {
		time.Sleep(time.Millisecond)
	}
	for _, address := range []string{"192.0.2.1", "::ffff:192.0.2.2", "2001:db8:0:1::1", "unix"} {
		if answer, err := p.RunFor(ctx, address, []byte("x\n")); err != nil || string(answer) != "yes\n" {
			t.Errorf("%s: %q, %v", address, answer, err)
		}
	}
	cancel()
	running.Wait()
	if left := p.places.count(); left != 0 || len(p.places.of) != 0 || len(p.slots) != 0 {
		t.Errorf("%d places are taken, %v, %d slots", left, p.places.of, len(p.slots))
	}
}

// TestShares: the fewer places there are, the fewer one client may have, and there is one for who has none until the last is taken.
func TestShares(t *testing.T) {
	var s shares
	take := func(address string) (n int) {
		for {
			if _, _, ok := s.enter(address); !ok {
				return n
			}
			n++
		}
	}
	for _, one := range []struct {
		address string
		most    int
	}{{"192.0.2.1", 10}, {"192.0.2.2", 5}, {"192.0.2.1", 0}, {"::ffff:192.0.2.2", 0}, {"2001:db8::1", 3}, {"2001:db8::2", 0}, {"2001:db8:0:1::1", 1}, {"192.0.2.3", 1}, {"192.0.2.4", 0}} {
		if n := take(one.address); n != one.most {
			t.Errorf("%s has got %d, want %d", one.address, n, one.most)
		}
	}
}
