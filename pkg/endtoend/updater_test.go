package endtoend

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
)

// An agent is a running cauase-updater.
type agent struct {
	cmd    *exec.Cmd
	log    testkit.Buffer
	exited chan struct{}
}

func startAgent(t *testing.T, dir string, args ...string) *agent {
	t.Helper()
	return startAgentOf(t, binDir, dir, args...)
}

// startAgentOf runs the cauase-updater of a folder.
func startAgentOf(t *testing.T, bin, dir string, args ...string) *agent {
	t.Helper()
	a := &agent{cmd: exec.Command(filepath.Join(bin, "cauase-updater"), args...), exited: make(chan struct{})}
	a.cmd.Dir, a.cmd.Stdout, a.cmd.Stderr = dir, &a.log, &a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait() // the state is in a.cmd
		close(a.exited)
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill() // it may have ended
		<-a.exited
		if t.Failed() {
			t.Logf("log of cauase-updater:\n%s", a.log.String())
		}
	})
	return a
}

// runTool runs a program and returns its exit code and output.
func runTool(t *testing.T, dir, name string, args ...string) (int, string) {
	t.Helper()
	return runToolOf(t, binDir, dir, name, args...)
}

// runToolOf runs a program of a folder.
func runToolOf(t *testing.T, bin, dir, name string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// span is the validity of certificates in these tests. A CA lives four of them.
const span = 10 * time.Second

// TestUpdaterJourney has a host live through bootstrap, renewals, a kill -9, a rollover of the
// CA, an outage and a revocation, with a certificate that is valid all the time.
func TestUpdaterJourney(t *testing.T) {
	t.Parallel()
	netloc, err := freeNetloc()
	check(t, err)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	check(t, os.Mkdir(ca, 0o700))
	days := strconv.FormatFloat(span.Hours()/24, 'f', -1, 64)
	env := append(os.Environ(), "TZ=UTC")
	flags := []string{"--service-crt-validity", days, "--service-auto-approve-count", "0"}
	d, err := startDaemon(ca, netloc, env, flags...)
	check(t, err)
	defer func() { d.kill() }()

	mustRun := func(name string, args ...string) string {
		t.Helper()
		code, out := runTool(t, dir, name, args...)
		if code != 0 {
			t.Fatalf("%s %v: %d\n%s", name, args, code, out)
		}
		return out
	}
	mustRun("cauase", "--ca-url", d.url(), "request", "--cn", "admin", "--crt", "admin.pem", "--invite", "ca/first-user.invite")
	if code, out := runTool(t, dir, "cauase", "--ca-url", d.url(), "--ca-crt", "x.pem", "request", "--cn", "web", "--dns", "web.example",
		"--crt", "x.crt", "--key", "web.key", "--csr", "web.csr"); code != 2 {
		t.Fatalf("%d: %s", code, out)
	}
	hook := filepath.Join(dir, "hook")
	check(t, os.WriteFile(hook, []byte("#!/bin/sh\necho $CAUASE_CHANGED >>heard\n"), 0o700))
	args := []string{"--ca-url", d.url(), "--cas-ca", "ca.pem", "--ca", "ca.pem", "--crl", "crls", "--crt", "web.crt", "--key", "web.key", "--csr", "web.csr", "--on-renew", hook}
	a := startAgent(t, dir, args...)

	// The request is the one that cauase has handed in. It waits.
	eventuallyTrue(t, "the request waits", func() bool { return strings.Contains(a.log.String(), "waits for an administrator") })
	if code, out := runTool(t, dir, "cauase-updater", append(args, "--status")...); code != 2 || !strings.Contains(out, "pending") {
		t.Errorf("status: %d\n%s", code, out)
	}
	_, id, _ := strings.Cut(a.log.String(), " id=")
	id, _, _ = strings.Cut(id, " ")
	mustRun("cauase", "--ca-url", d.url(), "--user-key", "admin.pem", "csr", "sign", id)
	h := &onDisk{t: t, dir: dir}
	eventuallyTrue(t, "a certificate", func() bool { return h.pair().Crt != nil })
	first := h.pair()

	// From now on there is always one that is valid.
	h.until("a renewal", func() bool { return !h.pair().Crt.Equal(first.Crt) })
	if pki.SameKey(h.pair().Key.Public(), first.Key.Public()) {
		t.Error("renewed with the old key")
	}
	_ = a.cmd.Process.Kill()
	<-a.exited
	a = startAgent(t, dir, args...)
	killed := h.pair()
	h.until("a renewal after kill -9", func() bool { return !h.pair().Crt.Equal(killed.Crt) })

	// An outage of a few seconds.
	d.kill()
	time.Sleep(span / 5) // the outage itself: nothing is awaited
	d, err = startDaemon(ca, netloc, env, flags...)
	check(t, err)

	h.until("a certificate of the next CA", func() bool {
		issuer, err := pki.VerifyIssued(h.pair().Crt, h.cas(), time.Now())
		return err == nil && len(h.cas()) > 1 && issuer.NotBefore.After(h.cas()[0].NotBefore)
	})
	check(t, os.Remove(filepath.Join(dir, "web.crt")))
	h.until("the certificate is back", func() bool { return h.pair().Crt != nil })

	var status []struct {
		State  string  `json:"state"`
		Budget float64 `json:"outage_budget_seconds"`
	}
	eventuallyTrue(t, "status ok", func() bool {
		code, out := runTool(t, dir, "cauase-updater", append(args, "--status", "--json")...)
		return json.Unmarshal([]byte(out), &status) == nil && code == 0 && status[0].State == "ok" && status[0].Budget > 0
	})
	mustRun("cauase", "--ca-url", d.url(), "--ca-crt", "ca.pem", "crt", "revoke", "web.crt", "--key", "web.key")
	eventuallyTrue(t, "revoked", func() bool {
		code, out := runTool(t, dir, "cauase-updater", append(args, "--status")...)
		return code == 1 && strings.Contains(out, "revoked")
	})

	check(t, a.cmd.Process.Signal(syscall.SIGTERM))
	<-a.exited
	if !a.cmd.ProcessState.Success() {
		t.Errorf("after SIGTERM: %v", a.cmd.ProcessState)
	}
	if heard, err := os.ReadFile(filepath.Join(dir, "heard")); err != nil || !strings.Contains(string(heard), "crt,key") || !strings.Contains(string(heard), "ca") {
		t.Errorf("the hook has heard %q, %v", heard, err)
	}
	if strings.Contains(a.log.String(), "PRIVATE KEY") {
		t.Error("a key in the log")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.n*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// onDisk is what an agent keeps.
type onDisk struct {
	t   *testing.T
	dir string
}

// pair reads key and certificate; between two renames they may not match, for a moment.
func (h *onDisk) pair() pemfile.Pair {
	h.t.Helper()
	var pair pemfile.Pair
	var err error
	for range 100 {
		pair, err = pemfile.ReadPair(pemfile.PairPaths{Crt: filepath.Join(h.dir, "web.crt"), Key: filepath.Join(h.dir, "web.key")})
		if err == nil {
			return pair
		}
		time.Sleep(10 * time.Millisecond) // a rename by another process
	}
	h.t.Fatal(err)
	return pair
}

func (h *onDisk) cas() (list []*x509.Certificate) {
	list, err := pemfile.CAStore(filepath.Join(h.dir, "ca.pem")).ReadCertificates()
	check(h.t, err)
	return list
}

// until waits for something, and checks all the time that the certificate is valid.
func (h *onDisk) until(what string, so func() bool) {
	h.t.Helper()
	eventuallyTrue(h.t, what, func() bool {
		if pair := h.pair(); pair.Crt != nil {
			if err := client.CheckIssued(pair.Crt, pair.Key.Public(), h.cas(), time.Now()); err != nil {
				h.t.Fatalf("while waiting for %s: %v", what, err)
			}
		}
		return so()
	})
}

// eventuallyTrue looks again and again, as what it waits for happens in other processes.
func eventuallyTrue(t *testing.T, what string, so func() bool) {
	t.Helper()
	for expired := time.Now().Add(deadline); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(expired) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpdaterConfiguration starts an agent by a file, with metrics, and changes the file.
func TestUpdaterConfiguration(t *testing.T) {
	t.Parallel()
	netloc, err := freeNetloc()
	check(t, err)
	metrics, err := freeNetloc()
	check(t, err)
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "ca"), 0o700))
	d, err := startDaemon(filepath.Join(dir, "ca"), netloc, os.Environ())
	check(t, err)
	defer d.kill()
	config := filepath.Join(dir, "updater.toml")
	write := func(jobs string) {
		check(t, os.WriteFile(config, []byte("ca-url = \""+d.url()+"\"\nca = \"ca.pem\"\n"+jobs), 0o600))
	}
	write("[[job]]\nname = \"one\"\ncrl = \"one.pem\"\n")
	a := startAgent(t, "/", "--config", config, "--metrics-bind", metrics)
	exists := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	}
	eventuallyTrue(t, "the first job", exists("one.pem"))
	write("[[job]]\nname = \"one\"\ncrl = \"one.pem\"\n[[job]]\nname = \"two\"\ncrl = \"two.pem\"\n")
	eventuallyTrue(t, "the second job", exists("two.pem"))
	write("[[job]]\nname = \"one\"\ncrrl = \"one.pem\"\n")
	eventuallyTrue(t, "a refusal", func() bool { return strings.Contains(a.log.String(), `line 5, column 1: there is no setting \"crrl\"`) })
	check(t, os.Remove(filepath.Join(dir, "two.pem")))
	eventuallyTrue(t, "the old configuration is in force", exists("two.pem"))
	write("[[job]]\nname = \"three\"\ncrl = \"three.pem\"\n")
	check(t, a.cmd.Process.Signal(syscall.SIGHUP))
	eventuallyTrue(t, "the third job", exists("three.pem"))
	eventuallyTrue(t, "metrics", func() bool {
		resp, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), `cauase_updater_outage_budget_seconds{name="three"}`) &&
			!strings.Contains(string(body), `name="one"`)
	})
	if code, out := runTool(t, dir, "cauase-updater", "--config", config, "--ca", "x.pem"); code != 1 || !strings.Contains(out, "--ca beside --config") {
		t.Errorf("%d: %s", code, out)
	}
	check(t, a.cmd.Process.Signal(syscall.SIGTERM))
	<-a.exited
	if !a.cmd.ProcessState.Success() {
		t.Errorf("after SIGTERM: %v", a.cmd.ProcessState)
	}
}
