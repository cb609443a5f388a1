package updater

import (
	"context"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pemfile"
)

// revokedHere reports whether the lists on disk name a serial.
func (h *host) revokedHere(serial *big.Int) bool {
	h.t.Helper()
	crls, err := pemfile.CRLStore(h.job.CRL).ReadCRLs()
	must(h.t, err)
	for _, crl := range crls {
		for _, entry := range crl.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(serial) == 0 {
				return true
			}
		}
	}
	return false
}

// listRequests counts the requests for lists, and those that wait for newer ones among them.
func (h *host) listRequests() (all, waiting *atomic.Int64) {
	all, waiting = &atomic.Int64{}, &atomic.Int64{}
	h.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/cas/crl" {
			all.Add(1)
			if r.URL.Query().Has("after") {
				waiting.Add(1)
			}
		}
		return false
	})
	return all, waiting
}

// TestRevocationIsHeardOf: with default options an agent has the list that names a certificate within 5 seconds of its
// revocation, again and again, with one request at a time for all its jobs; and where nobody tells it, within an hour.
func TestRevocationIsHeardOf(t *testing.T) {
	for name, c := range map[string]struct {
		push, noPush bool
		within       time.Duration
		word         string
	}{
		"told":              {true, false, 5 * time.Second, PushWaiting},
		"switched off":      {true, true, time.Hour, PushOff},
		"by earlier daemon": {false, false, time.Hour, PushUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.daemon.Push, h.job.NoPush, h.job.CRLRefresh = c.push, c.noPush, 0
				all, waiting := h.listRequests()
				a, stop := h.start()
				defer stop()
				time.Sleep(10 * time.Minute)
				for n := range int64(3) {
					serial := big.NewInt(4711 + n)
					h.daemon.CAS.Revoke(serial)
					time.Sleep(c.within + 2*time.Second)
					if !h.revokedHere(serial) {
						t.Errorf("revocation %d has not arrived within %v", n, c.within)
					}
					time.Sleep(10 * time.Minute)
				}
				s := h.status(a)
				if s.State != StateOK || s.CRLPush != c.word {
					t.Errorf("%s, %s", s.State, s.CRLPush)
				}
				// Within 40 minutes, or 4 hours: a wait a minute, a look an hour, and none more.
				most, mostWaiting := int64(60), int64(50)
				if !c.push || c.noPush {
					most, mostWaiting = 14, 6
				}
				if c.noPush {
					mostWaiting = 0
				}
				if all.Load() > most || waiting.Load() > mostWaiting {
					t.Errorf("%d requests for lists, of which %d waited", all.Load(), waiting.Load())
				}
				if n := strings.Count(h.log.String(), "level=ERROR"); n > 0 {
					t.Errorf("errors in the log:\n%s", h.log)
				}
			})
		})
	}
}

// TestProxyThatGivesUpEarly: a proxy on the way that ends requests sooner than a wait lasts, as many do after half a minute
// or less, costs a shorter wait and not the news; and once an hour it is tried whether it still does.
func TestProxyThatGivesUpEarly(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.daemon.Push, h.job.NoPush, h.job.CRLRefresh = true, false, 24*time.Hour
		var ended, waits atomic.Int64
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
			if err != nil {
				return false
			}
			if waits.Add(1); wait < 15*time.Second {
				return false
			}
			time.Sleep(15 * time.Second)
			ended.Add(1)
			w.WriteHeader(http.StatusGatewayTimeout)
			return true
		})
		a, stop := h.start()
		defer stop()
		time.Sleep(5 * time.Minute)
		for n := range int64(20) {
			serial := big.NewInt(4711 + n)
			h.daemon.CAS.Revoke(serial)
			time.Sleep(5 * time.Second)
			if !h.revokedHere(serial) {
				t.Errorf("revocation %d has not arrived within 5 s", n)
			}
			time.Sleep(time.Minute + 7*time.Second)
		}
		if s := h.status(a); s.CRLPush != PushWaiting {
			t.Errorf("it is %s", s.CRLPush)
		}
		if ended.Load() != 1 || waits.Load() > 250 {
			t.Errorf("%d of %d waits were ended in half an hour", ended.Load(), waits.Load())
		}
		time.Sleep(time.Hour)
		if n := ended.Load(); n != 2 {
			t.Errorf("%d waits were ended in an hour and a half", n)
		}
	})
}

// TestOneWaitForManyJobs: jobs of one agent that keep lists of one authority wait for newer ones by one request, and all
// hear of them.
func TestOneWaitForManyJobs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.daemon.Push = true
		_, waiting := h.listRequests()
		var jobs []Job
		for _, name := range []string{"a", "b", "c"} {
			job := h.job
			job.Name, job.Crt, job.Key, job.CSR, job.OnRenew, job.NoPush, job.CRL = name, "", "", "", "", false, h.path(name+".crl.pem")
			jobs = append(jobs, job)
		}
		ctx, cancel := context.WithCancel(context.Background())
		a := New(h.o)
		must(t, a.Start(ctx, jobs))
		defer func() {
			cancel()
			a.Wait()
		}()
		time.Sleep(10 * time.Minute)
		if n := waiting.Load(); n < 10 || n > 12 {
			t.Errorf("%d waits of 55 seconds in 10 minutes", n)
		}
		serial := big.NewInt(4711)
		h.daemon.CAS.Revoke(serial)
		time.Sleep(5 * time.Second)
		for _, job := range jobs {
			h.job = job
			if !h.revokedHere(serial) {
				t.Errorf("%s has not heard of it", job.Name)
			}
		}
		// One that goes on alone goes on hearing.
		must(t, a.Replace(jobs[1:2]))
		time.Sleep(time.Minute)
		h.job = jobs[1]
		h.daemon.CAS.Revoke(big.NewInt(4712))
		time.Sleep(5 * time.Second)
		if !h.revokedHere(big.NewInt(4712)) {
			t.Error("the one that is left has not heard of it")
		}
		must(t, a.Replace([]Job{{Name: "off", CAURL: h.daemon.URL, Authority: "cas", CA: h.path("ca.pem"), CRL: h.path("off.pem"), NoPush: true,
			MaxSleep: day, HookTimeout: time.Minute}}))
		synctest.Wait()
		if len(a.pushes) != 0 {
			t.Errorf("%d still wait", len(a.pushes))
		}
	})
}

