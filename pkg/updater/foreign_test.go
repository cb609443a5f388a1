package updater

import (
	"bytes"
	"context"
	"crypto/x509"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/testkit/pkitest"
)

// An unprivileged user, who needs no account.
const someone = 54321

// A foreign host has its files in a folder of someone's, real sockets, and an agent that is root.
type foreign struct {
	*host
	private string // a folder that only root can read
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can work for another user")
	}
	base := t.TempDir()
	must(t, os.Chmod(filepath.Dir(base), 0o755))
	h := newRealHostIn(t, filepath.Join(base, "folder"))
	h.o.Hook = nil
	f := &foreign{host: h, private: filepath.Join(base, "private")}
	must(t, os.Mkdir(f.private, 0o700))
	f.give(h.dir)
	return f
}

// newRealHostIn is newRealHost in a folder that is made.
func newRealHostIn(t *testing.T, dir string) *host {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	h := newHost(t, dir)
	h.daemon = clienttest.Start(t, clock.NewFake(time.Now()))
	h.daemon.CAS.AutoApprove = 100
	h.job.CAURL, h.o.Transport, h.o.NoWatch, h.job.OnRenew = h.daemon.URL, nil, false, ""
	return h
}

// give makes a folder and all in it someone's.
func (f *foreign) give(path string) {
	f.t.Helper()
	must(f.t, filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, someone, someone)
	}))
}

// secret is a file that only root can read.
func (f *foreign) secret(name string, content []byte) string {
	f.t.Helper()
	path := filepath.Join(f.private, name)
	must(f.t, os.WriteFile(path, content, 0o600))
	return path
}

// leaked reports whether a file that is not in private holds text and can be read by someone.
func (f *foreign) leaked(text []byte) bool {
	f.t.Helper()
	found := false
	must(f.t, filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // gone meanwhile
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		sys := info.Sys().(*syscall.Stat_t)
		content, _ := os.ReadFile(path)
		if bytes.Contains(content, text) && (sys.Uid == someone || info.Mode().Perm()&0o004 != 0) && sys.Nlink == 1 {
			f.t.Errorf("%s, %v of %d, holds it", path, info.Mode(), sys.Uid)
			found = true
		}
		return nil
	}))
	return found
}

// rootsPair is a key that only root may have, with its certificate, in one file.
func (f *foreign) rootsPair() (path string, key []byte) {
	f.t.Helper()
	signer := pkitest.Key(f.t)
	key = pkitest.KeyPEM(f.t, signer)
	request := pkitest.ParsedRequest(f.t, signer, &x509.CertificateRequest{DNSNames: []string{"root.example"}})
	return f.secret("root.pem", append(bytes.Clone(key), pkitest.PEM(f.daemon.CAS.Issue(request.CSR, signer.Public()))...)), key
}

// serve runs an agent as far as it will, and do meanwhile.
func (f *foreign) serve(do func(a *Agent)) error {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := New(f.o)
	err := a.Start(ctx, []Job{f.job})
	if err == nil {
		do(a)
	}
	cancel()
	a.Wait()
	return err
}

// TestFoundLinkSwappedIn: in a folder of someone's, who puts a link to root's key in the place of the certificate, and
// then nothing, the agent gave that key back to who it never was of.
func TestFoundLinkSwappedIn(t *testing.T) {
	f := newForeign(t)
	f.job.Crt, f.job.Key, f.job.CSR = f.path("web.pem"), "", ""
	roots, key := f.rootsPair()
	must(t, os.Symlink(roots, f.job.Crt))
	if err := f.serve(func(*Agent) {
		time.Sleep(300 * time.Millisecond)
		for range 20 {
			_ = os.Remove(f.job.Crt)
			f.write("web.pem", nil)
			f.give(f.dir)
			time.Sleep(200 * time.Millisecond)
			if f.leaked(key) {
				return
			}
			_ = os.Remove(f.job.Crt)
			_ = os.Symlink(roots, f.job.Crt)
			time.Sleep(100 * time.Millisecond)
		}
	}); err == nil {
		t.Error("the agent works as root in a folder of another user")
	}
	f.leaked(key)
}

