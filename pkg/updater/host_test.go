package updater

import (
	"context"
	"crypto"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// A host is a folder, a daemon, and what an agent needs.
type host struct {
	t      testing.TB
	dir    string
	job    Job
	daemon *clienttest.Daemon
	wire   *clienttest.Wire
	log    *transcript
	o      Options
	hooks  []string // what they were told
	hook   func() error
}

// undisturbed is the poll of an agent whose files nobody touches for months: without it such a test does little else than look
// that nobody has.
const undisturbed = 365 * day

// newHost has a key and a request that will be signed at once.
func newHost(t testing.TB, dir string) *host {
	t.Helper()
	h := &host{t: t, dir: dir, log: &transcript{}}
	h.daemon, h.wire = clienttest.NewWired(t, clock.System())
	h.daemon.CAS.AutoApprove = 100
	h.job = Job{
		Name: "web", CAURL: h.daemon.URL, Authority: client.CAS,
		Crt: h.path("web.crt"), Key: h.path("web.key"), CSR: h.path("web.csr"), CA: h.path("ca.pem"), CRL: h.path("crl.pem"),
		Threshold: DefaultThreshold, CRLThreshold: DefaultCRLThreshold, MaxSleep: DefaultMaxSleep, HookTimeout: DefaultHookTimeout,
		CRLRefresh: DefaultMaxSleep, NoPush: true,
		OnRenew: "/hook",
	}
	h.o = Options{
		Clock: clock.System(), Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UserAgent: "test/1", Transport: h.wire.Transport, NoWatch: true, NoControl: true,
		Hook: func(_ context.Context, run HookRun) error {
			h.hooks = append(h.hooks, strings.TrimPrefix(run.Env[0], "CAUASE_CHANGED="))
			if h.hook != nil {
				return h.hook()
			}
			return nil
		},
	}
	h.request("web", pkitest.Key(t))
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// request puts a key and a request for it in place.
func (h *host) request(cn string, key crypto.Signer) {
	h.t.Helper()
	h.write("web.key", pkitest.KeyPEM(h.t, key))
	h.write("web.csr", pkitest.NamedRequest(h.t, key, cn, cn+".example"))
}

func (h *host) write(name string, content []byte) {
	h.t.Helper()
	must(h.t, os.WriteFile(h.path(name), content, 0o600))
}

func (h *host) read(name string) []byte {
	h.t.Helper()
	content, err := os.ReadFile(h.path(name))
	must(h.t, err)
	return content
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs an agent until the returned function is called.
func (h *host) start() (*Agent, func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := New(h.o)
	if err := a.Start(ctx, []Job{h.job}); err != nil {
		cancel()
		h.t.Fatal(err)
	}
	return a, func() {
		cancel()
		a.Wait()
	}
}

// pair reads key and certificate, which have to match and to be valid at now.
func (h *host) pair(now time.Time) pemfile.Pair {
	h.t.Helper()
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: h.job.Crt, Key: h.job.Key})
	if err != nil || pair.Crt == nil {
		h.t.Fatalf("key and certificate: %v", err)
	}
	cas, err := pemfile.CAStore(h.job.CA).ReadCertificates()
	must(h.t, err)
	if err := client.CheckIssued(pair.Crt, pair.Key.Public(), cas, now); err != nil {
		h.t.Fatalf("at %s: %v", now, err)
	}
	return pair
}

func (h *host) status(a *Agent) Status {
	h.t.Helper()
	all := a.Statuses()
	if len(all) != 1 {
		h.t.Fatalf("%d statuses", len(all))
	}
	return all[0]
}

// transcript collects a log.
type transcript struct{ testkit.Buffer }

func (l *transcript) lines() int { return strings.Count(l.String(), "\n") }

// noSecrets makes sure that no key is in the log.
func (h *host) noSecrets() {
	h.t.Helper()
	if strings.Contains(h.log.String(), "PRIVATE") {
		h.t.Error("a private key in the log")
	}
}
