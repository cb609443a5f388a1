package deployment

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

// A machine is this one, with the folders of trust stores replaced by copies, in a mount namespace: what is installed there
// is gone with the test.
type machine struct {
	t    *testing.T
	dir  string
	bind map[string]string // folders of the machine, and what stands in their places
	path string            // where its programs are
	home string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	for program, debianPackage := range map[string]string{"unshare": "util-linux", "openssl": "openssl", "certutil": "libnss3-tools"} {
		need(t, program, debianPackage)
	}
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, bind: map[string]string{}, path: os.Getenv("PATH"), home: filepath.Join(dir, "home")}
	for _, folder := range []string{"home", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := m.try("true"); err != nil {
		if os.Getenv(requireAll) == "1" {
			t.Fatal(err, out)
		}
		t.Skipf("NOT TESTED: no mount namespaces here: %v", err)
	}
	return m
}

// replace has a copy of a folder stand in its place.
func (m *machine) replace(folder string) (copied string) {
	m.t.Helper()
	copied = filepath.Join(m.dir, strings.ReplaceAll(folder, "/", "-"))
	must(m.t, m.dir, "cp", "-a", folder, copied)
	m.bind[folder] = copied
	return copied
}

func (m *machine) try(argv ...string) (string, error) {
	script := ""
	for folder, place := range m.bind {
		script += "mount --bind " + place + " " + folder + "\n"
	}
	words := []string{"-m"}
	if os.Getuid() != 0 {
		words = []string{"-r", "-m"}
	}
	cmd := exec.Command("unshare", append(append(words, "sh", "-euc", script+`exec "$0" "$@"`), argv...)...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "HOME="+m.home, "XDG_CONFIG_HOME="+filepath.Join(m.home, ".config"), "PATH="+m.path, "JAVA_HOME=", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

func (m *machine) must(argv ...string) string {
	m.t.Helper()
	out, err := m.try(argv...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// says checks what a command prints.
func (m *machine) says(out string, texts ...string) {
	m.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			m.t.Errorf("does not say %q:\n%s", text, out)
		}
	}
}

// A shop is a CA with a server.
type shop struct {
	ca   *x509.Certificate
	leaf string // file with the server's certificate
	url  string
	port int
}

func (m *machine) newShop(name string) shop {
	m.t.Helper()
	now := time.Now()
	ca := pkitest.NewCA(m.t, "Example CAS", now.Add(-time.Hour), now.Add(time.Hour))
	key := pkitest.Key(m.t)
	crt := ca.Issue(m.t, "shop.example", key.Public(), func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"shop.example"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	s := shop{ca: ca.Crt, leaf: filepath.Join(m.dir, name+".pem")}
	write(m.t, s.leaf, string(pkitest.PEM(crt)), 0o644)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{crt.Raw}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that refuse it
	server.StartTLS()
	m.t.Cleanup(server.Close)
	s.port = server.Listener.Addr().(*net.TCPAddr).Port
	s.url = "https://shop.example:" + strconv.Itoa(s.port) + "/"
	return s
}

// trusts reports whether openssl and curl trust a server, by what the machine trusts. They should agree.
func (m *machine) trusts(s shop) bool {
	m.t.Helper()
	_, byOpenSSL := m.try("openssl", "verify", s.leaf)
	out, byCurl := m.try("curl", "--silent", "--show-error", "--noproxy", "*", "--resolve", "shop.example:"+strconv.Itoa(s.port)+":127.0.0.1", s.url)
	if (byOpenSSL == nil) != (byCurl == nil) || byCurl == nil && out != "hello" {
		m.t.Errorf("openssl: %v; curl: %v", byOpenSSL, byCurl)
	}
	return byOpenSSL == nil
}

// TestPageTrustStores: cauase ca install has the programs of a Debian machine trust a CA, follows it, and takes it out again,
// by Debian's own tools, Java's store included.
func TestPageTrustStores(t *testing.T) {
	t.Parallel()
	for program, debianPackage := range map[string]string{"update-ca-certificates": "ca-certificates", "curl": "curl", "keytool": "default-jdk-headless"} {
		need(t, program, debianPackage)
	}
	m := newMachine(t)
	local, derived := m.replace("/usr/local/share/ca-certificates"), m.replace("/etc/ssl/certs")
	db := filepath.Join(m.home, ".pki", "nssdb")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, m.dir, "certutil", "-N", "-d", "sql:"+db, "--empty-password")
	first, second := m.newShop("first"), m.newShop("second")
	cas := filepath.Join(m.dir, "cas.crt.pem")
	write(t, cas, string(pkitest.PEM(first.ca)), 0o644)
	cauase := func(args ...string) []string {
		return append([]string{filepath.Join(bin, "cauase"), "--ca-url", "http://ca.example:8009", "--ca-crt", cas, "ca"}, args...)
	}
	stores := func() string { return must(t, m.dir, "sh", "-c", "ls "+local+" "+derived+"; certutil -L -d sql:"+db) }
	java := func() string {
		return m.must("keytool", "-list", "-cacerts", "-storepass", "changeit", "-J-XX:TieredStopAtLevel=1")
	}
	before := stores()
	if m.trusts(first) {
		t.Fatal("trusted before it is installed")
	}
	m.says(m.must(cauase("install", "--dry-run")...), "debian /usr/local/share/ca-certificates: would be added: cauase-cas@ca.example_8009-", "nss "+db+": would be added", "follows the system's store")
	if after := stores(); after != before {
		t.Errorf("--dry-run has changed something:\n%s", after)
	}
	m.says(m.must(cauase("install")...), "debian /usr/local/share/ca-certificates: added: cauase-cas@ca.example_8009-", "nss "+db+": added")
	if !m.trusts(first) || m.trusts(second) {
		t.Error("not trusted as installed")
	}
	if !strings.Contains(java(), "cauase-cas@ca.example_8009-") {
		t.Error("Java does not follow")
	}
	m.says(m.must(cauase("install")...), "debian /usr/local/share/ca-certificates: unchanged", "nss "+db+": unchanged")

	// The CA has rolled over, and the old one is not trusted any more.
	write(t, cas, string(pkitest.PEM(second.ca)), 0o644)
	m.says(m.must(cauase("install")...), "ca-certificates: added:", "ca-certificates: removed:")
	if m.trusts(first) || !m.trusts(second) {
		t.Error("the rollover was not followed")
	}
	if list := java(); strings.Count(list, "cauase-cas@") != 1 {
		t.Errorf("Java has %d of ours", strings.Count(list, "cauase-cas@"))
	}

	// Where Debian's tool fails, everything is as it was.
	write(t, filepath.Join(m.dir, "bin", "update-ca-certificates"), "#!/bin/sh\necho broken >&2\nexit 3\n", 0o755)
	write(t, cas, string(pkitest.PEM(first.ca)), 0o644)
	path, unchanged := m.path, must(t, m.dir, "ls", local)
	m.path = filepath.Join(m.dir, "bin") + ":" + path
	if out, err := m.try(cauase("install", "--into", "debian")...); err == nil || !strings.Contains(out, "update-ca-certificates: exit status 3: broken") || must(t, m.dir, "ls", local) != unchanged {
		t.Errorf("%v\n%s", err, must(t, m.dir, "ls", local))
	}
	m.path = path

	m.says(m.must(cauase("remove")...), "ca-certificates: removed:", "nss "+db+": removed")
	if m.trusts(first) || m.trusts(second) {
		t.Error("trusted after its removal")
	}
	if left := stores(); strings.Contains(left, "cauase") {
		t.Errorf("left is\n%s", left)
	}
	if strings.Contains(java(), "cauase") {
		t.Error("Java trusts it after its removal")
	}
	if _, err := m.try(cauase("install", "--into", "redhat")...); err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("a store that is not there: %v", err)
	}
}

// TestTrustStoresNeedRoot: others are told what root has to do.
func TestTrustStoresNeedRoot(t *testing.T) {
	t.Parallel()
	need(t, "update-ca-certificates", "ca-certificates")
	if os.Getuid() != 0 {
		t.Skip("root becomes somebody else")
	}
	who, _ := unprivileged(t)
	dir := t.TempDir()
	for _, folder := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	write(t, filepath.Join(dir, "cas.crt.pem"), string(pkitest.PEM(pkitest.NewCA(t, "CAS", now, now.Add(time.Hour)).Crt)), 0o644)
	run := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(bin, "cauase"), append([]string{"--ca-url", "http://ca.example", "--store", dir, "ca"}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const hint = "sudo cauase ca install --into debian --ca-url http://ca.example --ca-crt "
	for _, c := range []struct {
		args string
		fail bool
	}{{"install --into debian", true}, {"install --dry-run --into debian", false}, {"install", true}} {
		out, err := run(strings.Fields(c.args)...)
		if (err != nil) != c.fail || !strings.Contains(out, hint+filepath.Join(dir, "cas.crt.pem")) {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
}

// TestTrustStoresOfRedHat has the folders of Red Hat's store, and p11-kit's own tool, which that store is made of. Red Hat's
// update-ca-trust, which Debian does not have, is a script that calls that tool, and so is the one here.
func TestTrustStoresOfRedHat(t *testing.T) {
	t.Parallel()
	need(t, "trust", "p11-kit")
	m := newMachine(t)
	etc := m.replace("/etc")
	for _, folder := range []string{"pki/ca-trust/source/anchors", "pki/ca-trust/extracted", "pkcs11/modules"} {
		if err := os.MkdirAll(filepath.Join(etc, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(etc, "pkcs11/modules/p11-kit-trust.module"), "module: p11-kit-trust.so\npriority: 1\ntrust-policy: yes\nx-init-reserved: paths=/etc/pki/ca-trust/source\n", 0o644)
	write(t, filepath.Join(m.dir, "bin", "update-ca-trust"), `#!/bin/sh -e
test "$*" = extract
trust extract --overwrite --format=pem-bundle --filter=ca-anchors --purpose=server-auth /etc/pki/ca-trust/extracted/tls-ca-bundle.pem
`, 0o755)
	m.path = filepath.Join(m.dir, "bin") + ":" + m.path
	one, other := m.newShop("one"), m.newShop("other")
	cas := filepath.Join(m.dir, "cas.crt.pem")
	cauase := func(args ...string) []string {
		return append([]string{filepath.Join(bin, "cauase"), "--ca-url", "http://ca.example:8009", "--ca-crt", cas, "ca"}, args...)
	}
	verify := func(s shop) error {
		_, err := m.try("openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", "/etc/pki/ca-trust/extracted/tls-ca-bundle.pem", s.leaf)
		return err
	}
	write(t, cas, string(pkitest.PEM(one.ca, other.ca)), 0o644)
	m.says(m.must(cauase("install", "--into", "redhat")...), "redhat /etc/pki/ca-trust/source/anchors: added: cauase-cas@ca.example_8009-")
	if err := errors.Join(verify(one), verify(other)); err != nil {
		t.Error(err)
	}
	write(t, cas, string(pkitest.PEM(other.ca)), 0o644)
	m.says(m.must(cauase("install", "--into", "redhat")...), "removed:")
	if verify(one) == nil || verify(other) != nil {
		t.Error("the rollover was not followed")
	}
	m.must(cauase("install", "--into", "redhat", "--remove")...)
	if verify(other) == nil {
		t.Error("trusted after its removal")
	}
}
