package archive

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// slowly runs look with a backup that takes so long, and something that happens meanwhile.
func slowly(t *testing.T, takes time.Duration, meanwhile func(w *world, a *Archive)) (w *world, a *Archive) {
	t.Helper()
	w = newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a = w.archive("@every 24h", nil)
	a.taker.step = func(name string) {
		if name != "write" {
			return
		}
		meanwhile(w, a)
		for range takes / time.Second {
			time.Sleep(time.Second) // of the bubble
			w.clock.Advance(time.Second)
		}
	}
	a.poll(t.Context())
	return w, a
}

// A backup that takes longer than a claim lasts keeps others out all the time.
func TestLongBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := slowly(t, 3*claimLife, func(w *world, a *Archive) {
			go func() {
				other := w.archive("@every 24h", func(c *Config) { c.Directory = t.TempDir() })
				for range 3 * claimLife / time.Minute {
					other.poll(t.Context())
					if n := len(names(t, other.cfg.Directory)); n > 0 {
						t.Errorf("another daemon has taken %d", n)
					}
					time.Sleep(time.Minute)
				}
			}()
		})
		synctest.Wait()
		if n := len(names(t, w.dir)); n != 1 {
			t.Errorf("%d backups: %s", n, w.log)
		}
	})
}

// A daemon that has been away for too long, and was succeeded, gives up its own.
func TestLostClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a := slowly(t, 3*claimRenew, func(w *world, a *Archive) {
			err := w.store.Update(t.Context(), func(tx store.Tx) error {
				return putSetting(t.Context(), tx, store.SettingBackupClaim, claim{"other", "other:/b", w.clock.Now().Add(claimLife)})
			})
			if err != nil {
				t.Error(err)
			}
		})
		w.wantNames()
		if s, err := a.Status(t.Context()); err != nil || s.Failures != 0 || s.Last != nil {
			t.Errorf("%+v %v: that is no failure", s, err)
		}
		if !strings.Contains(w.setting(store.SettingBackupClaim), "other") || !w.said(errLost.Error()) {
			t.Errorf("claim %s, log %s", w.setting(store.SettingBackupClaim), w.log)
		}
	})
}

// While a backup is under way, however long, certificates are issued.
func TestIssuanceGoesOn(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	steps := 0
	tk := w.taker()
	tk.step = func(string) {
		steps++
		w.user(strings.Repeat("x", steps), pki.KeyECDSAP256)
	}
	d, err := openDirectory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	b, err := tk.take(t.Context(), d, "")
	if err != nil || steps != 6 {
		t.Fatalf("%d steps, %v", steps, err)
	}
	// The first step comes before the snapshot.
	if b.Recipients != 2 {
		t.Errorf("%d recipients: the snapshot is not of one moment", b.Recipients)
	}
}

// While another daemon takes the backup that is due, it is not asked for ten times a second.
func TestOthersAreWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 24h", nil)
	a.poll(t.Context())
	w.clock.Advance(25 * time.Hour)
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		return putSetting(t.Context(), tx, store.SettingBackupClaim, claim{"other", "other:/b", w.clock.Now().Add(claimLife)})
	})
	if err != nil {
		t.Fatal(err)
	}
	a.poll(t.Context())
	if got := a.pause(); got != shortPoll {
		t.Errorf("looks again after %v", got)
	}
	w.clock.Advance(2 * claimLife)
	a.poll(t.Context())
	if got := a.pause(); len(names(t, w.dir)) != 2 || got != a.cfg.Poll {
		t.Errorf("%d backups, looks again after %v", len(names(t, w.dir)), got)
	}
}
