package deployment

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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

	"cauase/pkg/pemfile"
	"cauase/pkg/testkit"
)

// patience is how long anything is waited for, as machines that run tests are busy.
const patience = time.Minute

// A site is a CA, a server set up as its page in docs/ says, and clients.
type site struct {
	t    *testing.T
	page string // in docs/
	dir  string // stands for the root directory
	tls  string // where the page puts certificates, below dir
	ca   string // netloc
	host string // what the server is called
	port int
	cas  *x509.CertPool

	daemon *exec.Cmd // the CA
	alice  tls.Certificate
}

// firstSpan is that of the first CA certificate. With the usual one its successor is overdue.
const firstSpan = 30 * time.Minute

// newSite starts a CA that signs whatever services ask for, and gets the server's certificate.
// Before it does, programs may be put into bin, in front of the system's.
func newSite(t *testing.T, page, tlsDir, host string, prepare ...func(s *site)) *site {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	s := &site{t: t, page: page, dir: dir, tls: filepath.Join(dir, tlsDir), host: host, port: testkit.FreePorts(t, 1)}
	// Servers that run as another user need access.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s.ca = "127.0.0.1:" + strconv.Itoa(testkit.FreePorts(t, 2))
	for _, folder := range []string{"ca", "clients", "bin", tlsDir} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.startCA(firstSpan)
	for _, f := range prepare {
		f(s)
	}
	s.run("enrol")
	s.trust(1)
	s.alice = s.client("alice")
	return s
}

const usualSpan = 93 * 24 * time.Hour

