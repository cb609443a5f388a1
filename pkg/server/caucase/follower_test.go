package caucase

import (
	"context"
	"sync/atomic"
	"testing"

	"cauase/pkg/ca"
	"cauase/pkg/store"
)

// watched is an authority that counts the clients which follow only to the same subject.
type watched struct {
	Core
	strict, holders *atomic.Int64
}

func (w watched) NoteStrictFollower(holder bool) {
	w.strict.Add(1)
	if holder {
		w.holders.Add(1)
	}
}

func (w watched) Certificate(ctx context.Context, id int64) (ca.Issued, error) {
	if id != 7 {
		return w.Core.Certificate(ctx, id)
	}
	crts, err := w.CACertificates(ctx) // any will do
	if err != nil {
		return ca.Issued{}, err
	}
	return ca.Issued{Certificate: crts[0]}, nil
}

// TestStrictFollowers: who asks for the succession with one of our tools of a version that follows only to the same
// subject is noticed, and nobody else.
func TestStrictFollowers(t *testing.T) {
	var strict, holders atomic.Int64
	s := newSite(t, func(c *Config) { instead(c, watched{named(c, store.Services), &strict, &holders}) })
	for agent, want := range map[string]int64{
		"cauase/(devel)": 1, "cauase-updater/2baedc1": 1, "cauase-probe/1.2": 1,
		"cauase/1.3 (generations)": 0, "cauase-updater/1.3 (generations)": 0, "cauase-key-id/1": 0,
		"caucase 0.9.17": 0, "curl/8": 0, "": 0, "cauases/1": 0,
	} {
		strict.Store(0)
		s.handle("GET", "/cas/crl", "User-Agent", agent)
		s.handle("GET", "/cau/crt/ca.crt.json", "User-Agent", agent)
		if strict.Load() != 0 {
			t.Errorf("%s has not asked for the succession", agent)
		}
		s.handle("GET", "/cas/crt/ca.crt.json", "User-Agent", agent)
		if got := strict.Load(); got != want {
			t.Errorf("%s is taken for %d clients that follow only to the same subject", agent, got)
		}
		// Whoever asks is known for a holder only when there is something to hold.
		s.handle("GET", "/cas/crt/8", "User-Agent", agent)
		if n := holders.Swap(0); n != 0 {
			t.Errorf("%s is taken for a holder of nothing", agent)
		}
		s.handle("GET", "/cas/crt/7", "User-Agent", agent)
		if got := holders.Swap(0); got != want {
			t.Errorf("%s is taken for %d holders that follow only to the same subject", agent, got)
		}
	}
}
