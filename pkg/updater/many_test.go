package updater

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// manyJobs puts pairs in place that were just issued, and returns the jobs that keep them: all with the same CA certificates and
// lists.
func (h *host) manyJobs(n int) []Job {
	h.t.Helper()
	var jobs []Job
	for i := range n {
		name := fmt.Sprintf("job%d", i)
		key := pkitest.Key(h.t)
		request, err := pki.ParseRequest(pkitest.NamedRequest(h.t, key, name, name+".example"))
		must(h.t, err)
		crt := h.daemon.CAS.Issue(request.CSR, key.Public())
		h.write(name+".key", pkitest.KeyPEM(h.t, key))
		h.write(name+".crt", pki.EncodeCertificatePEM(crt.Raw))
		job := h.job
		job.Name, job.Crt, job.Key, job.CSR, job.OnRenew = name, h.path(name+".crt"), h.path(name+".key"), "", ""
		jobs = append(jobs, job)
	}
	return jobs
}

// startMany runs an agent with jobs until the returned function is called.
func (h *host) startMany(jobs []Job) (*Agent, func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := New(h.o)
	if err := a.Start(ctx, jobs); err != nil {
		cancel()
		h.t.Fatal(err)
	}
	return a, func() {
		cancel()
		a.Wait()
	}
}

func (h *host) allOK(a *Agent, n int) {
	h.t.Helper()
	all := a.Statuses()
	for _, s := range all {
		if s.State != StateOK {
			h.t.Fatalf("%s: %s %+v\n%s", s.Name, s.State, s.Problems, h.log)
		}
	}
	if len(all) != n {
		h.t.Fatalf("%d jobs", len(all))
	}
}

// traffic counts requests, and how many of them there are at once.
type traffic struct {
	gets, puts, now, most atomic.Int64
}

func (h *host) count(answer func(http.ResponseWriter, *http.Request) bool) *traffic {
	c := &traffic{}
	h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		c.most.Store(max(c.most.Load(), c.now.Add(1)))
		defer c.now.Add(-1)
		switch {
		case r.Method == http.MethodGet:
			c.gets.Add(1)
		case !strings.HasSuffix(r.URL.Path, "/holds"):
			c.puts.Add(1)
		}
		time.Sleep(10 * time.Millisecond) // on its way
		return answer != nil && answer(w, r)
	})
	return c
}

// TestManyJobsAskOnce: dozens of jobs with the same CA ask for its certificates and lists as one would, when they begin, when
// they are told to look, and when a network comes back; and then they rest.
func TestManyJobsAskOnce(t *testing.T) {
	const n = 20
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		seen := h.count(nil)
		a, stop := h.startMany(h.manyJobs(n))
		defer stop()
		time.Sleep(time.Minute)
		// Chain, first certificate, lists: once for whoever comes first, once for all who wait meanwhile, and once more for
		// lists by those who have them by then.
		few := func(what string) {
			t.Helper()
			if gets := seen.gets.Swap(0); gets == 0 || gets > 12 {
				t.Errorf("%s: %d requests", what, gets)
			}
		}
		few("start")
		h.allOK(a, n)
		time.Sleep(12 * time.Hour)
		if gets := seen.gets.Load(); gets != 0 {
			t.Errorf("%d requests at rest", gets)
		}
		a.Refresh()
		time.Sleep(time.Minute)
		few("told to look")

		h.wire.Cut(true)
		a.Refresh()
		time.Sleep(90 * time.Minute) // by now the pauses between tries are long
		seen.gets.Store(0)
		h.wire.Cut(false)
		time.Sleep(time.Hour + time.Minute) // until the first tries again; it tells the others
		h.allOK(a, n)
		if gets := seen.gets.Load(); gets == 0 || gets > 30 {
			t.Errorf("after the network has come back: %d requests", gets)
		}
		if most := seen.most.Load(); most > talkers {
			t.Errorf("%d requests at once", most)
		}
	})
}

