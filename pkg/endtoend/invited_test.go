package endtoend

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// TestUpdaterInvited has an agent get its first certificate by an invitation, which also says which CA to trust, and
// is erased then.
func TestUpdaterInvited(t *testing.T) {
	t.Parallel()
	netloc, err := freeNetloc()
	check(t, err)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	check(t, os.Mkdir(ca, 0o700))
	d, err := startDaemon(ca, netloc, os.Environ())
	check(t, err)
	defer func() { d.kill() }()
	must := func(name string, args ...string) string {
		t.Helper()
		code, out := runTool(t, dir, name, args...)
		if code != 0 {
			t.Fatalf("%s %v: %d\n%s", name, args, code, out)
		}
		return out
	}
	must("cauase", "--ca-url", d.url(), "request", "--cn", "alice", "--crt", "alice.pem", "--invite", "ca/first-user.invite")
	invite := func(to, dns string) {
		t.Helper()
		must("cauase", "--user-key", "alice.pem", "invite", "--dns", dns, "--out", filepath.Join("host", to))
	}
	host := filepath.Join(dir, "host")
	check(t, os.Mkdir(host, 0o700))
	key := pkitest.Key(t)
	check(t, os.WriteFile(filepath.Join(host, "web.key"), pkitest.KeyPEM(t, key), 0o600))
	check(t, os.WriteFile(filepath.Join(host, "web.csr"), pkitest.Request(t, key, &x509.CertificateRequest{DNSNames: []string{"web.example"}}), 0o600))
	agent := func(invitation string) (int, string) {
		t.Helper()
		return runTool(t, host, "cauase-updater", "--ca-url", d.url(), "--cas-ca", "ca.pem", "--ca", "ca.pem", "--crl", "crl.pem",
			"--crt", "web.crt", "--key", "web.key", "--csr", "web.csr", "--invite-file", invitation, "--once")
	}
	gone := func(name string) bool {
		_, err := os.Stat(filepath.Join(host, name))
		return errors.Is(err, fs.ErrNotExist)
	}

	// An unreadable invitation is no reason for trust on first use.
	check(t, os.WriteFile(filepath.Join(host, "broken"), []byte("cauase-invite-1.x"), 0o600))
	if code, out := agent("broken"); code != 1 || !strings.Contains(out, "broken: invitation:") || !gone("ca.pem") {
		t.Errorf("%d %s", code, out)
	}
	// One for other names stays.
	invite("other", "other.example")
	if code, out := agent("other"); code != 1 || !strings.Contains(out, "is not allowed by the invitation") || gone("other") || !gone("web.crt") {
		t.Errorf("%d %s", code, out)
	}
	check(t, os.Remove(filepath.Join(host, "ca.pem"))) // so that the next one says it

	invite("invitation", "web.example")
	text, err := os.ReadFile(filepath.Join(host, "invitation"))
	check(t, err)
	code, out := agent("invitation")
	if code != 0 || !gone("invitation") || strings.Contains(out, "first contact") || strings.Contains(out, strings.TrimSpace(string(text))) {
		t.Errorf("%d %s", code, out)
	}
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: filepath.Join(host, "web.crt"), Key: filepath.Join(host, "web.key")})
	if err != nil || pair.Crt == nil || !pki.SameKey(pair.Crt.PublicKey, key.Public()) {
		t.Fatalf("%+v %v", pair, err)
	}
	if code, out := agent("invitation"); code != 0 {
		t.Errorf("again: %d %s", code, out)
	}
}
