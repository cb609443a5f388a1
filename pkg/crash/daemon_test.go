package crash

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/faults"
)

// A daemon is a running cauased, under the tracer or not.
type daemon struct {
	port    int
	cmd     *exec.Cmd
	process *faults.Process // nil: it is not traced
	log     *testkit.Buffer
	exited  <-chan struct{}
}

// options are those of all daemons here.
func options(port int, more []string) []string {
	return slices.Concat([]string{
		"--netloc", netloc, "--bind", "127.0.0.1", "--base-port", strconv.Itoa(port),
		"--user-auto-approve-count", "1", "--write-rate", "0", "--handshake-rate", "0", "--log-level", "warn",
	}, more)
}

// startDaemon starts one that is not traced, and waits until it is ready.
func startDaemon(t testing.TB, dir, database string, more ...string) *daemon {
	t.Helper()
	d := &daemon{port: testkit.FreePorts(t, 2), log: &testkit.Buffer{}}
	d.cmd = exec.Command(cauased, options(d.port, more)...)
	d.cmd.Dir, d.cmd.Env, d.cmd.Stdout, d.cmd.Stderr = dir, environment(dir, database), d.log, d.log
	check(t, d.cmd.Start())
	exited := make(chan struct{})
	d.exited = exited
	go func() {
		_ = d.cmd.Wait() // the state is in cmd
		close(exited)
	}()
	t.Cleanup(d.kill)
	if err := d.awaitReady(); err != nil {
		t.Fatalf("the daemon does not start: %v\n%s", err, d.log)
	}
	return d
}

// traceDaemon starts one under the tracer, and does not wait.
func traceDaemon(t testing.TB, dir, database string, o faults.Options, more ...string) *daemon {
	t.Helper()
	d := &daemon{port: testkit.FreePorts(t, 2), log: &testkit.Buffer{}}
	cmd, err := faults.Command(o, cauased, options(d.port, more)...)
	check(t, err)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, d.log, d.log
	cmd.Env = append(environment(dir, database), cmd.Env[len(cmd.Env)-1])
	d.process, err = faults.Start(cmd)
	check(t, err)
	d.cmd, d.exited = cmd, d.process.Exited()
	t.Cleanup(d.kill)
	return d
}

// errEnded means that the daemon has ended.
var errEnded = errors.New("the daemon has ended")

// awaitReady polls, because nothing tells from outside when a process begins to listen.
func (d *daemon) awaitReady() error {
	last := errors.New("it does not answer")
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for expired := time.After(patience); ; {
		if resp, err := c.Get(d.url() + "/readyz"); err == nil {
			body, _ := io.ReadAll(resp.Body) // for the message
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Errorf("%s: %s", resp.Status, body)
		}
		select {
		case <-d.exited:
			return errEnded
		case <-expired:
			return fmt.Errorf("the daemon does not get ready: %w", last)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *daemon) url() string { return "http://127.0.0.1:" + strconv.Itoa(d.port) }

func (d *daemon) client(t testing.TB, authority client.AuthorityName) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: d.url(), Authority: authority, Clock: clock.System(), UserAgent: "crash", Timeout: patience})
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

func (d *daemon) running() bool {
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// stop ends it by a signal. It has to exit with 0.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.exited:
	case <-time.After(patience):
		d.kill()
		return errors.New("the daemon does not end on SIGTERM")
	}
	if !d.cmd.ProcessState.Success() {
		return fmt.Errorf("the daemon ends with %v on SIGTERM\n%s", d.cmd.ProcessState, d.log)
	}
	return nil
}

// kill ends it at once, if it runs.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // the tracer takes the daemon with it
	<-d.exited
}

// said checks what it has said for what it must never say.
func (d *daemon) said(t testing.TB) {
	t.Helper()
	if text := d.log.String(); strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") {
		t.Errorf("the daemon said:\n%s", text)
	}
}
