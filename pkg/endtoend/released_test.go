package endtoend

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// released are the commits whose tools are in use somewhere, and have to go on with today's, oldest first.
var released = []string{"2baedc1", "1190fc3"}

// releasedCache is where their tools are kept. It is read before TestMain takes our variables away; without it, nothing
// is built: a checkout of continuous integration has no history.
var releasedCache = os.Getenv("CAUASE_RELEASED")

// TestReleased has agents and clients of released versions follow today's daemon over three rollovers, and today's follow
// daemons of those versions.
func TestReleased(t *testing.T) {
	if releasedCache == "" {
		t.Skip("NOT TESTED, nor does CAUASE_REQUIRE_ALL require it: make released builds the released versions from the history of git")
	}
	for _, commit := range released {
		bin := buildReleased(t, commit)
		t.Run("tools of "+commit, func(t *testing.T) {
			t.Parallel()
			followThreeRollovers(t, binDir, bin)
		})
		t.Run("daemon of "+commit, func(t *testing.T) {
			t.Parallel()
			followThreeRollovers(t, bin, binDir)
		})
	}
}

// buildReleased returns the folder with the tools of a commit, which it builds unless they are there.
func buildReleased(t *testing.T, commit string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(releasedCache, commit))
	check(t, err)
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if err := exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		t.Skipf("NOT TESTED: the history of git that is here does not have commit %s (git fetch --unshallow): %v", commit, err)
	}
	source, made := filepath.Join(dir, "source"), filepath.Join(dir, "made")
	check(t, os.RemoveAll(dir))
	check(t, os.MkdirAll(source, 0o755))
	check(t, os.MkdirAll(made, 0o755))
	sh := exec.Command("sh", "-c", `git -C "$(git rev-parse --show-toplevel)" archive "$1" | tar -x -C "$2"`, "sh", commit, source)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("git archive %s: %v\n%s", commit, err, out)
	}
	for tool, folder := range map[string]string{"cauased": "./cauased", "cauase": "./cauase", "cauase-updater": "./updater"} {
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(made, tool), folder)
		build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s of %s: %v\n%s", tool, commit, err, out)
		}
	}
	check(t, os.Rename(made, bin))
	return bin
}

// followThreeRollovers has an agent keep a certificate valid, and a client renew another, with the daemon of another version.
func followThreeRollovers(t *testing.T, daemonBin, toolBin string) {
	netloc, err := freeNetloc()
	check(t, err)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	check(t, os.Mkdir(ca, 0o700))
	days := strconv.FormatFloat(span.Hours()/24, 'f', -1, 64)
	d, err := startDaemonOf(daemonBin, ca, netloc, append(os.Environ(), "TZ=UTC"), false, "--service-crt-validity", days,
		"--service-auto-approve-count", "9", "--user-auto-approve-count", "1")
	check(t, err)
	defer d.kill()
	cauase := func(args ...string) (int, string) {
		t.Helper()
		return runToolOf(t, toolBin, dir, "cauase", append([]string{"--ca-url", d.url()}, args...)...)
	}
	must := func(args ...string) {
		t.Helper()
		if code, out := cauase(args...); code != 0 {
			t.Fatalf("cauase %v: %d\n%s", args, code, out)
		}
	}
	must("--mode", "user", "request", "--cn", "admin", "--crt", "admin.pem")
	for _, name := range []string{"kept", "gone"} {
		must("request", "--cn", name, "--dns", name+".example", "--crt", name+".pem")
	}
	key := pkitest.Key(t)
	check(t, os.WriteFile(filepath.Join(dir, "web.key"), pkitest.KeyPEM(t, key), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "web.csr"), pkitest.Request(t, key, pkitest.Named("web", "web.example")), 0o600))
	args := []string{"--ca-url", d.url(), "--cas-ca", "ca.pem", "--ca", "ca.pem", "--crl", "crls.pem", "--crt", "web.crt", "--key", "web.key", "--csr", "web.csr"}
	a := startAgentOf(t, toolBin, dir, args...)
	h := &onDisk{t: t, dir: dir}
	eventuallyTrue(t, "a certificate", func() bool { return h.pair().Crt != nil })

	// What is revoked is on the agent's list, and refused.
	gone := readCertificate(t, filepath.Join(dir, "gone.pem"))
	must("--user-key", "admin.pem", "crt", "revoke", "--other", "gone.pem")
	if code, out := cauase("crt", "renew", "--force", "gone.pem"); code != 1 {
		t.Errorf("what is revoked is renewed: %d\n%s", code, out)
	}
	h.until("the list of the revoked", func() bool { return lists(t, filepath.Join(dir, "crls.pem"), gone) })

	issuer := string(h.pair().Crt.AuthorityKeyId)
	for n := range 3 {
		h.until(fmt.Sprintf("rollover %d", n+1), func() bool { return string(h.pair().Crt.AuthorityKeyId) != issuer })
		issuer = string(h.pair().Crt.AuthorityKeyId)
		if !a.running() {
			t.Fatal("the agent has ended")
		}
		// The client's, which nobody keeps, has ended meanwhile; a new one is renewed.
		name := fmt.Sprintf("kept%d.pem", n)
		must("request", "--cn", "kept", "--dns", "kept.example", "--crt", name, "--key", name+".key", "--csr", name+".csr")
		must("crt", "renew", "--force", name, name+".key")
		must("crl", "update")
	}
	if daemonBin == binDir {
		newStyle(t, d, h.pair().Crt)
	}
	if code, out := runToolOf(t, toolBin, dir, "cauase-updater", append(args, "--status")...); code != 0 {
		t.Errorf("status: %d\n%s", code, out)
	}
}

// newStyle asks for lists as today's agents and verifiers do, of a daemon that clients of released versions use.
func newStyle(t *testing.T, d *daemon, crt *x509.Certificate) {
	t.Helper()
	if len(crt.CRLDistributionPoints) != 1 {
		t.Fatalf("lists are at %v", crt.CRLDistributionPoints)
	}
	for address, want := range map[string]int{
		crt.CRLDistributionPoints[0]: 200, d.url() + "/cas/crl?after=1&wait=1s": 200, d.url() + "/cas/crl?after=99999999&wait=1s": 304,
	} {
		response, err := http.Get(address)
		check(t, err)
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", address, response.Status)
		}
	}
}

func (a *agent) running() bool {
	select {
	case <-a.exited:
		return false
	default:
		return true
	}
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	blocks, err := pki.SplitPEM(text)
	check(t, err)
	for _, block := range blocks {
		if block.Type == "CERTIFICATE" {
			crt, err := x509.ParseCertificate(block.Bytes)
			check(t, err)
			return crt
		}
	}
	t.Fatalf("%s holds no certificate", path)
	return nil
}

// lists reports whether a certificate is on one of the revocation lists of a file.
func lists(t *testing.T, path string, crt *x509.Certificate) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	check(t, err)
	crls, err := pki.ParseCRLsPEM(text)
	if err != nil {
		return false // it is being replaced
	}
	for _, crl := range crls {
		for _, entry := range crl.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(crt.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}
