package flood

import (
	"fmt"
	"strings"
	"testing"
)

// TestStalledStreams is for a hundred connections, each of which has as many streams stalled as it may.
func TestStalledStreams(t *testing.T) {
	for name, tt := range map[string]struct{ connections, addresses int }{
		"of one address":    {100, 1},
		"of many addresses": {100, 100},
		"1,000 of 100":      {1000, 100},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, t.TempDir(), 0)
			honest := d.stranger()
			m := newMob(t)
			long := strings.Repeat("x", 1000)
			each(tt.connections, func(n int) {
				if err := d.stall(m, crowd(n%tt.addresses), 64, 0, "/cas/crt/ca.crt.json", "x-1", long, "x-2", long); err != nil {
					return // it is up to the daemon
				}
			})
			d.settle()
			t.Logf("%d of %d were cut off", m.cutOff(), tt.connections)
			honest.served(t, "a stranger")
			d.stayedSmall(0)
		})
	}
}

func TestHalfSentBodies(t *testing.T) {
	d := start(t, t.TempDir(), 1024)
	honest := d.stranger()
	m := newMob(t)
	each(500, func(n int) {
		if err := d.half(m, crowd(0), putHeader(100_000)+strings.Repeat("x", 20_000)); err != nil {
			return // it is up to the daemon
		}
	})
	d.settle()
	t.Logf("%d were cut off", m.cutOff())
	honest.served(t, "a stranger")
	d.stayedSmall(0)
}

// TestTrickledBodies is for as many bodies as there are turns for long ones, or were, each of which comes byte by byte.
func TestTrickledBodies(t *testing.T) {
	d := start(t, t.TempDir(), 0, "--write-rate", "0") // whose bound is another story, and which takes as long as memory grows
	csr := make([]byte, 60_000)                        // not a request, which takes reading it to find out
	honest := d.honest(func() error {
		status, err := d.do("127.0.0.9", "PUT", "/cas/csr", csr)
		if err == nil && status != 400 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	m := newMob(t)
	each(300, func(n int) {
		if err := d.half(m, crowd(n%10), putHeader(100_000)+strings.Repeat("x", 17_000)); err != nil {
			return // it is up to the daemon
		}
	})
	m.trickle(t)
	d.settle()
	honest.served(t, "a stranger with a long body")
	d.stayedSmall(0)
}
