package updater

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// TestMain lets this program be the agent that TestCrash kills, and the process of an owner.
func TestMain(m *testing.M) {
	if Separated(os.Args) {
		os.Exit(ServeSeparated(clock.System()))
	}
	if step := os.Getenv("UPDATER_TEST_CRASH"); step != "" {
		os.Exit(crashAt(step))
	}
	os.Exit(m.Run())
}

// crashingJob is the job that parent and child agree on.
func crashingJob(dir, url, variant string) Job {
	in := func(name string) string { return filepath.Join(dir, name) }
	j := Job{
		CAURL: url, Authority: client.CAS, Crt: in("web.crt"), Key: in("web.key"), CSR: in("web.csr"),
		CA: in("ca.d/ca"), CRL: in("crl.pem"), OnRenew: "/hook",
		Threshold: DefaultThreshold, CRLThreshold: DefaultCRLThreshold, MaxSleep: DefaultMaxSleep, HookTimeout: DefaultHookTimeout,
	}
	switch variant {
	case "combined":
		j.Crt, j.Key = in("web.pem"), ""
	case "invited":
		j.Invite = in("invitation")
	}
	return j
}

func crashAt(text string) int {
	last, err := strconv.ParseInt(text, 10, 64)
	unix, err2 := strconv.ParseInt(os.Getenv("UPDATER_TEST_NOW"), 10, 64)
	if err != nil || err2 != nil {
		return 3
	}
	var step atomic.Int64 // keys are staged beside the loop
	job := crashingJob(os.Getenv("UPDATER_TEST_DIR"), os.Getenv("UPDATER_TEST_URL"), os.Getenv("UPDATER_TEST_VARIANT"))
	_, err = Once(context.Background(), Options{
		Clock: clock.NewFake(time.Unix(unix, 0)), Log: slog.New(slog.DiscardHandler),
		Hook: func(context.Context, HookRun) error {
			return os.WriteFile(filepath.Join(os.Getenv("UPDATER_TEST_DIR"), "heard"), nil, 0o600)
		},
		Step: func(string) {
			if step.Add(1) == last {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	}, []Job{job})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

// stride is at how many steps an agent is killed: at every fifth, or at each of them in make crash-matrix.
func stride() int {
	if os.Getenv("CAUASE_CRASH") != "" {
		return 1
	}
	return 5
}

// TestCrash kills an agent at every step that changes the disk, and starts it again: then
// there is one key with its certificate, the one of the certificate that was issued last,
// and no litter.
func TestCrash(t *testing.T) {
	for i, variant := range []string{"separate", "combined", "expired"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			steps := 1 + i%stride() - stride()
			for crashed := true; crashed; {
				steps += stride()
				crashed = crashOnce(t, variant, steps)
			}
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
			t.Logf("%d steps", steps)
		})
	}
}

func crashOnce(t *testing.T, variant string, step int) (crashed bool) {
	dir := t.TempDir()
	fake := clock.NewFake(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	daemon := clienttest.Start(t, fake)
	daemon.CAS.AutoApprove = 100
	job := crashingJob(dir, daemon.URL, variant)
	must(t, os.Mkdir(filepath.Join(dir, "ca.d"), 0o755))
	h := &host{t: t, dir: dir, job: job, log: &transcript{}}
	h.request("web", pkitest.Key(t))
	if job.Key == "" {
		must(t, os.Rename(h.path("web.key"), job.Crt))
	}
	var heard []string
	o := Options{
		Clock: fake, Log: slog.New(slog.NewTextHandler(h.log, nil)),
		Hook: func(_ context.Context, run HookRun) error { heard = append(heard, run.Env[0]); return nil },
	}
	once := func() Status {
		all, err := Once(t.Context(), o, []Job{job})
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		return all[0]
	}
	if s := once(); s.State != StateOK {
		t.Fatalf("to begin with: %+v\n%s", s, h.log)
	}
	old := h.pair(fake.Now())
	asked := record(daemon)
	fake.Advance(70 * day)
	if variant == "expired" {
		fake.Advance(30 * day)
	}
	daemon.CAS.Rollover()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "UPDATER_TEST_CRASH="+strconv.Itoa(step), "UPDATER_TEST_DIR="+dir, "UPDATER_TEST_URL="+daemon.URL,
		"UPDATER_TEST_VARIANT="+variant, "UPDATER_TEST_NOW="+strconv.FormatInt(fake.Now().Unix(), 10))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		crashed = true
	case err != nil:
		t.Fatalf("step %d: %v\n%s", step, err, out)
	}
	before := asked()
	heard = nil
	if s := once(); s.State != StateOK {
		t.Errorf("step %d: %+v\n%s", step, s, h.log)
	}
	pair := h.pair(fake.Now())
	if pki.SameKey(pair.Key.Public(), old.Key.Public()) {
		t.Errorf("step %d: still the old key", step)
	}
	for _, key := range before {
		if !pki.SameKey(pair.Key.Public(), key) {
			t.Errorf("step %d: the key of an issued certificate is lost", step)
		}
	}
	if len(heard) == 0 && !exists(h.path("heard")) {
		t.Errorf("step %d: the hook was not told", step)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") || strings.HasSuffix(e.Name(), ".old") || strings.HasSuffix(e.Name(), ".next") {
			if info, err := e.Info(); err == nil && !strings.Contains(e.Name(), "crl.pem") {
				t.Errorf("step %d: %s is left, of %s", step, e.Name(), info.ModTime())
			}
		}
	}
	return crashed
}

// record notes for which keys certificates are issued.
func record(d *clienttest.Daemon) func() []any {
	var mu sync.Mutex
	var keys []any
	d.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		csr := body
		if strings.HasSuffix(r.URL.Path, "/renew") {
			message, err := envelope.Parse(body)
			if err != nil {
				return false
			}
			renewal, err := envelope.DecodeRenewal(message.Payload())
			if err != nil {
				return false
			}
			csr = []byte(renewal.RequestPEM)
		}
		if request, err := pki.ParseRequest(csr); err == nil {
			mu.Lock()
			keys = append(keys, request.CSR.PublicKey)
			mu.Unlock()
		}
		return false
	})
	return func() []any {
		mu.Lock()
		defer mu.Unlock()
		return append([]any(nil), keys...)
	}
}

// TestLeftoversOfOthers: what is young beside shared files may be somebody else's, who is
// writing it just now.
func TestLeftoversOfOthers(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	store := pemfile.CAStore(filepath.Join(dir, "ca.pem"))
	young, old := filepath.Join(dir, ".ca.pem.0123456789abcdef.new"), filepath.Join(dir, ".ca.pem.fedcba9876543210.new")
	for _, name := range []string{young, old} {
		must(t, os.WriteFile(name, nil, 0o600))
	}
	must(t, os.Chtimes(old, now.Add(-2*time.Hour), now.Add(-2*time.Hour)))
	store.Sweep(now.Add(-time.Hour))
	if !exists(young) || exists(old) {
		t.Errorf("young there: %v, old there: %v", exists(young), exists(old))
	}
}
