package caucase

import (
	"sync/atomic"
	"testing"

	"cauase/pkg/store"
)

// watched is an authority that counts the clients which follow only to the same subject.
type watched struct {
	Core
	strict *atomic.Int64
}

func (w watched) NoteStrictFollower() { w.strict.Add(1) }

// TestStrictFollowers: who asks for the succession with one of our tools of a version that follows only to the same
// subject is noticed, and nobody else.
func TestStrictFollowers(t *testing.T) {
	var strict atomic.Int64
	s := newSite(t, func(c *Config) { instead(c, watched{named(c, store.Services), &strict}) })
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
	}
}
