package updater

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// What sleeps here, and in the other stories of an agent told in bubbles of testing/synctest, lets
// simulated time pass and waits for nothing.

// TestYear lets an agent live for more than a year: its certificate is renewed, the CA rolls
// over, and between that it does next to nothing.
func TestYear(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		a, stop := h.start()
		time.Sleep(time.Second)
		first := h.pair(time.Now())
		for d := range 400 {
			time.Sleep(day)
			if d == 150 || d == 350 {
				h.daemon.CAS.Rollover()
			}
			h.pair(time.Now())
		}
		s := h.status(a)
		if s.State != StateOK || s.Counts.Renewals < 5 || s.Counts.Renewals > 7 || len(s.CAs) != 2 {
			t.Errorf("%+v", s)
		}
		if s.Budget < 7*day.Seconds() || s.Limit != "revocation list" {
			t.Errorf("outage budget %.0f days: %s", s.Budget/day.Seconds(), s.Limit)
		}
		var rounds int64
		for _, r := range a.running {
			rounds += r.keeper().(*worker).rounds.Load()
		}
		if rounds > 200 {
			t.Errorf("%d rounds in 400 days", rounds)
		}
		if n := len(h.daemon.Seen()); n > 200 {
			t.Errorf("%d requests in 400 days", n)
		}
		now := h.pair(time.Now())
		if pki.SameKey(now.Key.Public(), first.Key.Public()) {
			t.Error("still the first key")
		}
		if len(h.hooks) < 10 || h.hooks[0] != "ca,crl,crt" {
			t.Errorf("hooks: %v", h.hooks)
		}
		stop()
		if _, err := pemfile.StagedKey(pemfile.PairPaths{Crt: h.job.Crt, Key: h.job.Key}); err == nil {
			t.Error("a staged key is left")
		}
		h.noSecrets()
	})
}

// TestOutage: while nobody answers files stay, little is said, tries get rarer, and all is
// caught up afterwards.
func TestOutage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		a, stop := h.start()
		defer stop()
		time.Sleep(60 * day)
		h.wire.Cut(true)
		before := h.log.lines()
		time.Sleep(10 * day) // renewal has been due for five
		h.pair(time.Now())
		if n := h.log.lines() - before; n > 6 {
			t.Errorf("%d lines of log during an outage:\n%s", n, h.log)
		}
		s := h.status(a)
		if s.State != StateFailing || len(s.Problems) == 0 || s.Problems[0].Failures < 20 || s.Problems[0].Failures > 3000 {
			t.Errorf("%+v", s)
		}
		if s.Limit != "revocation list" || s.Budget > 12*day.Seconds() {
			t.Errorf("budget %v: %s", s.Budget, s.Limit)
		}
		h.wire.Cut(false)
		time.Sleep(time.Hour + time.Minute)
		if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 {
			t.Errorf("after the outage: %+v\n%s", s, h.log)
		}
	})
}

// TestExpired: away past its certificate's end, a host with a request gets a new certificate
// with a new key, and one without says what to do.
func TestExpired(t *testing.T) {
	for _, withCSR := range []bool{true, false} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, dir)
			h.o.poll = time.Hour
			_, stop := h.start()
			time.Sleep(time.Minute)
			stop()
			old := h.pair(time.Now())
			time.Sleep(100 * day)
			if !withCSR {
				h.job.CSR = ""
			}
			a, stop := h.start()
			defer stop()
			time.Sleep(time.Minute)
			s := h.status(a)
			if !withCSR {
				if s.State != StateExpired || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Hint, "--csr") {
					t.Errorf("%+v", s)
				}
				return
			}
			if s.State != StateOK || pki.SameKey(h.pair(time.Now()).Key.Public(), old.Key.Public()) {
				t.Errorf("%+v\n%s", s, h.log)
			}
		})
	}
}

