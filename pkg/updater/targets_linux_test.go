package updater

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pki"
)

// TestIrreplaceable: a file that cannot be replaced is a problem at once, costs no certificate however long it lasts, and none
// but the one that was due when it can be.
func TestIrreplaceable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can mount")
	}
	for _, name := range []string{"web.crt", "web.key"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mounted := ""
			t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.o.poll = time.Hour
				a, stop := h.start()
				time.Sleep(time.Minute)
				if s := h.status(a); s.State != StateOK {
					t.Fatalf("%+v\n%s", s, h.log)
				}
				stop()
				first := h.pair(time.Now())
				mounted = h.path(name)
				must(t, os.WriteFile(h.path("of-the-host"), h.read(name), 0o600))
				if err := syscall.Mount(h.path("of-the-host"), mounted, "", syscall.MS_BIND, ""); err != nil {
					t.Skipf("NOT TESTED: mounts: %v", err)
				}
				all, err := Look(h.o, []Job{h.job})
				must(t, err)
				if all[0].State != StateBlocked || !strings.Contains(all[0].Problems[0].Message, name) || !strings.Contains(all[0].Problems[0].Message, "mount point") {
					t.Errorf("status: %+v", all[0])
				}
				asked := record(h.daemon)
				a, stop = h.start()
				time.Sleep(time.Minute)
				if s := h.status(a); s.State != StateBlocked || s.Certificate == nil {
					t.Errorf("at once: %+v", s)
				}
				time.Sleep(75 * day)
				if keys := asked(); len(keys) != 0 {
					t.Errorf("%d certificates were asked for", len(keys))
				}
				must(t, syscall.Unmount(mounted, syscall.MNT_DETACH))
				time.Sleep(3 * time.Hour)
				if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 {
					t.Errorf("afterwards: %+v\n%s", s, h.log)
				}
				if pki.SameKey(h.pair(time.Now()).Key.Public(), first.Key.Public()) || len(asked()) != 1 {
					t.Errorf("%d certificates were asked for", len(asked()))
				}
				stop()
				if left, _ := filepath.Glob(h.path(".*.next")); len(left) > 0 {
					t.Errorf("%v are left", left)
				}
			})
		})
	}
}
