package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/testkit/pkitest"
)

// A hosted is a folder with a key and a request for it, and a daemon that signs that at once.
type hosted struct {
	t   *testing.T
	dir string
	d   *clienttest.Daemon
	job []string
}

func newHosted(t *testing.T) *hosted {
	t.Helper()
	onMachine(t, "")
	dir := t.TempDir()
	d := clienttest.Start(t, clock.NewFake(time.Now()))
	d.CAS.AutoApprove = 10
	key := pkitest.Key(t)
	must(t, os.WriteFile(filepath.Join(dir, "web.key"), pkitest.KeyPEM(t, key), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "web.csr"), pkitest.NamedRequest(t, key, "web", "web.example"), 0o644))
	return &hosted{t, dir, d, []string{"--ca-url", d.URL, "--store", dir, "--crt", dir + "/web.crt", "--key", dir + "/web.key", "--csr", dir + "/web.csr"}}
}

// says runs the agent, and reports whether it ends with a code and tells something once and no more.
func (h *hosted) says(code int, once string, args ...string) {
	h.t.Helper()
	got, stdout, stderr := execute(h.t.Context(), append(h.job, args...)...)
	if all := stdout + stderr; got != code || once != "" && strings.Count(all, once) != 1 {
		h.t.Errorf("%q: exit code %d, and not %q once:\n%s%s", args, got, once, stdout, stderr)
	}
}

// A hook that could not be started is told of while nothing has changed yet that it should hear of, until it can be.
func TestHookThatCannotBeStarted(t *testing.T) {
	h := newHosted(t)
	h.says(0, "", "--once")
	hook := filepath.Join(h.dir, "hook")
	for name, c := range map[string]struct {
		make func() error
		says string
	}{
		"missing":                 {func() error { return nil }, "there is no " + hook + " to run"},
		"a folder":                {func() error { return os.Mkdir(hook, 0o755) }, hook + " is not a regular file"},
		"not a program":           {func() error { return os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o644) }, hook + " cannot be executed"},
		"saved on Windows":        {func() error { return os.WriteFile(hook, []byte("#!/bin/sh\r\ntrue\r\n"), 0o755) }, hook + " has Windows line ends"},
		"without its interpreter": {func() error { return os.WriteFile(hook, []byte("#!/nonexistent/sh -e\n"), 0o755) }, "the interpreter /nonexistent/sh, which its first line names, is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			must(t, os.RemoveAll(hook))
			must(t, c.make())
			h.says(3, c.says, "--status", "--on-renew", hook)
			h.says(3, c.says, "--once", "--on-renew", hook)
			h.says(3, c.says, "--status", "--on-renew", hook)
			must(t, os.RemoveAll(hook))
			must(t, os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o755))
			h.says(0, "", "--status", "--on-renew", hook)
			h.says(0, "", "--once", "--on-renew", hook)
			h.says(0, "", "--status", "--on-renew", hook)
		})
	}
}

// Why a hook has failed is told once, by whoever ran it and by whoever looks later.
func TestHookThatFailsIsToldOfOnce(t *testing.T) {
	h := newHosted(t)
	hook := filepath.Join(h.dir, "hook")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\nexit 7\n"), 0o755))
	h.says(3, "exit status 7", "--once", "--on-renew", hook)
	h.says(3, "exit status 7", "--status", "--on-renew", hook)
	must(t, os.Remove(hook))
	h.says(3, "there is no "+hook+" to run", "--once", "--on-renew", hook)
	h.says(3, "there is no "+hook+" to run", "--status", "--on-renew", hook)
}

// Whoever turns out not to be the CA that is meant, or no CA, does not get to see a request, and it is told once.
func TestNothingIsAskedOfAnotherCA(t *testing.T) {
	h := newHosted(t)
	pin := []string{"--ca-fingerprint", "sha256:" + strings.Repeat("0c", 32)}
	for range 2 {
		h.says(1, "expected fingerprint", append(pin, "--once")...)
		h.says(1, "expected fingerprint", append(pin, "--status")...)
	}
	for _, seen := range h.d.Seen() {
		if strings.HasPrefix(seen, "PUT") {
			t.Errorf("asked for: %s", seen)
		}
	}
	for _, code := range []int{http.StatusOK, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable} {
		h.d.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "unlike a CA", code)
			return true
		})
		h.says(1, "get CA chain", "--once")
		h.says(1, "get CA chain", "--status")
		if _, stdout, stderr := execute(t.Context(), append(h.job, "--once")...); strings.Contains(stdout+stderr, "problem:") {
			t.Errorf("%d is told of twice:\n%s%s", code, stdout, stderr)
		}
	}
}

// What is not looked at for want of a folder does not end, and what is behind a link need not be restored.
func TestHintsAreAboutWhatIsWrong(t *testing.T) {
	h := newHosted(t)
	if _, stdout, _ := execute(t.Context(), append(h.job, "--status", "--state", h.dir+"/no/state")...); strings.Contains(stdout, "outage budget") {
		t.Errorf("a budget of nothing:\n%s", stdout)
	}
	h.says(0, "", "--once")
	for _, file := range []string{"/cas.crt.pem", "/cas.crl.pem"} {
		must(t, os.Rename(h.dir+file, h.dir+"/real.pem"))
		must(t, os.Symlink("real.pem", h.dir+file))
		h.says(1, "allow links with --follow-symlinks", "--status")
		must(t, os.Rename(h.dir+"/real.pem", h.dir+file))
	}
}
