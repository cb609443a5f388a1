package updater

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/ledger/ledgertest"
)

// content is everything in the folder of a host, but for what an agent remembers.
func (h *host) content() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(h.dir)
	must(h.t, err)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), ".checkpoints") {
			all[e.Name()] = string(h.read(e.Name()))
		}
	}
	return all
}

func (h *host) logged(n int) {
	for range n {
		h.daemon.Log.Append(time.Now(), "cas", "crt.sign", nil)
	}
}

func (h *host) sameFiles(before map[string]string) {
	h.t.Helper()
	now := h.content()
	for name, text := range before {
		if now[name] != text {
			h.t.Errorf("%s was changed", name)
		}
	}
	if len(now) != len(before) {
		h.t.Errorf("%d files, there were %d", len(now), len(before))
	}
}

func problemOf(s Status, task Task) *Problem {
	for i := range s.Problems {
		if s.Problems[i].Task == task {
			return &s.Problems[i]
		}
	}
	return nil
}

// TestLogRewritten: somebody edits one old row of the daemon's database and re-hashes everything, with the daemon's own key. No host
// takes anything from it any more, whatever is due, until it shows the log again that was seen.
func TestLogRewritten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(20)
		a, stop := h.start()
		defer func() { stop() }()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Log == nil || s.Log.Size != 20 {
			t.Fatalf("%+v", s)
		}
		if info, err := os.Stat(h.path("ca.pem.checkpoints")); err != nil || info.Mode().Perm() != 0o644 {
			t.Fatal(info, err)
		}
		time.Sleep(61 * day)
		h.logged(7)
		a.Refresh()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Log.Size != 27 {
			t.Fatalf("%+v", s.Log)
		}

		honest := h.daemon.Log.Clone()
		h.daemon.Log.Rewrite(3, time.Now())
		h.logged(5)
		h.daemon.CAS.Renumber()
		h.hooks = nil
		before := h.content()
		time.Sleep(6 * day) // the renewal was due for long
		h.sameFiles(before)
		s := h.status(a)
		if s.State != StateForked || s.Counts.LogForks != 1 || s.Counts.Renewals != 0 || s.Log.Size != 27 || s.Log.Forks == 0 {
			t.Fatalf("%+v", s)
		}
		p := problemOf(s, TaskLog)
		if p == nil || !strings.Contains(p.Message, "27 entries") || !strings.Contains(p.Message, "32 entries") || !strings.Contains(p.Hint, "cauase log") {
			t.Fatalf("%+v", p)
		}
		if !slices.Equal(h.hooks, []string{"log"}) {
			t.Errorf("the hook was told of %q", h.hooks)
		}
		if n := strings.Count(h.log.String(), "cannot rely on the CA's log"); n != 1 {
			t.Errorf("told %d times", n)
		}
		for _, line := range h.daemon.Seen() {
			if strings.Contains(line, "/renew") {
				t.Error("a renewal was asked for")
			}
		}
		// A restart changes nothing.
		stop()
		a, stop = h.start()
		time.Sleep(time.Minute)
		h.sameFiles(before)
		if s := h.status(a); s.State != StateForked || s.Counts.LogForks != 1 {
			t.Fatalf("%+v", s)
		}
		// The right database is put back.
		h.daemon.Log.Replace(honest)
		h.logged(1)
		a.Refresh()
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 || s.Log.Size != 28 || s.Log.Forks == 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestLogAcrossRollovers: hosts follow the log while the CA and the key of the log are replaced.
func TestLogAcrossRollovers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(1)
		a, stop := h.start()
		defer stop()
		for i := range 6 {
			time.Sleep(40 * day)
			h.logged(3)
			if i%2 == 0 {
				h.daemon.CAS.Rollover()
			}
			if i%3 == 1 {
				h.daemon.Log.SetKey(string(rune('a' + i)))
			}
			a.Refresh()
			time.Sleep(time.Minute)
			if s := h.status(a); s.State != StateOK || s.Log.Size != h.daemon.Log.Size() {
				t.Fatalf("%d: %+v, %+v\n%s", i, s, s.Log, h.log)
			}
		}
	})
}