// TestDaemonThatMisbehavesWhileWaitedFor: whatever answers a wait, it makes no agent ask without pause, nor believe it.
func TestDaemonThatMisbehavesWhileWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(h *host, w http.ResponseWriter)
		most   int64 // in an hour
	}{
		"nothing new, at once": {func(_ *host, w http.ResponseWriter) { w.WriteHeader(304) }, 3},
		"later": {func(_ *host, w http.ResponseWriter) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(304)
		}, 60},
		"later, without a word": {func(_ *host, w http.ResponseWriter) { w.WriteHeader(503) }, 30},
		"busy": {func(_ *host, w http.ResponseWriter) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(503)
		}, 7},
		"the same lists": {func(h *host, w http.ResponseWriter) { _, _ = w.Write(h.daemon.CAS.CRLs()) }, 3},
		"lists of another": {func(h *host, w http.ResponseWriter) {
			ca := h.daemon.CAS.NewCA("CAS")
			_, _ = w.Write(h.daemon.CAS.CRL(ca, 1000, time.Now()))
		}, 80},
		"a delta": {func(h *host, w http.ResponseWriter) {
			_, _ = w.Write(h.daemon.CAS.PartialCRL(h.daemon.CAS.Newest(), 1000, time.Now()))
		}, 80},
		"junk": {func(_ *host, w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, 30},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.job.NoPush, h.job.CRLRefresh = false, 0
				var waits, all atomic.Int64
				h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					all.Add(1)
					if !r.URL.Query().Has("after") {
						return false
					}
					waits.Add(1)
					c.answer(h, w)
					return true
				})
				a, stop := h.start()
				defer stop()
				time.Sleep(time.Hour)
				if n := waits.Load(); n == 0 || n > c.most {
					t.Errorf("it was asked %d times, wanted at most %d", n, c.most)
				}
				if n := all.Load() - waits.Load(); n > 100 {
					t.Errorf("%d other requests", n)
				}
				if s := h.status(a); s.State != StateOK || len(s.CRLs) != 1 {
					t.Errorf("%+v", s)
				}
				// It makes up its mind.
				h.daemon.Push = true
				h.daemon.Intercept(nil)
				time.Sleep(2 * time.Hour)
				h.daemon.CAS.Revoke(big.NewInt(1))
				time.Sleep(5 * time.Second)
				if s := h.status(a); !h.revokedHere(big.NewInt(1)) || s.CRLPush != PushWaiting {
					t.Errorf("afterwards: %s", s.CRLPush)
				}
			})
		})
	}
}

// TestTagSurvivesRestart: lists that are there need not come again because the agent was restarted.
func TestTagSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		var tags []string
		h.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/cas/crl" {
				tags = append(tags, r.Header.Get("If-None-Match"))
			}
			return false
		})
		for range 2 {
			_, stop := h.start()
			time.Sleep(time.Minute)
			stop()
		}
		if len(tags) != 2 || tags[0] != "" || tags[1] == "" {
			t.Errorf("tags: %q", tags)
		}
		// Other lists than those are asked for without.
		h.write("crl.pem", h.daemon.CAS.CRL(h.daemon.CAS.Newest(), 1, time.Now().Add(-time.Hour)))
		_, stop := h.start()
		time.Sleep(time.Minute)
		stop()
		if len(tags) != 3 || tags[2] != "" {
			t.Errorf("tags: %q", tags)
		}
	})
}

// TestOldListIsAnEmergency: a list that nears its end without a successor is told of, though nothing fails.
func TestOldListIsAnEmergency(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.job.CRLRefresh = 12 * time.Hour
		old := h.daemon.CAS.CRL(h.daemon.CAS.Newest(), 1, time.Now())
		frozen := func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/cas/crl" {
				_, _ = w.Write(old)
				return true
			}
			return false
		}
		h.daemon.Intercept(frozen)
		a, stop := h.start()
		defer stop()
		time.Sleep(20 * day)
		if s := h.status(a); s.State != StateOK {
			t.Errorf("after 20 days: %+v", s)
		}
		time.Sleep(6 * day)
		s := h.status(a)
		if s.State != StateFailing || len(s.Problems) != 1 || s.Problems[0].Class != "old list" {
			t.Errorf("after 26 days: %+v", s)
		}
		h.daemon.Intercept(nil)
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK {
			t.Errorf("afterwards: %+v", s)
		}
	})
}
