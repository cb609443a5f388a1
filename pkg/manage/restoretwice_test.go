package manage

import (
	"math"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

// The same backup may have to be restored once more, after hosts have met the lists of the first time.
func TestRestoreTwice(t *testing.T) {
	s := newSite(t)
	path := s.backup()
	published := make(map[string]int64)
	for range 3 {
		s.clock.Advance(time.Minute)
		restored := must[Restored](t)(Restore(t.Context(), newStore(t), s.clock, Restoration{
			Backup: sealedFile(path, s.key), Request: s.request(pkitest.Key(t), "x.example"),
		}))
		for _, n := range restored.CRLNumbers {
			if was := published[string(n.Authority)]; n.Number <= was {
				t.Errorf("list %d of %s after %d", n.Number, n.Authority, was)
			}
			published[string(n.Authority)] = n.Number + 1_000_000
		}
	}
	if len(published) == 0 {
		t.Error("no numbers")
	}
}

// Whatever the clock says, numbers stay where they can be restored and imported.
func TestRestoredAt(t *testing.T) {
	for _, year := range []int{-1, 1960, 1970, 2026, 2105, 2200, 9999} {
		n := restoredAt(time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC))
		if n < 0 || n > maxRestored-crlJump || n > math.MaxInt64/2+1 {
			t.Errorf("in %d: %d", year, n)
		}
	}
}