func (s *site) startCA(span time.Duration) {
	s.t.Helper()
	// Backdated by more than the first CA certificate, the second would look older.
	s.daemon = s.background("ca", filepath.Join(bin, "cauased"), "--netloc", s.ca, "--backdate", "1s",
		"--service-auto-approve-count", "1000", "--service-crt-validity", fmt.Sprint(span.Hours()/24))
	s.until("the CA is ready", func() error {
		resp, err := http.Get("http://" + s.ca + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// restartCA restarts the CA with another span.
func (s *site) restartCA(span time.Duration) {
	s.t.Helper()
	if err := s.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.daemon.Wait(); err != nil {
		s.t.Fatal(err)
	}
	s.startCA(span)
}

// trust brings the clients' CA certificates up to date, which should be so many.
func (s *site) trust(count int) {
	s.t.Helper()
	s.cauase("--ca-crt", "ca.pem", "ca", "update")
	crts, err := pemfile.ReadCertificates(filepath.Join(s.dir, "clients", "ca.pem"))
	if err != nil || len(crts) != count {
		s.t.Fatalf("%d CA certificates, want %d: %v", len(crts), count, err)
	}
	s.cas = x509.NewCertPool()
	for _, crt := range crts {
		s.cas.AddCert(crt)
	}
}

// background runs a program in a folder of the site until the test ends.
func (s *site) background(folder string, argv ...string) *exec.Cmd {
	s.t.Helper()
	return s.backgroundAs(nil, folder, argv...)
}

func (s *site) backgroundAs(who *syscall.Credential, folder string, argv ...string) *exec.Cmd {
	s.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(s.dir, folder), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		if s.t.Failed() {
			text := out.String()
			s.t.Logf("%s said:\n%s", argv[0], text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

// block returns what the page has between ```language NAME and ```, with the site's names.
func (s *site) block(name string) string {
	s.t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", s.page))
	if err != nil {
		s.t.Fatal(err)
	}
	var found strings.Builder
	inside := false
	for line := range strings.Lines(string(page)) {
		switch fields := strings.Fields(line); {
		case strings.HasPrefix(line, "```"):
			inside = len(fields) == 2 && fields[1] == name
		case inside:
			found.WriteString(line)
		}
	}
	if found.Len() == 0 {
		s.t.Fatalf("docs/%s has no block %q", s.page, name)
	}
	return strings.NewReplacer(
		"ca.example.org:8009", s.ca,
		"/etc/", s.dir+"/etc/",
		"/run/", s.dir+"/run/",
	).Replace(found.String())
}

// run executes a shell block of the page, with a systemctl of our own.
func (s *site) run(name string, env ...string) {
	s.t.Helper()
	if err := s.tryRun(name, env...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) tryRun(name string, env ...string) error {
	s.t.Helper()
	return s.shell(s.block(name), env...)
}

func (s *site) shell(script string, env ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = filepath.Join(s.dir, "clients")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s\n%w\n%s", script, err, out)
	}
	return nil
}

// reloads installs the page's hook, for which "systemctl reload NAME" is to run a script.
func (s *site) reloads(name, script string) {
	s.t.Helper()
	s.systemctl("reload "+name, script)
	write(s.t, filepath.Join(s.tls, "reload"), s.block("hook"), 0o755)
}

// systemctl installs a script in place of systemd's.
func (s *site) systemctl(arguments, script string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "bin", "systemctl")
	old, err := os.ReadFile(path)
	if err != nil {
		old = []byte("#!/bin/sh -e\n")
	}
	write(s.t, path, string(old)+"if [ \"$*\" = \""+arguments+"\" ]; then\n"+script+"\nexit\nfi\n", 0o755)
}

// cauase runs the client for clients.
func (s *site) cauase(args ...string) {
	s.t.Helper()
	must(s.t, filepath.Join(s.dir, "clients"), append([]string{filepath.Join(bin, "cauase"), "--ca-url", "http://" + s.ca}, args...)...)
}

// client makes a certificate for a client.
func (s *site) client(name string) tls.Certificate {
	s.t.Helper()
	s.cauase("request", "--cn", name, "--eku", "client", "--crt", name+".crt.pem", "--key", name+".key.pem", "--wait")
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "clients", name+".crt.pem"), filepath.Join(s.dir, "clients", name+".key.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

// config is how a client connects. It verifies the server as it should be.
func (s *site) config(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: s.cas, ServerName: s.host, Certificates: certificates, MinVersion: tls.VersionTLS12}
}

// An ask is one complete use of the server: connect, authenticate, get an answer, disconnect. It
// returns the server's certificate.
type ask func(config *tls.Config) (*x509.Certificate, error)

func (s *site) address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// https asks a web server.
func (s *site) https(config *tls.Config) (*x509.Certificate, error) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + s.address() + "/")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "hello") {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp.TLS.PeerCertificates[0], nil
}

func (s *site) until(what string, done func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain until %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // what is awaited happens in other processes
	}
}

// story is what every page promises, told with the server running.
func (s *site) story(ask ask) {
	s.t.Helper()
	t := s.t
	s.until("alice is served", func() error { _, err := ask(s.config(s.alice)); return err })
	// The CA rolls over. Alice and the server have certificates of the old one.
	s.restartCA(usualSpan)
	rolledOver := time.Now()
	s.trust(2)
	alice := s.config(s.alice)
	if _, err := ask(s.config()); err == nil {
		t.Error("somebody without certificate is served")
	}
	if _, err := ask(s.config(stranger(t))); err == nil {
		t.Error("somebody with a certificate of another CA is served")
	}

	load := startLoad(ask, alice)
	renewed := func(how func()) *x509.Certificate {
		t.Helper()
		before, err := ask(alice)
		if err != nil {
			t.Fatal(err)
		}
		how()
		var now *x509.Certificate
		s.until("the renewed certificate is served", func() error {
			if now, err = ask(alice); err == nil && now.Equal(before) {
				err = errors.New("it is the old one")
			}
			return err
		})
		load.goesOn(20)
		return now
	}
	renewed(s.renew)
	bob, mallory, eve := s.config(s.client("bob")), s.config(s.client("mallory")), s.config(s.client("eve"))
	for _, config := range []*tls.Config{bob, mallory, eve} {
		if _, err := ask(config); err != nil {
			t.Fatalf("a client that is not revoked: %v", err)
		}
	}
	renewed(s.renew)
	// With a short span the new CA soon signs, and half the life of what it signs is over soon,
	// whereupon the agent renews it. A client of the new CA needs its list, beside the old one's.
	// Daemon, agent and server are real programs that go by the clock of the machine, so time has to pass.
	time.Sleep(time.Until(rolledOver.Add(shortLife + time.Second)))
	s.restartCA(shortLife)
	newcomer := s.client("newcomer")
	if bytes.Equal(newcomer.Leaf.AuthorityKeyId, s.alice.Leaf.AuthorityKeyId) {
		t.Error("the new CA does not sign")
	}
	if _, err := ask(s.config(newcomer)); err != nil {
		t.Errorf("a client of the new CA: %v", err)
	}
	short := renewed(s.renew)
	s.restartCA(usualSpan)
	time.Sleep(time.Until(short.NotAfter.Add(-shortLife / 2))) // again by the clock of the machine
	if last := renewed(s.agent); time.Until(last.NotAfter) < time.Hour {
		t.Errorf("the agent got a certificate until %s", last.NotAfter)
	}
	requests, failures := load.stop()
	t.Logf("%d connections during 4 renewals", requests)
	if len(failures) > 0 {
		t.Errorf("%d of %d connections failed, such as: %v", len(failures), requests, failures[:min(3, len(failures))])
	}

	revoked := func(name string, config *tls.Config, update func()) {
		t.Helper()
		s.cauase("crt", "revoke", name+".crt.pem", "--key", name+".key.pem")
		update()
		s.until(name+" is refused", func() error {
			if _, err := ask(config); err == nil {
				return errors.New("still served")
			}
			return nil
		})
		if _, err := ask(bob); err != nil {
			t.Errorf("bob, not revoked: %v", err)
		}
	}
	revoked("mallory", mallory, s.renew)
	if _, err := ask(alice); err != nil {
		t.Errorf("alice, not revoked: %v", err)
	}
	revoked("alice", alice, s.renew) // of the old CA
	revoked("eve", eve, s.agent)
	s.hears(ask)
}

// hears has the agent that the page starts, on default options, run for as long as the test does, and looks how long it
// takes from the command that revokes a client until the server refuses it.
func (s *site) hears(ask ask) {
	s.t.Helper()
	t, agent := s.t, strings.TrimSpace(s.block("updater"))
	dave, zoe := s.config(s.client("dave")), s.config(s.client("zoe"))
	s.background("clients", "env", "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"), "sh", "-euc", agent)
	s.until("the agent answers", func() error { return s.shell(agent + " --refresh\n") })
	for name, config := range map[string]*tls.Config{"dave": dave, "zoe": zoe} {
		if _, err := ask(config); err != nil {
			t.Fatalf("%s, before the revocation: %v", name, err)
		}
	}
	began := time.Now()
	s.cauase("crt", "revoke", "dave.crt.pem", "--key", "dave.key.pem")
	s.until("dave is refused", func() error {
		if _, err := ask(dave); err == nil {
			return errors.New("still served")
		}
		return nil
	})
	t.Logf("a revoked client was refused %.1f seconds after the command began; 10 are promised", time.Since(began).Seconds())
	if _, err := ask(zoe); err != nil {
		t.Errorf("zoe, not revoked: %v", err)
	}
}

// shortLife leaves the agent half of it to renew in, on a busy machine.
const shortLife = 20 * time.Second

// renew does what the page says for timers, at a time when it is due.
func (s *site) renew() {
	s.t.Helper()
	s.run("renew", "CAUASE_THRESHOLD=1000")
}

// agent has the agent that the page starts do what is due.
func (s *site) agent() {
	s.t.Helper()
	if err := s.shell(strings.TrimSpace(s.block("updater")) + " --max-sleep 0.00001 --once\n"); err != nil {
		s.t.Fatal(err)
	}
}

// stranger returns a certificate in which nothing is wrong but its issuer.
func stranger(t *testing.T) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	must(t, dir, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-subj", "/CN=alice", "-keyout", "key.pem", "-out", "crt.pem", "-days", "2")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "crt.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// A load asks all the time.
type load struct {
	cancel   context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	grown    sync.Cond // on mu: requests has grown
	requests int
	failures []error
}

func startLoad(ask ask, config *tls.Config) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	l.grown.L = &l.mu
	for range 4 {
		l.done.Go(func() {
			for ctx.Err() == nil {
				_, err := ask(config)
				l.mu.Lock()
				l.requests++
				if err != nil {
					l.failures = append(l.failures, err)
				}
				l.grown.Broadcast()
				l.mu.Unlock()
				time.Sleep(time.Millisecond) // the pace of the load
			}
		})
	}
	return l
}

// goesOn waits for another n requests.
func (l *load) goesOn(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for enough := l.requests + n; l.requests < enough; {
		l.grown.Wait()
	}
}

func (l *load) stop() (requests int, failures []error) {
	l.cancel()
	l.done.Wait()
	return l.requests, l.failures
}

// serverKeyStaysClosed wants the key of the server as only its owner may read it.
func (s *site) serverKeyStaysClosed(name string) {
	s.t.Helper()
	path := filepath.Join(s.tls, name)
	info, err := os.Stat(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		s.t.Errorf("%s has mode %v", name, info.Mode())
	}
	if _, err := pemfile.ReadKey(path); err != nil {
		s.t.Error(err)
	}
}
