package enroll_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/enroll"
	"cauase/pkg/envelope"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A host is a folder with the files of one pair, and a daemon.
type host struct {
	*testing.T
	dir    string
	daemon *clienttest.Daemon
	wire   *clienttest.Wire
	engine *enroll.Engine
	asked  []crypto.PublicKey // keys that certificates were asked for
	mu     sync.Mutex
}

func newHost(t *testing.T, combined bool) *host {
	t.Helper()
	fake := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	h := &host{T: t, dir: t.TempDir()}
	h.daemon, h.wire = clienttest.NewWired(t, fake)
	h.daemon.CAS.AutoApprove = 100
	h.daemon.Intercept(h.note)
	h.engine = h.newEngine(client.CAS)
	if combined {
		h.engine.Paths = pemfile.PairPaths{Crt: h.path("web.pem")}
	}
	return h
}

func (h *host) newEngine(authority client.AuthorityName) *enroll.Engine {
	h.Helper()
	c, err := client.New(client.Options{URL: h.daemon.URL, Authority: authority, Clock: h.daemon.Clock, Transport: h.wire.Transport})
	h.must(err)
	return &enroll.Engine{
		Client: c, Clock: h.daemon.Clock, CSR: h.path("web.csr"),
		Paths: pemfile.PairPaths{Crt: h.path("web.crt"), Key: h.path("web.key")},
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// note remembers for which keys the daemon was asked.
func (h *host) note(_ http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPut {
		return false
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	csr := body
	if strings.HasSuffix(r.URL.Path, "/renew") {
		if message, err := envelope.Parse(body); err == nil {
			if renewal, err := envelope.DecodeRenewal(message.Payload()); err == nil {
				csr = []byte(renewal.RequestPEM)
			}
		}
	}
	if request, err := pki.ParseRequest(csr); err == nil {
		h.mu.Lock()
		h.asked = append(h.asked, request.CSR.PublicKey)
		h.mu.Unlock()
	}
	return false
}

func (h *host) trust() enroll.Trust {
	h.Helper()
	trust, err := h.engine.Client.UpdateTrust(h.Context(), nil, nil)
	h.must(err)
	return enroll.Trust{CAs: trust.CAs, Roots: func(ctx context.Context) ([]*x509.Certificate, error) {
		roots, err := h.engine.Client.UpdateRoots(ctx, trust, nil, nil)
		return roots.CAs, err
	}}
}

func names() *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web"}, DNSNames: []string{"web.example"}}
}

// attempt does what a command does that asks for a certificate, or goes on with what an earlier
// one has left; force is for a new key. It stops where an error says so.
func (h *host) attempt(force bool) error {
	e := h.engine
	if _, err := e.Recover(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	from := enroll.Look(e.Paths)
	csr, _ := os.ReadFile(h.path("web.csr"))
	r, err := e.Resume(csr, from)
	if err != nil || force {
		r, err = e.NewRequest(names(), from, nil)
	}
	if err == nil {
		err = e.Place(r)
	}
	if err == nil {
		err = e.Submit(h.Context(), r)
	}
	if err != nil {
		return err
	}
	issue, err := e.Collect(h.Context(), r, h.trust())
	if err == nil {
		_, err = e.Install(issue)
	}
	return err
}

func (h *host) renew() error {
	if _, err := h.engine.Recover(); err != nil {
		return err
	}
	issue, err := h.engine.Renew(h.Context(), enroll.Look(h.engine.Paths), h.trust())
	if err == nil {
		_, err = h.engine.Install(issue)
	}
	return err
}

// pair reads what is in place, which has to be whole.
func (h *host) pair() pemfile.Pair {
	h.Helper()
	f := enroll.Look(h.engine.Paths)
	if f.Err != nil || f.Pair.Crt == nil {
		h.Fatalf("no pair: %v", f.Err)
	}
	return f.Pair
}

func (h *host) leftovers() []string {
	h.Helper()
	entries, err := os.ReadDir(h.dir)
	h.must(err)
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// A killed is thrown where a process is killed: nothing that would run afterwards runs.
type killed struct{}

// killAt has the attempt end at its n-th step on disk, and reports whether there were so many.
// What a deferred function would do on disk is taken back by copying the folder before.
func (h *host) killAt(n int, attempt func() error) (reached bool) {
	h.Helper()
	before := ""
	step := 0
	h.engine.Paths.Attributes.Step = func(string) {
		if step++; step == n {
			before = h.Name() // reached
			copyFolder(h, h.dir, h.dir+".killed")
			panic(killed{})
		}
	}
	func() {
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		h.must(attempt())
	}()
	h.engine.Paths.Attributes.Step = nil
	if before == "" {
		return false
	}
	h.must(os.RemoveAll(h.dir))
	h.must(os.Rename(h.dir+".killed", h.dir))
	return true
}

func copyFolder(h *host, from, to string) {
	h.must(os.MkdirAll(to, 0o755))
	entries, err := os.ReadDir(from)
	h.must(err)
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(from, e.Name()))
		h.must(err)
		h.must(os.WriteFile(filepath.Join(to, e.Name()), content, 0o600))
	}
}

// TestKilled kills a request, a request for a new key and a renewal at every step on disk. What is
// left is the old pair or the new one, whole, and each key that a certificate was asked for. The same
// again makes one pair of it, and another renewal leaves nothing beside that.
func TestKilled(t *testing.T) {
	attempts := map[string]struct{ first, again func(*host) error }{
		"request": {func(h *host) error { return h.attempt(false) }, func(h *host) error { return h.attempt(false) }},
		"force":   {func(h *host) error { return h.attempt(true) }, func(h *host) error { return h.attempt(false) }},
		"renew":   {(*host).renew, (*host).renew},
	}
	for kind, do := range attempts {
		for files, combined := range map[string]bool{"two files": false, "one file": true} {
			t.Run(kind+", "+files, func(t *testing.T) {
				steps := 0
				for killed := true; killed; steps++ {
					h := newHost(t, combined)
					if kind != "request" {
						h.must(h.attempt(false))
						h.daemon.Clock.Advance(time.Hour)
					}
					h.asked = nil
					killed = h.killAt(steps+1, func() error { return do.first(h) })
					_, err := h.engine.Recover()
					if kind != "request" {
						h.must(err)
						h.pair()
					}
					for _, key := range h.asked {
						if !h.has(key) {
							t.Errorf("step %d: the key of a certificate is lost", steps+1)
						}
					}
					wanted := h.asked
					if killed {
						h.must(do.again(h))
					}
					if kind != "renew" && len(wanted) > 0 && !pki.SameKey(h.pair().Key.Public(), wanted[0]) {
						t.Errorf("step %d: the same again has not fetched the certificate that was asked for", steps+1)
					}
					h.must(h.renew())
					if left := h.leftovers(); len(left) > 0 {
						t.Errorf("step %d: %v are left", steps+1, left)
					}
				}
				if steps < 8 {
					t.Errorf("only %d steps", steps)
				}
			})
		}
	}
}

// has reports whether a key is in place or staged.
func (h *host) has(public crypto.PublicKey) bool {
	for _, read := range []func() (crypto.Signer, error){
		func() (crypto.Signer, error) { return pemfile.StagedKey(h.engine.Paths) },
		func() (crypto.Signer, error) { return pemfile.ReadKey(h.engine.Paths.KeyPath()) },
	} {
		if key, err := read(); err == nil && pki.SameKey(key.Public(), public) {
			return true
		}
	}
	return false
}

// TestForceKeepsThePair: while a request for a new key is pending the old pair stays in use, and
// the new one takes its place when it is signed.
func TestForceKeepsThePair(t *testing.T) {
	h := newHost(t, false)
	h.must(h.attempt(false))
	old := h.pair()
	h.daemon.CAS.AutoApprove = 0
	if err := h.attempt(true); !errors.Is(err, client.ErrPending) {
		t.Fatal(err)
	}
	if pair := h.pair(); !pair.Crt.Equal(old.Crt) {
		t.Error("the old certificate is gone before there is another")
	}
	if err := h.attempt(false); !errors.Is(err, client.ErrPending) {
		t.Errorf("the same again: %v", err)
	}
	if !pki.SameKey(h.asked[len(h.asked)-1], h.asked[len(h.asked)-2]) {
		t.Error("the same again has asked for another key")
	}
	h.approveAll()
	h.must(h.attempt(false))
	if pair := h.pair(); pki.SameKey(pair.Key.Public(), old.Key.Public()) || len(h.leftovers()) > 0 {
		t.Errorf("the new pair is not in place, or %v are left", h.leftovers())
	}
}

// approveAll signs what is pending, as a user does.
func (h *host) approveAll() {
	h.Helper()
	csr, err := os.ReadFile(h.path("web.csr"))
	h.must(err)
	id, err := h.engine.Client.Submit(h.Context(), csr)
	h.must(err)
	h.daemon.CAS.Approve(uint64(id))
}

// TestOvertaken: what somebody else has put in place during an attempt stays.
func TestOvertaken(t *testing.T) {
	h := newHost(t, false)
	h.must(h.attempt(false))
	from := enroll.Look(h.engine.Paths)
	issue, err := h.engine.Renew(t.Context(), from, h.trust())
	h.must(err)
	h.must(h.renew()) // which shares the staged key
	there := h.pair()
	if _, err := h.engine.Install(issue); !errors.Is(err, enroll.ErrOvertaken) {
		t.Errorf("%v", err)
	}
	if !h.pair().Crt.Equal(there.Crt) {
		t.Error("the pair was replaced")
	}
	if !pki.SameKey(there.Key.Public(), issue.Pair.Key.Public()) {
		t.Error("two attempts at once made two keys")
	}
}

// TestStagedKey: a refusal has issued nothing, so that the key goes; silence may have.
func TestStagedKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		stays  bool
	}{
		{"refused", 400, false},
		{"revoked", 409, false},
		{"the daemon's own mistake", 500, false},
		{"a proxy's limit", 429, true},
		{"a proxy's timeout", 504, true},
		{"an answer that is lost", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, true)
			h.must(h.attempt(false))
			h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/renew") {
					return false
				}
				if tt.status == 0 {
					_, _ = w.Write([]byte("<html>"))
				} else {
					w.WriteHeader(tt.status)
				}
				return true
			})
			if err := h.renew(); err == nil {
				t.Fatal("no error")
			}
			key, err := pemfile.StagedKey(h.engine.Paths)
			if (err == nil) != tt.stays {
				t.Errorf("the staged key: %v", err)
			}
			h.daemon.Intercept(nil)
			h.must(h.renew())
			if tt.stays && !pki.SameKey(h.pair().Key.Public(), key.Public()) {
				t.Error("the next attempt has made another key")
			}
			if left := h.leftovers(); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// TestUnwritable: before the daemon hears of anything, it is known that its answer could be stored,
