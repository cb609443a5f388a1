// Package flood lets a crowd loose on the real daemon, from many addresses of the loopback network, and looks
// at what that costs. What is asserted is memory, and that others are served; time is printed.
package flood

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
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

	"cauase/pkg/testkit"
)

// binary is the daemon under test.
var binary string

// binaryVariable names a binary to test in place of the one that is built.
const binaryVariable = "CAUASE_FLOOD_BINARY"

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if binary = os.Getenv(binaryVariable); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "cauase-flood-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Without the race detector, which takes several times the memory.
	if err := testkit.BuildReleased(dir, map[string]string{"cauased": "cauased"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "cauased")
	return m.Run()
}

// deadline is how long anything is waited for. Nothing takes that long unless something is broken.
const deadline = time.Minute

// A target is a daemon that runs.
type target struct {
	t           *testing.T
	http, https string // addresses
	dir         string
	pid         int
	log         testkit.Buffer
}

// start runs a daemon on the database in dir, if there is one, until the test ends. It may open so many
// files; 0: as many as we.
func start(t *testing.T, dir string, files uint64, args ...string) *target {
	t.Helper()
	port := testkit.FreePorts(t, 2)
	d := &target{t: t, dir: dir, http: address(port), https: address(port + 1)}
	args = append([]string{"--netloc", d.http}, args...)
	cmd := exec.Command(binary, args...)
	if files > 0 {
		cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh", binary}, args...)...)
	}
	cmd.Dir, cmd.Stderr = dir, &d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	d.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		err := <-exited
		if state := cmd.ProcessState.Sys().(syscall.WaitStatus); state.Signal() != syscall.SIGKILL {
			t.Errorf("the daemon has ended by itself: %v\n%s", err, tail(d.log.String()))
		}
	})
	// The daemon is another process, and is asked until it says that it is ready.
	for expired := time.Now().Add(deadline); ; time.Sleep(10 * time.Millisecond) {
		if r, err := d.get("127.0.0.1", "/readyz"); err == nil && r == http.StatusOK {
			return d
		} else if time.Now().After(expired) {
			t.Fatalf("the daemon does not get ready: %v\n%s", err, tail(d.log.String()))
		}
	}
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func tail(s string) string { return s[max(0, len(s)-4000):] }

// memory is what the process has in memory now, and the most that it ever had, in bytes.
func (d *target) memory() (now, peak int64) {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	if err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseInt(strings.Fields(value + " 0")[0], 10, 64)
		switch name {
		case "VmRSS":
			now = kib << 10
		case "VmHWM":
			peak = kib << 10
		}
	}
	return now, peak
}

// budget is what a daemon may have in memory, whatever strangers do, beside three copies of its largest list.
const budget = 128 << 20

// stayedSmall fails the test if the daemon has ever had more in memory than it may.
func (d *target) stayedSmall(list int64) {
	d.t.Helper()
	now, peak := d.memory()
	d.t.Logf("memory: %.1f MiB, at most %.1f MiB, of %.1f", mib(now), mib(peak), mib(budget+3*list))
	if peak > budget+3*list {
		d.t.Errorf("the daemon has had %.1f MiB in memory, which must stay below %.1f", mib(peak), mib(budget+3*list))
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// from dials from an address of the loopback network.
func from(ip string) *net.Dialer {
	return &net.Dialer{Timeout: deadline, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
}

// crowd returns the n-th of many addresses.
func crowd(n int) string { return fmt.Sprintf("127.1.%d.%d", n/250, n%250+1) }

// client returns a client at an address that opens a connection for each request.
func client(ip string) *http.Client {
	return &http.Client{Timeout: deadline, Transport: &http.Transport{
		DialContext: from(ip).DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // whose it is does not matter here
	}}
}

func (d *target) get(ip, path string) (int, error) { return d.do(ip, http.MethodGet, path, nil) }

func (d *target) do(ip, method, path string, body []byte) (int, error) {
	r, err := http.NewRequest(method, "http://"+d.http+path, bytes.NewReader(body)) //nolint:noctx // of a test
	if err != nil {
		return 0, err
	}
	response, err := client(ip).Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// An honest client asks again and again, from an address of its own, until told to end.
type honest struct {
	asked, failed atomic.Int64
	slowest       atomic.Int64 // in nanoseconds
	last          atomic.Value // of the failures, as text
	end           func()
}

// honest begins to ask by f.
func (d *target) honest(f func() error) *honest {
	h := &honest{}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			began := time.Now()
			err := f()
			h.asked.Add(1)
			h.slowest.Store(max(h.slowest.Load(), int64(time.Since(began))))
			if err != nil {
				h.failed.Add(1)
				h.last.Store(err.Error())
			}
		}
	})
	h.end = sync.OnceFunc(func() { close(done); running.Wait() })
	d.t.Cleanup(h.end)
	return h
}

// served fails the test unless every request was answered.
func (h *honest) served(t *testing.T, who string) {
	t.Helper()
	h.end()
	t.Logf("%s: %d requests, the slowest took %v", who, h.asked.Load(), time.Duration(h.slowest.Load()))
	if h.asked.Load() == 0 || h.failed.Load() > 0 {
		t.Errorf("%s: %d of %d requests failed: %v", who, h.failed.Load(), h.asked.Load(), h.last.Load())
	}
}

// stranger is an honest one who asks for what everybody may see.
func (d *target) stranger() *honest {
	return d.honest(func() error {
		status, err := d.get("127.0.0.9", "/cas/crt/ca.crt.pem")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}

// scale is how much more there is of everything in a long run.
func scale() int {
	if os.Getenv("CAUASE_FLOOD") == "long" {
		return 10
	}
	return 1
}
