package cluster

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// A site is several daemons on one database.
type site struct {
	t       testing.TB
	netloc  string
	dsn     string
	flags   []string
	daemons []*daemon
}

// newSite starts so many daemons at once.
func newSite(t testing.TB, dsn string, count int, flags ...string) *site {
	t.Helper()
	s := &site{t: t, netloc: "127.0.0.1:" + strconv.Itoa(testkit.FreePorts(t, 2)), dsn: dsn, flags: flags}
	for range count {
		s.add()
	}
	for _, d := range s.daemons {
		d.awaitReady(http.StatusOK)
	}
	return s
}

// add starts one more daemon, with a key pair of its own, without waiting for it.
func (s *site) add() *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, site: s, dsn: s.dsn, port: testkit.FreePorts(s.t, 2), dir: s.t.TempDir()}
	s.daemons = append(s.daemons, d)
	d.start()
	return d
}

// A daemon is a running cauased.
type daemon struct {
	t      testing.TB
	site   *site
	dsn    string
	port   int
	dir    string
	cmd    *exec.Cmd
	log    *testkit.Buffer
	exited chan error
	more   []string // options of its own
	clock  string   // the file that says how far its clock is ahead; empty: it goes by the machine's
}

func (d *daemon) start() {
	d.t.Helper()
	d.log = &testkit.Buffer{}
	program := "cauased"
	if d.clock != "" {
		program = "cauased-shifted"
	}
	d.cmd = exec.Command(filepath.Join(bin, program), append([]string{
		"--netloc", d.site.netloc, "--bind", "127.0.0.1", "--base-port", strconv.Itoa(d.port),
		"--server-key", filepath.Join(d.dir, "server.key.pem"), "--cors-key-store", filepath.Join(d.dir, "cors.key"),
		// All that a test sends comes from one address.
		"--write-rate", "0", "--handshake-rate", "0", "--max-connections-per-address", "512", "--pending-per-address", "100000",
	}, slices.Concat(d.site.flags, d.more)...)...)
	d.cmd.Env = append(os.Environ(), "CAUASED_DB="+d.dsn, "CAUASED_USER_AUTO_APPROVE_COUNT=1", "CAUASE_CLOCK_OFFSET="+d.clock)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.exited = make(chan error, 1)
	go func() { d.exited <- d.cmd.Wait() }()
	log := d.log
	d.t.Cleanup(func() {
		d.stop(syscall.SIGTERM)
		if text := log.String(); d.t.Failed() {
			d.t.Logf("the daemon on port %d said at last:\n%s", d.port, text[max(0, len(text)-3000):])
		} else if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
			d.t.Errorf("the daemon on port %d said:\n%s", d.port, text)
		}
	})
}

// stop ends it, if it runs.
func (d *daemon) stop(signal syscall.Signal) {
	if d.exited == nil {
		return
	}
	_ = d.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-d.exited:
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.exited
		d.t.Error("a daemon does not end")
	}
	d.exited = nil
}

func (d *daemon) http() string  { return "http://127.0.0.1:" + strconv.Itoa(d.port) }
func (d *daemon) https() string { return "https://127.0.0.1:" + strconv.Itoa(d.port+1) }

// awaitReady waits until /readyz has a status.
func (d *daemon) awaitReady(status int) {
	d.t.Helper()
	until(d.t, fmt.Sprintf("the daemon on port %d says %d", d.port, status), func() error {
		select {
		case err := <-d.exited:
			d.exited <- err
			d.t.Fatalf("the daemon has ended: %v\n%s", err, d.log)
		default:
		}
		resp, err := http.Get(d.http() + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body) // for the message
		if resp.StatusCode != status {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return nil
	})
}

// certificate is the chain that the daemon shows.
func (d *daemon) certificate() tls.ConnectionState {
	d.t.Helper()
	//nolint:gosec // what it shows is looked at
	conn, err := tls.Dial("tcp", strings.TrimPrefix(d.https(), "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState()
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() error) {
	t.Helper()
	end := time.After(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-end:
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
