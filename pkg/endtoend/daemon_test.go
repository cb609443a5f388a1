package endtoend

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"cauase/pkg/testkit"
)

// deadline is how long anything is waited for. It is long because machines that run tests
// are busy; nothing waits that long unless something is broken.
const deadline = time.Minute

// Ports are taken from below those the system gives to connections and listeners that do
// not care, and each only once in a process.
const firstPort, lastPort = 12000, 31000

var portCursor atomic.Int64

func init() { portCursor.Store(int64(rand.IntN((lastPort-firstPort)/2)) * 2) }

// freeNetloc finds a loopback address with two successive free ports.
func freeNetloc() (string, error) {
	for range 1000 {
		port := firstPort + int(portCursor.Add(2))%(lastPort-firstPort)
		if free(port) && free(port+1) {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
		}
	}
	return "", errors.New("no two successive ports are free")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// A daemon is a running cauased.
type daemon struct {
	netloc string
	cmd    *exec.Cmd
	stdout testkit.Buffer
	stderr testkit.Buffer
	exited chan struct{} // closed when the process is gone
}

// startDaemon runs cauased in dir and returns once it reports that it is ready.
func startDaemon(dir, netloc string, env []string, args ...string) (*daemon, error) {
	return startDaemonOf(binDir, dir, netloc, env, false, args...)
}

// startDaemonOf runs the cauased of a folder. One that is locked has to answer, and need not be ready.
func startDaemonOf(bin, dir, netloc string, env []string, locked bool, args ...string) (*daemon, error) {
	d := &daemon{netloc: netloc, exited: make(chan struct{})}
	d.cmd = exec.Command(bin+"/cauased", append([]string{"--netloc", netloc}, args...)...)
	d.cmd.Dir, d.cmd.Env = dir, env
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.cmd.Wait() // the state is in d.cmd
		close(d.exited)
	}()
	if err := d.waitReady(locked); err != nil {
		d.kill()
		return nil, fmt.Errorf("%w\nstderr of cauased:\n%s", err, d.stderr.String())
	}
	return d, nil
}

func (d *daemon) url() string { return "http://" + d.netloc }

// reload sends SIGHUP, and waits until something is logged that was not before.
func (d *daemon) reload(pattern string) error {
	before := len(d.stderr.String())
	logged, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for expired := time.After(deadline); ; {
		if text := d.stderr.String()[before:]; logged.MatchString(text) {
			return nil
		}
		select {
		case <-expired:
			return fmt.Errorf("not logged: %s\n%s", pattern, d.stderr.String()[before:])
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// waitReady polls, because nothing tells from outside when a process begins to listen.
func (d *daemon) waitReady(locked bool) error {
	expired := time.After(deadline)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if resp, err := client.Get(d.url() + "/readyz"); err == nil {
			said, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			// Its output comes through a pipe, with a delay.
			if (resp.StatusCode == http.StatusOK || locked || strings.Contains(string(said), "the private keys are locked")) && strings.Contains(d.stdout.String(), "listening:") {
				return nil
			}
		}
		select {
		case <-d.exited:
			return fmt.Errorf("cauased has ended: %v", d.cmd.ProcessState)
		case <-expired:
			return errors.New("cauased does not get ready")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop ends the daemon by a signal. It has to exit with 0.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.exited:
	case <-time.After(deadline):
		d.kill()
		return errors.New("cauased does not end on SIGTERM")
	}
	if !d.cmd.ProcessState.Success() {
		return fmt.Errorf("cauased: %v after SIGTERM\nstderr:\n%s", d.cmd.ProcessState, d.stderr.String())
	}
	return nil
}

// kill ends the daemon at once, and waits until its sockets and locks are gone.
func (d *daemon) kill() {
	_ = d.cmd.Process.Signal(os.Kill)
	<-d.exited
}

func (d *daemon) running() bool {
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}