// TestPending: a request is handed in once, waits, is rejected, and another is only handed
// in when the file changes.
func TestPending(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.daemon.CAS.AutoApprove = 0
		a, stop := h.start()
		time.Sleep(day)
		if s := h.status(a); s.State != StatePending || s.Request != "1000" {
			t.Errorf("%+v", s)
		}
		puts := func() (n int) {
			for _, request := range h.daemon.Seen() {
				if strings.HasPrefix(request, "PUT") && !strings.HasSuffix(request, "/holds") {
					n++
				}
			}
			return n
		}
		if puts() != 1 {
			t.Errorf("handed in %d times", puts())
		}
		if n := len(h.daemon.Seen()); n > 4000 {
			t.Errorf("%d requests in a day", n)
		}
		// Across a restart it is the same request.
		stop()
		h.daemon.CAS.RejectFor(1000, "no such host")
		a, stop = h.start()
		defer func() { stop() }()
		time.Sleep(day)
		if s := h.status(a); s.State != StateRejected || puts() != 1 {
			t.Errorf("%+v after %d requests", s, puts())
		}
		stop()
		a, stop = h.start()
		time.Sleep(day)
		if s := h.status(a); s.State != StateRejected || puts() != 1 {
			t.Errorf("after a restart: %+v after %d requests", s, puts())
		}
		tells := func() bool {
			return slices.ContainsFunc(h.status(a).Problems, func(p Problem) bool { return strings.Contains(p.Message, "no such host") })
		}
		if !tells() {
			t.Errorf("does not say why: %+v", h.status(a).Problems)
		}
		// An agent that has forgotten all of it is told by the daemon, which takes nothing in.
		stop()
		must(t, os.Remove(h.job.statePath()))
		a, stop = h.start()
		time.Sleep(day)
		if s := h.status(a); s.State != StateRejected || !tells() || puts() != 2 || len(h.daemon.CAS.Profiles) != 1 {
			t.Errorf("without its memory: %+v after %d requests", s, puts())
		}
		h.daemon.CAS.AutoApprove = 1
		h.request("web2", pkitest.Key(t))
		time.Sleep(2 * time.Minute)
		if s := h.status(a); s.State != StateOK || puts() != 3 {
			t.Errorf("with another request: %+v after %d requests\n%s", s, puts(), h.log)
		}
	})
}

// TestHookUntilItSucceeds: a failing hook is run again, also after a restart.
func TestHookUntilItSucceeds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.hook = func() error { return errors.New("no luck") }
		a, stop := h.start()
		time.Sleep(time.Hour)
		s := h.status(a)
		if s.State != StateHook || s.Hook.Error != "no luck" || len(h.hooks) < 5 || len(h.hooks) > 20 {
			t.Errorf("%+v after %d hooks", s, len(h.hooks))
		}
		if n := strings.Count(h.log.String(), "no luck"); n != 1 {
			t.Errorf("said %d times", n)
		}
		stop()
		h.hook = nil
		a, stop = h.start()
		defer stop()
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK || len(s.Hook.Pending) > 0 {
			t.Errorf("%+v", s)
		}
		if last := h.hooks[len(h.hooks)-1]; last != "ca,crl,crt" {
			t.Errorf("the hook heard of %s", last)
		}
	})
}

// TestHookWaitsForCertificate: before there is a certificate there is nothing that a service could load.
func TestHookWaitsForCertificate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.daemon.CAS.AutoApprove = 0
		h.o.poll = time.Hour
		for range 2 {
			a, stop := h.start()
			time.Sleep(3 * time.Hour)
			if s := h.status(a); len(h.hooks) > 0 || s.State != StatePending || s.Hook.Failures > 0 || len(s.Hook.Pending) == 0 {
				t.Errorf("%+v after the hooks %q", s, h.hooks)
			}
			stop()
			if all, err := Once(t.Context(), h.o, []Job{h.job}); err != nil || len(h.hooks) > 0 || all[0].State != StatePending {
				t.Errorf("once: %+v, %v after the hooks %q", all, err, h.hooks)
			}
		}
		h.daemon.CAS.Approve(1000)
		a, stop := h.start()
		defer stop()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(h.hooks) == 0 || h.hooks[len(h.hooks)-1] != "ca,crl,crt" && h.hooks[0] != "ca,crl,crt" {
			t.Errorf("the hook heard of %q", h.hooks)
		}
		// From then on it hears of lists, whatever becomes of the certificate.
		heard := len(h.hooks)
		must(t, os.Remove(h.path("web.key")))
		h.write("web.crt", []byte("-----BEGIN CERTIFICATE-----\n"))
		h.daemon.CAS.Rollover()
		time.Sleep(2 * day)
		synctest.Wait()
		if len(h.hooks) == heard {
			t.Errorf("the hook has not heard of new lists: %+v", h.status(a))
		}
	})
}

