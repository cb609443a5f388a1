package adversaries

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// A daemon is a running cauased.
type daemon struct {
	port   int
	cmd    *exec.Cmd
	stderr testkit.Buffer
	exited chan struct{}
	plain  *http.Client
}

// launch runs cauased of a folder, and does not wait until it is ready.
func (w *world) launch(bin, dir string, port int, dsn string, args ...string) *daemon {
	w.Helper()
	d := &daemon{port: port, exited: make(chan struct{}), plain: &http.Client{Timeout: 10 * time.Second}}
	d.cmd = exec.Command(filepath.Join(bin, "cauased"), append([]string{
		"--netloc", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "--server-key", filepath.Join(dir, "server.pem"),
		"--cors-key-store", filepath.Join(dir, "cors.key"), "--log-level", "warn",
	}, args...)...)
	d.cmd.Dir, d.cmd.Stderr, d.cmd.Stdout = dir, &d.stderr, io.Discard
	d.cmd.Env = append(os.Environ(), "CAUASED_DB="+dsn, "GORACE=atexit_sleep_ms=10")
	if err := d.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // what came of it is in the state
		close(d.exited)
	}()
	w.Cleanup(d.kill)
	return d
}

func (w *world) start(bin, dir string, port int, dsn string, args ...string) *daemon {
	w.Helper()
	d := w.launch(bin, dir, port, dsn, args...)
	if status, body := d.await(w); status != http.StatusOK {
		w.Fatalf("the daemon does not get ready: %d %s\n%s", status, body, d.stderr.String())
	}
	return d
}

func (d *daemon) url() string    { return "http://127.0.0.1:" + strconv.Itoa(d.port) }
func (d *daemon) secure() string { return "https://127.0.0.1:" + strconv.Itoa(d.port+1) }

// await asks until the daemon is ready, or has ended, or patience has.
func (d *daemon) await(t testing.TB) (status int, body string) {
	for expired := time.After(patience); ; {
		if resp, err := d.plain.Get(d.url() + "/readyz"); err != nil {
			status, body = 0, err.Error()
		} else {
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if status, body = resp.StatusCode, string(data); status == http.StatusOK {
				return status, body
			}
		}
		select {
		case <-d.exited:
			return 0, "the daemon has ended"
		case <-expired:
			return status, body
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Signal(os.Kill)
	<-d.exited
}

// stop ends the daemon as an operator does.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(patience):
		t.Error("the daemon does not end on SIGTERM")
		d.kill()
	}
}

func (d *daemon) descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// run runs a tool to its end.
func run(t testing.TB, dir, bin, name string, args ...string) (code int, text string) {
	t.Helper()
	return runWith(t, dir, nil, filepath.Join(bin, name), args...)
}

func runWith(t testing.TB, dir string, env []string, path string, args ...string) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// tool is the answer of a tool.
func tool(t testing.TB, dir, name string, args ...string) answer {
	t.Helper()
	code, text := run(t, dir, plain, name, args...)
	return answer{fmt.Sprint("exit ", code), text}
}