// TestManyJobsRenew: of many certificates that are due while nobody answers, all are renewed soon after somebody does, by a daemon
// that takes so many requests a minute from an address.
func TestManyJobsRenew(t *testing.T) {
	const n, burst = 20, 10
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll, h.job.Threshold = undisturbed, 2*day
		var mu sync.Mutex
		room, since := float64(burst), time.Now()
		seen := h.count(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			room = min(burst, room+time.Since(since).Minutes()*burst)
			since = time.Now()
			if room < 1 {
				w.Header().Set("Retry-After", "2")
				http.Error(w, "too many requests", http.StatusTooManyRequests)
				return true
			}
			room--
			return false
		})
		jobs := h.manyJobs(n)
		a, stop := h.startMany(jobs)
		defer stop()
		time.Sleep(time.Minute)
		h.allOK(a, n)
		due := h.certificate(jobs[0].Crt).NotAfter.Add(-h.job.Threshold)
		time.Sleep(time.Until(due))
		h.wire.Cut(true)
		time.Sleep(5 * time.Hour) // by now all are due
		seen.puts.Store(0)
		h.wire.Cut(false)
		began := time.Now()
		for renewed := 0; renewed < n; {
			time.Sleep(10 * time.Second)
			renewed = 0
			for _, s := range a.Statuses() {
				renewed += s.Counts.Renewals
			}
			if time.Since(began) > 40*time.Minute {
				t.Fatalf("%d of %d are renewed after %v", renewed, n, time.Since(began))
			}
		}
		t.Logf("%v, %d requests to renew", time.Since(began), seen.puts.Load())
		if puts := seen.puts.Load(); puts > 15*n {
			t.Errorf("%d requests to renew %d certificates", puts, n)
		}
		time.Sleep(time.Minute)
		h.allOK(a, n)
		if most := seen.most.Load(); most > talkers {
			t.Errorf("%d requests at once", most)
		}
	})
}

// TestRetryAfter: a daemon that asks for time is left alone for that long, by all jobs.
func TestRetryAfter(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, dir)
			h.o.poll = undisturbed
			var asked atomic.Bool
			seen := h.count(func(w http.ResponseWriter, _ *http.Request) bool {
				if asked.Swap(true) {
					return false
				}
				w.Header().Set("Retry-After", "40")
				http.Error(w, "later", status)
				return true
			})
			const n = 20
			a, stop := h.startMany(h.manyJobs(n))
			defer stop()
			time.Sleep(39 * time.Second)
			// Those that had their turn when the answer came may go on to what else they want.
			if gets := seen.gets.Load(); gets > 2*talkers {
				t.Errorf("%d: %d requests while it wants to be left alone", status, gets)
			}
			time.Sleep(time.Minute)
			h.allOK(a, n)
		})
	}
}

// TestRetryAfterLong: one that is asked to come back much later does not keep the others waiting.
func TestRetryAfterLong(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		jobs := h.manyJobs(10)
		var spent atomic.Int64
		seen := h.count(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/holds") || spent.Add(1) > 1 {
				return false
			}
			w.Header().Set("Retry-After", "3000")
			http.Error(w, "the budget is spent", http.StatusTooManyRequests)
			return true
		})
		a, stop := h.startMany(jobs)
		defer stop()
		time.Sleep(time.Until(h.certificate(jobs[0].Crt).NotAfter.Add(-DefaultThreshold / 2)))
		time.Sleep(10 * time.Minute)
		renewed := 0
		for _, s := range a.Statuses() {
			renewed += min(1, s.Counts.Renewals)
		}
		if renewed < len(jobs)-1 || seen.puts.Load() > int64(len(jobs))+1 {
			t.Errorf("%d renewed by %d requests", renewed, seen.puts.Load())
		}
	})
}

// TestManyJobsShareMemory: what is the same for all jobs is in memory once. Of a list that takes hundreds of kilobytes, each job
// would have several copies otherwise.
func TestManyJobsShareMemory(t *testing.T) {
	const n, revoked, most = 60, 1500, 40 << 10
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		for i := range revoked {
			h.daemon.CAS.Revoke(big.NewInt(1<<40 + int64(i)))
		}
		jobs := h.manyJobs(n + 1)
		live := func(jobs []Job) int64 {
			a, stop := h.startMany(jobs)
			defer stop()
			time.Sleep(time.Minute)
			h.allOK(a, len(jobs))
			// Twice, as what has a cleanup goes with the second.
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		live(jobs[:1])
		one := live(jobs[:1])
		each := (live(jobs) - one) / n
		t.Logf("%d bytes a job", each)
		if each > most {
			t.Errorf("each job takes %d bytes", each)
		}
	})
}

