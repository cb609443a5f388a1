package updater

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// An inviting daemon takes one invitation, which is good for one request, and counts.
type inviting struct {
	*clienttest.Daemon
	t      *testing.T
	signed *invite.Signed
	lose   bool // the first answer does not arrive

	mu        sync.Mutex
	presented int
	used      map[string]bool // requests
}

func newInviting(t *testing.T, clk *clock.Fake, lose bool) *inviting {
	t.Helper()
	d := &inviting{Daemon: clienttest.Start(t, clk), t: t, lose: lose, used: make(map[string]bool)}
	names, err := invite.ParseNames([]string{"cn:web", "dns:web.example"})
	must(t, err)
	payload, err := invite.Invitation{
		Authority: "cas", Names: names, Uses: 1, Made: clk.Now(), Until: clk.Now().Add(time.Hour),
		CAs: map[string][]invite.Fingerprint{"cas": {invite.FingerprintOf(d.CAS.Oldest())}},
	}.Payload()
	must(t, err)
	d.signed, err = invite.Sign(pkitest.Key(t), payload)
	must(t, err)
	d.Intercept(d.answer)
	return d
}

// answer has a request that came with the invitation signed, as the real daemon does.
func (d *inviting) answer(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPut || r.URL.Path != "/cas/invite" {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	p, err := invite.DecodePresentation(body)
	if err != nil || p.Invitation != d.signed.Text() {
		http.Error(w, "no invitation", http.StatusForbidden)
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.used) > 0 && !d.used[p.RequestPEM] {
		http.Error(w, "used up", http.StatusForbidden)
		return true
	}
	if d.presented++; !d.used[p.RequestPEM] {
		d.used[p.RequestPEM] = true
		d.CAS.AutoApprove++
	}
	if d.lose && d.presented == 1 {
		plain, err := http.NewRequestWithContext(r.Context(), http.MethodPut, d.URL+"/cas/csr", strings.NewReader(p.RequestPEM))
		if err != nil {
			return false
		}
		plain.Header.Set("Content-Type", r.Header.Get("Content-Type"))
		if answer, err := http.DefaultClient.Do(plain); err == nil {
			_ = answer.Body.Close()
		}
		w.WriteHeader(http.StatusGatewayTimeout)
		return true
	}
	r.URL.Path = "/cas/csr"
	r.Body = io.NopCloser(bytes.NewReader([]byte(p.RequestPEM)))
	return false
}

func (d *inviting) uses() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.used)
}

// TestCrashInvited kills an agent at every step of getting its first certificate by an invitation, whether the answer to
// that arrives or not: after another start there is one certificate, one use is counted, and the invitation is
// erased, which it is never before there is a certificate for it.
func TestCrashInvited(t *testing.T) {
	for name, lose := range map[string]bool{"answered": false, "the answer is lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := 1 - stride()
			for crashed := true; crashed; {
				steps += stride()
				crashed = crashInvitedOnce(t, steps, lose)
			}
			if steps < 8 {
				t.Errorf("only %d steps", steps)
			}
			t.Logf("%d steps", steps)
		})
	}
}

func crashInvitedOnce(t *testing.T, step int, lose bool) (crashed bool) {
	dir := t.TempDir()
	fake := clock.NewFake(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	daemon := newInviting(t, fake, lose)
	job := crashingJob(dir, daemon.URL, "invited")
	must(t, os.Mkdir(filepath.Join(dir, "ca.d"), 0o755))
	h := &host{t: t, dir: dir, job: job, log: &transcript{}}
	key := pkitest.Key(t)
	h.request("web", key)
	h.write("invitation", []byte(daemon.signed.Text()+"\n"))

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "UPDATER_TEST_CRASH="+strconv.Itoa(step), "UPDATER_TEST_DIR="+dir, "UPDATER_TEST_URL="+daemon.URL,
		"UPDATER_TEST_VARIANT=invited", "UPDATER_TEST_NOW="+strconv.FormatInt(fake.Now().Unix(), 10))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		crashed = true
	case err != nil && !lose:
		t.Fatalf("step %d: %v\n%s", step, err, out)
	}
	if !exists(job.Invite) && (daemon.uses() == 0 || !exists(job.CA)) {
		t.Errorf("step %d: the invitation is erased, after %d uses", step, daemon.uses())
	}
	o := Options{
		Clock: fake, Log: slog.New(slog.NewTextHandler(h.log, nil)),
		Hook: func(context.Context, HookRun) error { return nil },
	}
	for range 3 { // a lost answer is asked for again when it is time
		all, err := Once(t.Context(), o, []Job{job})
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		if all[0].State == StateOK {
			break
		}
		fake.Advance(10 * time.Minute)
	}
	if pair := h.pair(fake.Now()); !pki.SameKey(pair.Key.Public(), key.Public()) {
		t.Errorf("step %d: another key", step)
	}
	if n := daemon.uses(); n != 1 {
		t.Errorf("step %d: %d uses", step, n)
	}
	if exists(job.Invite) {
		t.Errorf("step %d: the invitation is still there\n%s", step, h.log)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") || strings.HasSuffix(e.Name(), ".old") || strings.HasSuffix(e.Name(), ".next") {
			if !strings.Contains(e.Name(), "crl.pem") {
				t.Errorf("step %d: %s is left", step, e.Name())
			}
		}
	}
	if strings.Contains(h.log.String(), daemon.signed.Text()[len(invite.Prefix):]) {
		t.Errorf("step %d: the log has the secret", step)
	}
	return crashed
}
