package updater

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/enroll"
	"cauase/pkg/folder"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// newRealHost has sockets, events of files and real time.
func newRealHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t, t.TempDir())
	h.daemon = clienttest.Start(t, clock.NewFake(time.Now()))
	h.daemon.CAS.AutoApprove = 100
	h.job.CAURL, h.o.Transport, h.o.NoWatch, h.job.OnRenew = h.daemon.URL, nil, false, ""
	h.o.NoControl = false
	return h
}

// within waits until something is so, which may take a second and, as this machine may be
// busy, a few more.
func (h *host) within(what string, so func() bool) {
	h.t.Helper()
	begin := time.Now()
	for !so() {
		if time.Since(begin) > time.Minute {
			h.t.Fatalf("not within a minute: %s\n%s", what, h.log)
		}
		time.Sleep(10 * time.Millisecond) // events of files come from the kernel, which a bubble cannot wait for
	}
	if took := time.Since(begin); took > time.Second {
		h.t.Logf("%s took %s", what, took)
	}
}

func (h *host) isOK(a *Agent) func() bool {
	return func() bool {
		all := a.Statuses()
		return len(all) == 1 && all[0].State == StateOK
	}
}

// TestEvents: what happens to files is noticed by events, with no poll for a minute.
func TestEvents(t *testing.T) {
	h := newRealHost(t)
	h.job.CA = h.path("ca/certs") // a directory below one that comes and goes
	must(t, os.Mkdir(h.path("ca"), 0o755))
	a, stop := h.start()
	defer stop()
	h.within("bootstrap", h.isOK(a))
	for _, name := range []string{"web.crt", "web.key", "crl.pem"} {
		good := string(h.read(name))
		must(t, os.Remove(h.path(name)))
		h.within(name, func() bool { content, _ := os.ReadFile(h.path(name)); return string(content) == good })
	}
	must(t, os.RemoveAll(h.path("ca")))
	h.within("the agent misses it", func() bool { return !h.isOK(a)() })
	must(t, os.Mkdir(h.path("ca"), 0o755))
	h.within("CA directory", func() bool { entries, _ := os.ReadDir(h.job.CA); return len(entries) == 1 })
	must(t, os.Remove(filepath.Join(h.job.CA, firstName(t, h.job.CA))))
	h.within("CA file in its directory", func() bool { entries, _ := os.ReadDir(h.job.CA); return len(entries) == 1 })
	h.within("ok", h.isOK(a))

	// Somebody puts another key and certificate in place, one after the other.
	key := pkitest.Key(t)
	h.request("other", key)
	request, err := pki.ParseRequest(h.read("web.csr"))
	must(t, err)
	h.write("web.crt", pkitest.PEM(h.daemon.CAS.Issue(request.CSR, key.Public())))
	h.within("adopted", func() bool {
		all := a.Statuses()
		return all[0].Certificate != nil && all[0].Certificate.Subject == "CN=other"
	})
	if s := h.status(a); s.Counts.Renewals != 0 || s.State != StateOK {
		t.Errorf("%+v", s)
	}
	h.noSecrets()
}

func firstName(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	must(t, err)
	return entries[0].Name()
}