// TestLogRestored: a restore that the CA declares is told of loudly, once, and all goes on.
func TestLogRestored(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(10)
		a, stop := h.start()
		defer stop()
		time.Sleep(day)
		h.logged(10)
		a.Refresh()
		time.Sleep(time.Minute)
		h.hooks = nil
		h.daemon.Log.Restore(15, time.Now())
		h.logged(2)
		for range 2 {
			a.Refresh()
			time.Sleep(time.Minute)
			if s := h.status(a); s.State != StateOK || s.Counts.LogRestores != 1 || s.Log.Epoch != 2 || s.Log.Size != 17 {
				t.Fatalf("%+v, %+v\n%s", s, s.Log, h.log)
			}
		}
		if n := strings.Count(h.log.String(), "the CA was restored from a backup"); n != 1 || !slices.Equal(h.hooks, []string{"log"}) {
			t.Errorf("told %d times, hook of %q", n, h.hooks)
		}
	})
}

// TestLogGone: a daemon that had a log and has none any more is refused, one that never had any is not.
func TestLogGone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Log != nil {
			t.Fatalf("%+v", s)
		}
		h.daemon.Log = ledgertest.New("key")
		h.logged(4)
		a.Refresh()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Log == nil {
			t.Fatalf("%+v", s)
		}
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/log/checkpoint") { // somebody in between
				http.NotFound(w, r)
				return true
			}
			return false
		})
		before := h.content()
		h.daemon.CAS.Renumber()
		a.Refresh()
		time.Sleep(day)
		h.sameFiles(before)
		if s := h.status(a); s.State != StateForked || !strings.Contains(problemOf(s, TaskLog).Message, "offers none any more") {
			t.Fatalf("%+v", s)
		}
	})
}

// TestLogStateDamaged: an agent does not begin anew because what it keeps was damaged.
func TestLogStateDamaged(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(4)
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		time.Sleep(61 * day)
		good := h.read("ca.pem.checkpoints")
		must(t, os.WriteFile(h.path("ca.pem.checkpoints"), good[:len(good)/2], 0o644))
		before := h.content()
		h.daemon.CAS.Renumber()
		a.Refresh()
		time.Sleep(6 * day)
		h.sameFiles(before)
		s := h.status(a)
		if p := problemOf(s, TaskLog); p == nil || s.State != StateFailing || s.Counts.Renewals != 0 || !strings.Contains(p.Message, "is damaged") {
			t.Fatalf("%+v", s)
		}
		if string(h.read("ca.pem.checkpoints")) != string(good[:len(good)/2]) {
			t.Error("the file was written anew")
		}
		if looked, err := Look(h.o, []Job{h.job}); err != nil || problemOf(looked[0], TaskLog) == nil {
			t.Errorf("%+v, %v", looked, err)
		}
		must(t, os.WriteFile(h.path("ca.pem.checkpoints"), good, 0o644))
		a.Refresh()
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK || s.Counts.Renewals != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestLogLags: one of several daemons behind a balancer may be a moment late. That is no fork.
func TestLogLags(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(4)
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		late := h.daemon.Log.Clone()
		h.logged(4)
		a.Refresh()
		time.Sleep(time.Minute)
		newest := h.daemon.Log.Clone()
		h.daemon.Log.Replace(late)
		a.Refresh()
		time.Sleep(100 * time.Millisecond)
		h.daemon.Log.Replace(newest)
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateOK || s.Counts.LogForks != 0 || s.Log.Size != 8 {
			t.Fatalf("%+v", s)
		}
		// For good, that is a log that has lost entries.
		h.daemon.Log.Replace(late)
		a.Refresh()
		time.Sleep(time.Minute)
		if s := h.status(a); s.State != StateForked || s.Counts.LogForks != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestLogUnvouched: a log whose key no CA vouches for is not believed, nor what comes with it.
func TestLogUnvouched(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.Log = ledgertest.New("key")
		h.logged(4)
		a, stop := h.start()
		defer stop()
		time.Sleep(time.Minute)
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/log/checkpoint") {
				r.URL.Path = "/cau/log/checkpoint" // by another CA
			}
			return false
		})
		before := h.content()
		h.daemon.CAS.Renumber()
		h.logged(1)
		a.Refresh()
		time.Sleep(time.Minute)
		h.sameFiles(before)
		if s := h.status(a); s.State != StateFailing || problemOf(s, TaskLog) == nil || s.Log.Size != 4 {
			t.Fatalf("%+v", s)
		}
		if h.job.Authority != client.CAS {
			t.Fatal("not of this CA")
		}
	})
}
