//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// A process runs in the background until the test ends.
type process struct {
	cmd    *exec.Cmd
	output transcript
	done   chan struct{} // closed when it has ended
	err    error         // valid then
}

func background(t *testing.T, dir string, argv ...string) *process {
	t.Helper()
	p := &process{done: make(chan struct{})}
	ctx, kill := context.WithCancel(context.Background())
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, environment()
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		kill()
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.terminate()
		kill()
		<-p.done
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(argv[0]), p.output.String())
		}
	})
	return p
}

// terminate asks the process to end, and reports whether it has within a while.
func (p *process) terminate() bool {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// A daemon is a certificate authority that runs, ours or the reference's.
type daemon struct {
	*process
	netloc string
	http   string // base URLs
	https  string

	reference bool // it cannot vouch for its HTTPS certificate: our tools have to be told
}

// ours completes a command line of one of our tools that is about d.
func (d *daemon) ours(tool string, args ...string) []string {
	line := []string{filepath.Join(programs.ours, tool)}
	if d.reference {
		line = append(line, "--caucase")
	}
	return append(line, args...)
}

// onPostgreSQL has our daemons keep everything in PostgreSQL. make interop runs twice, so and otherwise.
var onPostgreSQL = os.Getenv("CAUASE_TEST_DB") == "postgres"

var postgres = pgtest.Shared(pgtest.Options{})

// startOurs runs cauased the way it serves reference clients: with RSA keys.
func startOurs(t *testing.T, args ...string) *daemon {
	t.Helper()
	return startOursWith(t, "rsa-2048", args...)
}

func startOursWith(t *testing.T, keyType string, args ...string) *daemon {
	t.Helper()
	args = append(args, "--key-type", keyType)
	if onPostgreSQL && !slices.Contains(args, "--db") {
		args = append(args, "--db", postgres(t).NewDatabase(t))
	}
	if !slices.Contains(args, "--user-auto-approve-count") {
		args = append(args, "--user-auto-approve-count", "1") // as of the reference
	}
	d := start(t, filepath.Join(programs.ours, "cauased"), args...)
	t.Cleanup(func() {
		if !d.terminate() || d.err != nil {
			t.Errorf("cauased did not end well on SIGTERM: %v\n%s", d.err, d.output.String())
		}
	})
	return d
}

// startReference runs caucased. Our clients may not want CORS of it: its first POST /cors
// fails and leaves a file with which it does not start again.
func startReference(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := start(t, filepath.Join(programs.reference, "caucased"), args...)
	d.reference = true
	return d
}

func start(t *testing.T, executable string, args ...string) *daemon {
	t.Helper()
	port := testkit.FreePorts(t, 2)
	d := &daemon{
		netloc: fmt.Sprintf("127.0.0.1:%d", port),
		http:   fmt.Sprintf("http://127.0.0.1:%d", port),
		https:  fmt.Sprintf("https://127.0.0.1:%d", port+1),
	}
	d.process = background(t, t.TempDir(), append([]string{executable, "--netloc", d.netloc}, args...)...)
	d.awaitReady(t)
	return d
}

// awaitReady waits until both ports are open.
func (d *daemon) awaitReady(t *testing.T) {
	t.Helper()
	// The reference opens HTTPS last, after it has made its keys.
	eventually(t, time.Minute, func() string {
		if d.ended() {
			t.Fatalf("%s ended: %v", filepath.Base(d.cmd.Path), d.err)
		}
		response, err := http.Get(d.http + "/cas/crt/ca.crt.pem")
		if err != nil {
			return err.Error()
		}
		response.Body.Close()
		conn, err := net.DialTimeout("tcp", d.https[len("https://"):], time.Second)
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
}

// get fetches what anybody may.
func (d *daemon) get(t *testing.T, path string) []byte {
	t.Helper()
	response, err := http.Get(d.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", path, response.Status, err)
	}
	return body
}