// TestRevoked: a revoked certificate is not renewed.
func TestRevoked(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		h.daemon.CAS.Revoke(h.pair(time.Now()).Crt.SerialNumber)
		time.Sleep(80 * day)
		if s := h.status(a); s.State != StateRevoked || s.Counts.Renewals != 0 || s.Counts.Failures[TaskRenew] != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestMending: whatever is deleted or damaged comes back.
func TestMending(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		h.wire.Cut(true)
		for _, name := range []string{"web.crt", "web.key", "ca.pem", "crl.pem"} {
			good := string(h.read(name))
			for damage, do := range map[string]func(){
				"deleted": func() { must(t, os.Remove(h.path(name))) },
				"emptied": func() { h.write(name, nil) },
				"cut":     func() { h.write(name, []byte(good[:len(good)/2])) },
				"garbled": func() { h.write(name, []byte("what is this\n")) },
			} {
				if name == "web.key" && (damage == "cut" || damage == "garbled") {
					continue // never overwritten: it might be a key, after all
				}
				do()
				time.Sleep(2 * poll)
				if string(h.read(name)) != good {
					t.Errorf("%s %s: %q", name, damage, h.read(name))
				}
			}
		}
		must(t, os.Remove(h.path("web.crt")))
		must(t, os.Remove(h.path("web.key")))
		time.Sleep(2 * poll)
		h.pair(time.Now())
		if s := h.status(a); s.Counts.Mended < 10 {
			t.Errorf("%+v", s)
		}
		// A key that somebody else puts there stays.
		h.write("web.key", []byte("something precious"))
		time.Sleep(time.Hour)
		if s := h.status(a); s.State != StateBlocked || string(h.read("web.key")) != "something precious" {
			t.Errorf("%+v", s)
		}
	})
}

// TestMemoryStaysFlat: thousands of rounds leave nothing behind.
func TestMemoryStaysFlat(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.equip()
		w, err := newWorker(&h.job, h.o)
		must(t, err)
		must(t, w.open())
		defer w.close()
		w.once(t.Context())
		h.wire.Cut(true)
		var before, after runtime.MemStats
		for i := range 2_500 {
			if i == 500 {
				runtime.GC()
				runtime.ReadMemStats(&before)
			}
			w.round(t.Context())
			for w.netBusy || w.hookBusy {
				(<-w.results)()
			}
			time.Sleep(time.Minute)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<18 {
			t.Errorf("2,000 rounds have left %d bytes", grown)
		}
	})
}

// TestClockJumps: a clock that is set back and forth delays nothing for long.
func TestClockJumps(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := State{Refreshed: now.Add(3650 * day), Retry: map[Task]time.Time{}}
	if plan := Decide(Timing{MaxSleep: day}, s, now); len(plan.Actions) != 1 {
		t.Errorf("after ten years back: %v", plan)
	}
	h := newHost(t, t.TempDir())
	h.o.equip()
	w, err := newWorker(&h.job, h.o)
	must(t, err)
	w.retries[TaskRenew] = &retry{next: now.Add(3650 * day)}
	if state := w.state(look(&h.job, now), now); !state.Retry[TaskRenew].IsZero() {
		t.Errorf("tries again on %s", state.Retry[TaskRenew])
	}
}

// TestLastTenth: what gets dangerous is said once more.
func TestLastTenth(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.job.NoPush, h.job.CRLRefresh, h.o.poll = true, 7*day, undisturbed
		h.job.Threshold = 12 * day // of 93, lest it fails for weeks before it gets dangerous
		a, stop := h.start()
		defer stop()
		time.Sleep(79 * day)
		h.wire.Cut(true)
		time.Sleep(4 * day)
		if strings.Contains(h.log.String(), "renew in time") || !slices.ContainsFunc(h.status(a).Problems, func(p Problem) bool { return p.Task == TaskRenew }) {
			t.Errorf("said too early, or nothing has failed:\n%s", h.log)
		}
		time.Sleep(5 * day)
		if n := strings.Count(h.log.String(), "renew in time"); n != 1 {
			t.Errorf("said %d times:\n%s", n, h.log)
		}
		h.wire.Cut(false)
		time.Sleep(time.Hour + time.Minute) // as after any outage
		if s := h.status(a); s.State != StateOK {
			t.Errorf("%+v\n%s", s, h.log)
		}
	})
}

// TestHelpFromElsewhere: after a rejection, somebody puts a certificate in place by hand.
func TestHelpFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.daemon.CAS.AutoApprove = 0
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		h.daemon.CAS.Reject(1000)
		time.Sleep(time.Hour)
		if s := h.status(a); s.State != StateRejected {
			t.Errorf("%+v", s)
		}
		request, err := pki.ParseRequest(h.read("web.csr"))
		must(t, err)
		h.write("web.crt", pkitest.PEM(h.daemon.CAS.Issue(request.CSR, request.CSR.PublicKey)))
		time.Sleep(2 * time.Minute)
		if s := h.status(a); s.State != StateOK || len(s.Problems) > 0 || s.Request != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestFolderComesLater: a disk that is mounted after the agent has started delays its job, and
// ends nothing.
func TestFolderComesLater(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.job.Crt, h.job.Key, h.job.CSR = "", "", ""
		h.job.CRL = filepath.Join(dir, "later", "crl.pem")
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateLocked {
			t.Errorf("before: %+v", s)
		}
		must(t, os.Mkdir(filepath.Join(dir, "later"), 0o700))
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK {
			t.Errorf("after: %+v", s)
		}
	})
}