// TestKubernetes: a request in a volume whose files are links into ..data, which is a link
// that is replaced.
func TestKubernetes(t *testing.T) {
	h := newRealHost(t)
	h.daemon.CAS.AutoApprove = 0
	volume := h.path("volume")
	good := h.read("web.csr")
	flip := func(version string, content []byte) {
		must(t, os.MkdirAll(filepath.Join(volume, version), 0o755))
		must(t, os.WriteFile(filepath.Join(volume, version, "web.csr"), content, 0o644))
		must(t, os.Symlink(version, filepath.Join(volume, "..data_tmp")))
		must(t, os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")))
	}
	flip("..1", []byte("not yet\n"))
	must(t, os.Symlink(filepath.Join("..data", "web.csr"), filepath.Join(volume, "web.csr")))
	h.job.CSR, h.job.Follow = filepath.Join(volume, "web.csr"), true
	a, stop := h.start()
	defer stop()
	h.within("blocked", func() bool { return len(a.Statuses()) == 1 && a.Statuses()[0].State == StateBlocked })
	h.daemon.CAS.AutoApprove = 1
	flip("..2", good)
	h.within("flip", h.isOK(a))
}

// TestTargets: what is no plain file of ours is not written.
func TestTargets(t *testing.T) {
	t.Run("link", func(t *testing.T) {
		h := newRealHost(t)
		h.write("stranger", nil)
		must(t, os.Symlink("stranger", h.job.Crt))
		a, stop := h.start()
		h.within("refusal", func() bool { return h.has(a, "symbolic link") })
		for _, p := range a.Statuses()[0].Problems {
			if p.Class == "symbolic link" && !strings.Contains(p.Hint, linksOption) {
				t.Errorf("%s: %s", p.Message, p.Hint)
			}
		}
		stop()
		if len(h.read("stranger")) > 0 {
			t.Error("written through a link")
		}
		h.job.Follow = true
		a, stop = h.start()
		defer stop()
		h.within("with --follow-symlinks", h.isOK(a))
		if info, err := os.Lstat(h.job.Crt); err != nil || info.Mode()&os.ModeSymlink == 0 || len(h.read("stranger")) == 0 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("FIFO", func(t *testing.T) {
		h := newRealHost(t)
		must(t, syscall.Mkfifo(h.job.CRL, 0o600))
		a, stop := h.start()
		defer stop()
		h.within("refusal", func() bool { return h.has(a, "unreadable") || h.has(a, "not a file") })
		if info, err := os.Lstat(h.job.CRL); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("mode", func(t *testing.T) {
		h := newRealHost(t)
		h.job.FileMode = 0o640
		a, stop := h.start()
		defer stop()
		h.within("bootstrap", h.isOK(a))
		for _, name := range []string{"web.crt", "ca.pem", "crl.pem"} {
			if info, err := os.Stat(h.path(name)); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	})
}

func (h *host) has(a *Agent, class string) bool {
	for _, s := range a.Statuses() {
		for _, p := range s.Problems {
			if p.Class == class {
				return true
			}
		}
	}
	return false
}

// TestLockRemoved: who removes the folder, or the lock in it, opens no door to a second agent.
func TestLockRemoved(t *testing.T) {
	h := newRealHost(t)
	h.job.CRL = h.path("folder/crl.pem")
	h.job.Crt, h.job.Key, h.job.CSR = "", "", ""
	must(t, os.Mkdir(h.path("folder"), 0o755))
	name := h.path("folder/.crl.pem.lock")
	a, stop := h.start()
	defer stop()
	h.within("bootstrap", h.isOK(a))
	second := func(want error) {
		t.Helper()
		if l, err := enroll.Acquire(h.job.CRL, folder.Access{}); !errors.Is(err, want) {
			t.Errorf("a second agent: %v", err)
		} else if err == nil {
			t.Cleanup(l.Release)
		}
	}
	isThere := func() bool { _, err := os.Lstat(name); return err == nil }
	must(t, os.Remove(name))
	h.within("lock", isThere)
	must(t, os.Remove(h.job.CRL)) // it comes back only after the agent holds the lock, not merely its file
	h.within("list", func() bool { _, err := os.Lstat(h.job.CRL); return err == nil })
	second(ErrLocked)

	// At once, as the agent puts back what is missing.
	must(t, os.Rename(h.path("folder"), h.path("gone")))
	must(t, os.Mkdir(h.path("folder"), 0o755))
	h.within("lock in a new folder", isThere)
	h.within("list in a new folder", func() bool { _, err := os.Lstat(h.job.CRL); return err == nil })
	second(ErrLocked)

	// One that was faster has the files, until it ends.
	other, err := os.OpenFile(name+".other", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	must(t, os.Rename(name+".other", name))
	h.within("giving way", func() bool { return a.Statuses()[0].State == StateLocked })
	must(t, other.Close())
}

// TestTwoAgents: the second one is told, and another set of jobs may take over later.
func TestTwoAgents(t *testing.T) {
	h := newRealHost(t)
	a, stop := h.start()
	h.within("bootstrap", h.isOK(a))
	if err := New(h.o).Start(t.Context(), []Job{h.job}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second agent: %v", err)
	}
	if _, err := Once(t.Context(), h.o, []Job{h.job}); !errors.Is(err, ErrLocked) {
		t.Errorf("once beside an agent: %v", err)
	}
	if all, err := Look(h.o, []Job{h.job}); err != nil || all[0].State != StateOK {
		t.Errorf("status beside an agent: %+v, %v", all, err)
	}
	// A job that changes is stopped and begun anew; one that does not is left alone.
	changed := h.job
	changed.Threshold = day
	second := h.job
	second.Name, second.Crt, second.Key, second.CSR, second.CRL = "plain", "", "", "", h.path("crl2.pem")
	must(t, a.Replace([]Job{changed, second}))
	h.within("two jobs", func() bool {
		all := a.Statuses()
		return len(all) == 2 && all[0].State == StateOK && all[1].State == StateOK
	})
	if err := a.Replace([]Job{changed, changed}); err == nil {
		t.Error("the same job twice")
	}
	if len(a.Statuses()) != 2 {
		t.Error("a refused configuration has changed something")
	}
	stop()
}

// TestRunHook runs real hooks, of every kind.
func TestRunHook(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		err    string
		logged string
	}{
		"works":     {"echo $CAUASE_CHANGED", "", "line=crt,key"},
		"fails":     {"exit 7", "exit status 7", ""},
		"hangs":     {"sleep 60", "did not end in time", ""},
		"deaf":      {"trap '' TERM; sleep 60 & wait; sleep 60", "did not end in time", ""},
		"floods":    {"i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; head -c 300000 /dev/zero | tr '\\0' x", "", "more than is logged"},
		"forks":     {"sleep 60 & echo gone", "", "gone"},
		"escapes":   {"printf '\\033[2J\\n'", "", `\x1b`},
		"notify":    {"echo ${NOTIFY_SOCKET:-none}", "", "line=none"},
		"is killed": {"kill -9 $$", "killed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "hook")
			must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700))
			log := &transcript{}
			begin := time.Now()
			var err error
			for range 20 {
				// Another test may be between fork and exec with the script open for writing.
				err = runHook(t.Context(), HookRun{
					Path: path, Env: []string{"CAUASE_CHANGED=crt,key"}, Timeout: 500 * time.Millisecond, Log: slog.New(slog.NewTextHandler(log, nil)),
				})
				if !errors.Is(err, syscall.ETXTBSY) {
					break
				}
			}
			if c.err == "" && err != nil && name != "floods" || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v", err)
			}
			if !strings.Contains(log.String(), c.logged) && err == nil {
				t.Errorf("log: %.500s", log.String())
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if n := log.lines(); n > hookMaxLines+2 {
				t.Errorf("%d lines of log", n)
			}
		})
	}
	if err := runHook(context.Background(), HookRun{Path: "/nonexistent/hook", Timeout: time.Second, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("no hook")
	}
}
