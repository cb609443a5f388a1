package updater

import (
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// TestUserMode keeps a user's key and certificate in one file, and the CA certificates of both
// authorities.
func TestUserMode(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		h.daemon.CAU.AutoApprove = 1
		must(t, os.Rename(h.path("web.key"), h.path("user.pem")))
		h.job.Authority, h.job.Crt, h.job.Key, h.job.CASCA = client.CAU, h.path("user.pem"), "", h.path("cas")
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Mode != "user" {
			t.Fatalf("%+v\n%s", s, h.log)
		}
		if n := strings.Count(h.log.String(), "first contact"); n != 2 {
			t.Errorf("%d first contacts", n)
		}
		first := h.pair(time.Now())
		h.daemon.CAS.Rollover()
		must(t, os.RemoveAll(h.path("cas")))
		time.Sleep(70 * day)
		if pair := h.pair(time.Now()); pki.SameKey(pair.Key.Public(), first.Key.Public()) {
			t.Error("not renewed")
		}
		cas, err := pemfile.CAStore(h.path("cas")).ReadCertificates()
		if err != nil || len(cas) != 2 {
			t.Errorf("%d service CA certificates, %v", len(cas), err)
		}
		if info, err := os.Stat(h.path("user.pem")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 {
			t.Errorf("%+v\n%s", s, h.log)
		}
	})
}

// TestAnonymous keeps CA certificates and lists alone, in directories.
func TestAnonymous(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		h.job.Crt, h.job.Key, h.job.CSR, h.job.CA, h.job.CRL = "", "", "", h.path("ca"), h.path("crl")
		h.job.Pins = []client.Pin{client.PinOf(h.daemon.CAS.Newest().Crt)}
		a, stop := h.start()
		time.Sleep(time.Minute)
		h.daemon.CAS.Rollover()
		time.Sleep(60 * day)
		if s := h.status(a); s.State != StateOK || len(s.CAs) != 2 || len(s.CRLs) != 2 || s.Certificate != nil {
			t.Errorf("%+v\n%s", s, h.log)
		}
		if strings.Contains(h.log.String(), "first contact") {
			t.Error("pinned, and yet a first contact")
		}
		stop()
		// With only a wrong pin, nothing is trusted.
		h.job.CA, h.job.CRL = h.path("ca2"), h.path("crl2")
		h.job.Pins = []client.Pin{{1}}
		a, stop = h.start()
		defer stop()
		time.Sleep(time.Minute)
		if !h.has(a, "fingerprint") || exists(h.job.CA) || exists(h.job.CRL) {
			t.Errorf("%+v", h.status(a))
		}
	})
}

// TestShortLives: with certificates of a minute and all defaults, renewals are half a minute
// apart and not all the time.
func TestShortLives(t *testing.T) {
	timing := Timing{Threshold: DefaultThreshold, CRLThreshold: DefaultCRLThreshold, MaxSleep: DefaultMaxSleep}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	life := Life{now, now.Add(time.Minute)}
	if at := timing.RenewAt(life, 0).Sub(now); at != 30*time.Second {
		t.Errorf("renewed after %s", at)
	}
	if at := timing.FetchAt(life, 0).Sub(now); at != 36*time.Second {
		t.Errorf("fetched after %s", at)
	}
}

// TestOwner: everything written belongs to whom it should, keys from their first byte on.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root gives files away")
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		uid, gid := 12345, 54321
		h.job.Owner, h.job.Group, h.job.FileMode = &uid, &gid, 0o640
		h.o.Step = func(step string) {
			name, found := strings.CutPrefix(step, "fill ")
			if !found {
				return
			}
			info, err := os.Stat(name)
			must(t, err)
			sys := info.Sys().(*syscall.Stat_t)
			if strings.Contains(name, ".web.key.") && !strings.Contains(name, ".next.") && (int(sys.Uid) != uid || info.Mode().Perm() != 0o640) {
				t.Errorf("%s belongs to %d, %v, before it is filled", name, sys.Uid, info.Mode())
			}
		}
		a, stop := h.start()
		defer stop()
		time.Sleep(70 * day)
		if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 {
			t.Fatalf("%+v\n%s", s, h.log)
		}
		for _, name := range []string{"web.crt", "web.key", "ca.pem", "crl.pem"} {
			info, err := os.Stat(h.path(name))
			must(t, err)
			if sys := info.Sys().(*syscall.Stat_t); int(sys.Uid) != uid || int(sys.Gid) != gid || info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %d:%d %v", name, sys.Uid, sys.Gid, info.Mode())
			}
		}
	})
}

// TestSlowDaemon: while an answer does not come, files are looked after nevertheless.
func TestSlowDaemon(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed // but for the kick
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		var hanging atomic.Int32 // requests that wait at this moment
		h.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			hanging.Add(1)
			<-r.Context().Done()
			hanging.Add(-1)
			return true
		})
		before := h.read("crl.pem")
		time.Sleep(25*day + time.Second)
		for hanging.Load() == 0 {
			time.Sleep(time.Second)
		}
		must(t, os.Remove(h.path("crl.pem")))
		a.kick(nil)
		time.Sleep(time.Second)
		if got, err := os.ReadFile(h.path("crl.pem")); err != nil || string(got) != string(before) {
			t.Errorf("the list is not back: %v", err)
		}
		h.daemon.Intercept(nil)
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK {
			t.Errorf("%+v", s)
		}
	})
}
