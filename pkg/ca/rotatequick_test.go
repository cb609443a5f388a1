package ca

import (
	"errors"
	"testing"
	"time"

	"cauase/pkg/store"
)

// TestRotateInOneSecond: clients tell by when they begin which CA certificate is newer, and who has the say about whom. However quickly an
// operator rotates, each begins a second after the one before it, those that are withdrawn included; none begins in the future, and once the next
// would, there is none.
func TestRotateInOneSecond(t *testing.T) {
	for name, how := range map[string]Rotation{
		"withdrawn":     {Begin: store.AtOnce, Compromised: true},
		"beside others": {Begin: store.AtOnce},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			cfg.Backdate = 4 * time.Second
			a := w.open(cfg)
			before := a.cas.Load().newest().crt
			made := 0
			for {
				_, err := a.Rotate(w.ctx, operator, how)
				if errors.Is(err, ErrConflict) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				crt := a.cas.Load().newest().crt
				if !crt.NotBefore.After(before.NotBefore) || crt.NotBefore.After(w.clock.Now()) {
					t.Fatalf("from %v, after one from %v, at %v", crt.NotBefore, before.NotBefore, w.clock.Now())
				}
				before = crt
				if made++; made > 10 {
					t.Fatal("from the future")
				}
			}
			if made != 4 {
				t.Errorf("%d in a second that has room for 4", made)
			}
			n := 0
			w.eachCA(store.Services, func(store.CA) { n++ })
			if n != made+1 {
				t.Errorf("%d on record, of %d that were made", n, made+1)
			}
			w.issue(a, "meanwhile")
			w.clock.Advance(time.Second)
			w.rotate(a, how)
		})
	}
}