// and that the request is.
func TestUnwritable(t *testing.T) {
	h := newHost(t, true)
	h.must(os.Symlink("elsewhere", h.path("web.pem")))
	if err := h.attempt(false); !errors.Is(err, pemfile.ErrSymlink) {
		t.Errorf("a symbolic link: %v", err)
	}
	h.must(os.Remove(h.path("web.pem")))
	full := errors.New("disk full")
	_, err := h.engine.NewRequest(names(), enroll.Look(h.engine.Paths), func(*enroll.Request) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("a request that cannot be kept: %v", err)
	}
	if len(h.asked) > 0 || len(h.leftovers()) > 0 {
		t.Errorf("asked %d times; left: %v", len(h.asked), h.leftovers())
	}
}

// TestPlaceOvertaken: a key that another run has put in place meanwhile stays.
func TestPlaceOvertaken(t *testing.T) {
	h := newHost(t, true)
	r, err := h.engine.NewRequest(names(), enroll.Look(h.engine.Paths), func(*enroll.Request) error { return nil })
	h.must(err)
	h.must(os.WriteFile(h.path("web.pem"), []byte("somebody's"), 0o600))
	if err := h.engine.Place(r); !errors.Is(err, enroll.ErrOvertaken) {
		t.Errorf("%v", err)
	}
	if got, _ := os.ReadFile(h.path("web.pem")); string(got) != "somebody's" {
		t.Errorf("holds %q", got)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.crt")
	first, err := enroll.Acquire(path, folder.Access{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enroll.Acquire(path, folder.Access{}); !errors.Is(err, enroll.ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(path), ".web.crt.lock")); err != nil {
		t.Fatal(err)
	}
	if first.Held() {
		t.Error("held, though its file is gone")
	}
	second, err := enroll.Acquire(path, folder.Access{})
	if err != nil || !second.Held() {
		t.Fatalf("after it was removed: %v", err)
	}
	first.Release()
	second.Release()
}

// TestSteps: of many attempts at once each finds one pair, whole, and all of them share a key.
func TestSteps(t *testing.T) {
	h := newHost(t, false)
	h.must(h.attempt(false))
	trust := h.trust()
	from := enroll.Look(h.engine.Paths)
	h.asked = nil
	var attempts sync.WaitGroup
	for range 8 {
		attempts.Go(func() {
			issue, err := h.engine.Renew(t.Context(), from, trust)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := h.engine.Install(issue); err != nil && !errors.Is(err, enroll.ErrOvertaken) {
				t.Error(err)
			}
		})
	}
	attempts.Wait()
	h.must(h.renew())
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	h.pair()
}
