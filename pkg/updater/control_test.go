package updater

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefresh: a running agent can be asked to look now. Who asks hears what came of it.
func TestRefresh(t *testing.T) {
	h := newRealHost(t)
	jobs := []Job{h.job}
	ask := func() (Status, error) {
		t.Helper()
		all, err := Refresh(t.Context(), h.o, jobs)
		if err != nil || len(all) != 1 {
			return Status{}, errors.Join(err, errors.New("no status"))
		}
		return all[0], nil
	}
	if _, err := ask(); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	a, stop := h.start()
	h.within("ok", func() bool { all := a.Statuses(); return len(all) == 1 && all[0].State == StateOK })
	if s, err := ask(); err != nil || s.State != StateOK || s.Certificate == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	info, err := os.Lstat(h.job.controlPath())
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	h.daemon.CAS.Revoke(big.NewInt(4711))
	if _, err := ask(); err != nil || !h.revokedHere(big.NewInt(4711)) {
		t.Errorf("after a revocation: %v", err)
	}
	// However long it would wait otherwise after failures.
	h.daemon.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	for range 3 {
		if s, err := ask(); err != nil || s.State != StateFailing || !strings.Contains(s.Problems[0].Message, "503") {
			t.Errorf("while the daemon fails: %+v, %v", s, err)
		}
	}
	h.daemon.Intercept(nil)
	if s, err := ask(); err != nil || s.State != StateOK {
		t.Errorf("afterwards: %+v, %v", s, err)
	}
	stop()
	if _, err := os.Lstat(h.job.controlPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := ask(); !errors.Is(err, ErrNoAgent) {
		t.Errorf("after the agent: %v", err)
	}
}

// TestControlIsCareful: what is in the place of the socket and is none stays; an answer that no agent gives is refused.
func TestControlIsCareful(t *testing.T) {
	h := newRealHost(t)
	must(t, os.WriteFile(h.job.controlPath(), []byte("mine"), 0o600))
	a, stop := h.start()
	h.within("ok", func() bool { all := a.Statuses(); return len(all) == 1 && all[0].State == StateOK })
	stop()
	if content, err := os.ReadFile(h.job.controlPath()); err != nil || string(content) != "mine" {
		t.Errorf("what was there: %q, %v", content, err)
	}
	if !strings.Contains(h.log.String(), "is no socket") {
		t.Error("nothing is said of it")
	}
	must(t, os.Remove(h.job.controlPath()))
	// An agent that was killed leaves a socket.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.job.controlPath(), Net: "unix"})
	must(t, err)
	left.SetUnlinkOnClose(false)
	must(t, left.Close())
	_, stop = h.start()
	defer stop()
	h.within("an answer", func() bool {
		_, err := Refresh(t.Context(), h.o, []Job{h.job})
		if err != nil && !errors.Is(err, ErrNoAgent) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// TestRefreshByOwner: the process of a folder's owner is asked by another one of that owner, and passes on a SIGHUP of the
// agent.
func TestRefreshByOwner(t *testing.T) {
	f := newForeign(t)
	f.owned()
	f.give(f.dir)
	f.job.OnRenew = ""
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		f.daemon.CAS.Revoke(big.NewInt(4711))
		all, err := Refresh(t.Context(), f.o, []Job{f.job})
		if err != nil || len(all) != 1 || all[0].State != StateOK || !f.revokedHere(big.NewInt(4711)) {
			t.Errorf("%+v, %v", all, err)
		}
		f.daemon.CAS.Revoke(big.NewInt(4712))
		a.Refresh()
		f.within("hears of it", func() bool { return f.revokedHere(big.NewInt(4712)) })
		if uid, mode := f.stat(".web.crt.updater.sock"); uid != someone || mode != fs.ModeSocket|0o600 {
			t.Errorf("the socket is of user %d, mode %v", uid, mode)
		}
	}))
	if _, err := Refresh(t.Context(), f.o, []Job{f.job}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
}

// TestOnceEnrolsWithoutKey: run by a timer, the agent asks for a certificate the first time that it finds a request and no
// key; it would wait for ever for a time that begins anew with each run.
func TestOnceEnrolsWithoutKey(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		must(t, os.Remove(h.path("web.key")))
		all, err := Once(t.Context(), h.o, []Job{h.job})
		if err != nil || len(all) != 1 || all[0].State != StateOK {
			t.Fatalf("%+v, %v", all, err)
		}
		h.pair(time.Now())
	})
}

// TestStatusAndOnceAgree: whoever looks at a job sees the same counts and the same date of renewal as the one who did it.
func TestStatusAndOnceAgree(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.job.NoPush, h.job.CRLRefresh, h.o.poll = true, 7*day, undisturbed
		once, err := Once(t.Context(), h.o, []Job{h.job})
		must(t, err)
		agree := func(did Status) {
			t.Helper()
			looked, err := Look(h.o, []Job{h.job})
			must(t, err)
			a, b := did.Counts, looked[0].Counts
			if x, y := must1(json.Marshal(a)), must1(json.Marshal(b)); !slices.Equal(x, y) {
				t.Errorf("did %s, looked %s", x, y)
			}
			if !did.Certificate.RenewAt.Equal(looked[0].Certificate.RenewAt) {
				t.Errorf("renewed from %s, or from %s", did.Certificate.RenewAt, looked[0].Certificate.RenewAt)
			}
			if want := did.Certificate.NotAfter.Add(-DefaultThreshold); !did.Certificate.RenewAt.Equal(want) {
				t.Errorf("renewed from %s, not %s", did.Certificate.RenewAt, want)
			}
		}
		agree(once[0])
		if n := once[0].Counts.Enrolments; n != 1 {
			t.Errorf("%d enrolments", n)
		}
		a, stop := h.start()
		time.Sleep(70 * day)
		if n := h.status(a).Counts; n.Renewals != 1 || n.Enrolments != 1 {
			t.Errorf("%+v", n)
		}
		agree(h.status(a))
		h.wire.Cut(true)
		time.Sleep(8 * day) // while lists are looked for in vain
		stop()
		last := h.status(a)
		if len(last.Counts.Failures) == 0 {
			t.Error("no failure was counted")
		}
		agree(last)
	})
}

func must1(content []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return content
}