// TestFoundRequestDisclosed: a request that is a link showed the begin of any file to whoever can read the
// state.
func TestFoundRequestDisclosed(t *testing.T) {
	const secret = "correct horse battery staple"
	f := newForeign(t)
	for name, links := range map[string]bool{"a link": true, "a file": false} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			f.log = &transcript{}
			f.o.Log = slog.New(slog.NewTextHandler(f.log, nil))
			must(t, os.Remove(f.job.CSR))
			if path := f.secret("secret", []byte(secret+"\n")); links {
				must(t, os.Symlink(path, f.job.CSR))
			} else {
				// In a folder of root's own, too, as the log is read by others.
				must(t, os.Chown(f.dir, 0, 0))
				f.write("web.csr", []byte(secret+"\n"))
			}
			text := ""
			_ = f.serve(func(a *Agent) {
				f.within("a look", func() bool { return len(a.Statuses()) == 1 && len(a.Statuses()[0].Problems) > 0 })
				time.Sleep(100 * time.Millisecond)
				for _, p := range a.Statuses()[0].Problems {
					text += p.Message
				}
			})
			state, _ := os.ReadFile(f.job.statePath())
			for _, shown := range []string{string(state), f.log.String(), text} {
				if strings.Contains(shown, "horse") {
					t.Errorf("shown: %s", shown)
				}
			}
			if info, err := os.Stat(f.job.statePath()); err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("the state has mode %v", info.Mode())
			}
		})
	}
}

// TestFoundStateChoosesEnvironment: whoever wrote the state file had a say in the environment of root's hook.
func TestFoundStateChoosesEnvironment(t *testing.T) {
	f := newForeign(t)
	must(t, os.Chown(f.dir, 0, 0))
	f.job.OnRenew = filepath.Join(f.private, "hook")
	heard := filepath.Join(f.private, "heard")
	must(t, os.WriteFile(f.job.OnRenew, []byte("#!/bin/sh\nenv >> "+heard+"\n"), 0o700))
	for name, c := range map[string]struct {
		state string
		owner int
	}{
		"words that are none":    {`{"hook_changed": ["crt", "$(touch pwned)"]}`, 0},
		"a state of someone's":   {`{"hook_changed": ["root"]}`, someone},
		"failures without end":   {`{"hook_changed": ["crt"], "hook_failures": -9}`, 0},
		"a terminal's sequences": {`{"hook_changed": ["crt"], "hook_error": "\u001b[2J"}`, 0},
		"a task that is none":    {`{"hook_changed": ["root"], "problems": [{"task": "x\u001b"}]}`, 0},
		"a problem that is none": {`{"hook_changed": ["root"], "problems": [null]}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.RemoveAll(heard))
			must(t, os.WriteFile(f.job.statePath(), []byte(c.state), 0o600))
			must(t, os.Chown(f.job.statePath(), c.owner, -1))
			_, err := Once(t.Context(), f.o, []Job{f.job})
			must(t, err)
			env, _ := os.ReadFile(heard)
			for line := range strings.Lines(string(env)) {
				words, found := strings.CutPrefix(strings.TrimSpace(line), "CAUASE_CHANGED=")
				if !found {
					continue
				}
				for word := range strings.SplitSeq(words, ",") {
					if word == "root" || !strings.Contains("ca crl crt key", word) {
						t.Errorf("the hook heard of %q", word)
					}
				}
			}
			must(t, os.RemoveAll(f.job.statePath()))
		})
	}
}

// TestFoundKeyGivenAway: a key that is known is put back only where it was, and into the hands it was in.
func TestFoundKeyGivenAway(t *testing.T) {
	f := newForeign(t)
	must(t, os.Chown(f.dir, 0, 0))
	f.job.Crt, f.job.Key, f.job.CSR = f.path("web.pem"), "", ""
	roots, key := f.rootsPair()
	content, err := os.ReadFile(roots)
	must(t, err)
	must(t, os.WriteFile(f.job.Crt, content, 0o600))
	must(t, f.serve(func(a *Agent) {
		f.within("ok", f.isOK(a))
		must(t, os.WriteFile(f.path("other"), nil, 0o600))
		must(t, os.Chown(f.path("other"), someone, someone))
		must(t, os.Rename(f.path("other"), f.job.Crt))
		f.within("notice", func() bool { return a.Statuses()[0].State == StateBlocked })
		time.Sleep(200 * time.Millisecond)
		f.leaked(key)
		// Removed, it comes back as it was.
		must(t, os.Remove(f.job.Crt))
		f.within("ok again", f.isOK(a))
		info, err := os.Stat(f.job.Crt)
		must(t, err)
		if sys := info.Sys().(*syscall.Stat_t); sys.Uid != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%v of %d", info.Mode(), sys.Uid)
		}
	}))
}
