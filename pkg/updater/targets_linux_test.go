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
				time.Sleep(68 * day) // the certificate is due for days
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

// mounted has a folder of a test in a file system of its own, of a size.
func mounted(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can mount")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Skipf("NOT TESTED: mounts: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestStoresThatCannotBeReplaced: so are CA certificates and lists, each of which is looked at.
func TestStoresThatCannotBeReplaced(t *testing.T) {
	dir := mounted(t, "1m")
	synctest.Test(t, func(t *testing.T) {
		h, _, _ := newTreeHost(t, dir)
		h.job.CASCA = h.path("cas.pem")
		if all, err := Once(t.Context(), h.o, []Job{h.job}); err != nil || all[0].State != StateOK {
			t.Fatalf("%+v, %v\n%s", all, err, h.log)
		}
		for _, path := range []string{h.job.CA, h.job.CASCA, h.job.Root, h.job.CRL} {
			must(t, syscall.Mount(path, path, "", syscall.MS_BIND, ""))
			all, err := Look(h.o, []Job{h.job})
			must(t, err)
			if p := all[0].Problems; all[0].State != StateBlocked || len(p) != 1 || !strings.Contains(p[0].Message, path) || strings.Contains(p[0].Hint, "certificate is asked for") {
				t.Errorf("%s: %+v", path, all[0])
			}
			must(t, syscall.Unmount(path, syscall.MNT_DETACH))
		}
	})
}

// TestFullDisk: what there is no room for is not asked for, and that is said by whoever looks.
func TestFullDisk(t *testing.T) {
	dir := mounted(t, "96k")
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		fill, err := os.Create(h.path("fill"))
		must(t, err)
		for err == nil {
			_, err = fill.Write(make([]byte, 4096))
		}
		must(t, fill.Close())
		must(t, os.Truncate(h.path("fill"), 76<<10)) // a state and a list can be written, and not all that a certificate takes
		asked := record(h.daemon)
		for range 3 {
			once, err := Once(t.Context(), h.o, []Job{h.job})
			must(t, err)
			looked, err := Look(h.o, []Job{h.job})
			must(t, err)
			for _, s := range []Status{once[0], looked[0]} {
				if s.State != StateBlocked || s.Problems[0].Class != "disk full" {
					t.Errorf("%+v", s)
				}
			}
		}
		if n := len(asked()); n != 0 {
			t.Errorf("%d certificates were asked for", n)
		}
		must(t, os.Remove(h.path("fill")))
		if all, err := Once(t.Context(), h.o, []Job{h.job}); err != nil || all[0].State != StateOK || len(asked()) != 1 {
			t.Errorf("afterwards: %+v, %v", all, err)
		}
	})
}