// TestOnlyTheConcernedLook: a change of one job's files is no news for the others, and one on the way to files is for all.
func TestOnlyTheConcernedLook(t *testing.T) {
	h := newHost(t, t.TempDir())
	must(t, os.Mkdir(h.path("real"), 0o755))
	must(t, os.Mkdir(h.path("lists"), 0o755))
	must(t, os.Symlink("real", h.path("alias")))
	must(t, os.Symlink("pair.crt", h.path("link.crt")))
	a := New(h.o)
	a.watch = newWatcher(func([]string) {}, h.o.Log)
	defer a.watch.close()
	for _, c := range []struct{ name, crt, crl string }{
		{"a", "a.crt", "crl.pem"}, {"b", "b.crt", "crl.pem"}, {"linked", "link.crt", "crl.pem"}, {"aliased", "alias/c.crt", "lists"},
	} {
		job := h.job
		job.Name, job.Crt, job.Key, job.CSR, job.CRL, job.OnRenew = c.name, h.path(c.crt), "", "", h.path(c.crl), ""
		w, err := newWorker(&job, a.o)
		must(t, err)
		a.running = append(a.running, &running{by: w, job: job})
		h.write(c.crt, nil)
	}
	a.watchAll()
	for _, c := range []struct {
		changed []string
		want    string // "all", or the names
	}{
		{[]string{"a.crt"}, "[a]"},
		{[]string{"a.crt", "b.crt"}, "[a b]"},
		{[]string{"crl.pem"}, "[a b linked]"},
		{[]string{"ca.pem"}, "[a b linked aliased]"},
		{[]string{"pair.crt"}, "[linked]"},
		{[]string{"link.crt"}, "[linked]"},
		{[]string{"real/c.crt"}, "[aliased]"},
		{[]string{"alias/c.crt"}, "[aliased]"},
		{[]string{"lists/other.pem"}, "[aliased]"},
		{[]string{".a.crt.updater.json", ".a.crt.0123456789abcdef.new", ".b.crt.updater.sock", ".a.crt.0123456789abcdef.old"}, "[]"},
		{[]string{"a.crt", "..data"}, "all"},
		{[]string{"real"}, "all"},
		{[]string{"unknown"}, "all"},
		{nil, "all"},
	} {
		var changed []string
		for _, name := range c.changed {
			changed = append(changed, h.path(name))
		}
		woken, all := a.concerned(changed)
		var names []string
		for _, r := range woken {
			names = append(names, r.job.Name)
		}
		got := fmt.Sprint(names)
		if all {
			got = "all"
		}
		if got != c.want {
			t.Errorf("%v: %s look, and not %s", c.changed, got, c.want)
		}
	}
}

func (h *host) certificate(path string) *x509.Certificate {
	h.t.Helper()
	content, err := os.ReadFile(path)
	must(h.t, err)
	crt, err := pki.ParseCertificatePEM(content)
	must(h.t, err)
	return crt
}

// TestRetryAfterHoldsAll: when a daemon asks one job for time, those that are waiting for their turn leave it alone for that long, too.
func TestRetryAfterHoldsAll(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		jobs := h.manyJobs(10 * talkers)
		var renewals, during atomic.Int64
		var refused atomic.Pointer[time.Time]
		h.count(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				return false
			}
			if at := refused.Load(); at != nil {
				if passed := time.Since(*at); passed > 100*time.Millisecond && passed < 39*time.Second {
					during.Add(1)
				}
				return false
			}
			if renewals.Add(1) != 3 {
				return false
			}
			now := time.Now()
			refused.Store(&now)
			w.Header().Set("Retry-After", "40")
			http.Error(w, "later", http.StatusTooManyRequests)
			return true
		})
		// All are due when they begin.
		time.Sleep(time.Until(h.certificate(jobs[0].Crt).NotAfter.Add(-DefaultThreshold / 2)))
		a, stop := h.startMany(jobs)
		defer stop()
		time.Sleep(10 * time.Minute)
		h.allOK(a, len(jobs))
		// Those whose turn it is may have got as far as to renew.
		if refused.Load() == nil || during.Load() >= talkers {
			t.Errorf("%d requests to renew while the daemon wants to be left alone", during.Load())
		}
	})
}
