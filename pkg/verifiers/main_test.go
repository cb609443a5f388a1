// Package verifiers tests what software that shares no code with ours makes of two generations of a CA, with a revocation
// list of each: servers and clients are really started, and the table in docs/verifiers.md says what comes of it.
package verifiers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// patience is how long anything is waited for, as machines that run tests are busy.
const patience = time.Minute

func TestMain(m *testing.M) {
	testkit.Parallel(4)
	// Where Debian keeps programs for administrators.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	os.Exit(m.Run())
}

// run runs a program to its end.
func run(dir string, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out.String())
	}
	return out.String(), nil
}

// A process is a server or a client in the background.
type process struct {
	cmd   *exec.Cmd
	out   testkit.Buffer
	ended chan struct{}
}

// background starts a program, as another user if who is not nil. It ends with the test, or by stop.
func background(t *testing.T, dir string, who *syscall.Credential, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.stop)
	return p
}

// stop ends the process.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	<-p.ended
	late.Stop()
}

// ready waits until up succeeds, or the process has ended, which is an error.
func (p *process) ready(t *testing.T, up func() error) error {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := up()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it has ended: %s", p.out.String())
		case <-deadline:
			t.Fatalf("%s is not ready: %v\n%s", filepath.Base(p.cmd.Path), err, p.out.String())
		case <-time.After(20 * time.Millisecond): // what is awaited happens in another process
		}
	}
}

// says waits for one of texts in what the process says, and returns which came.
func (p *process) says(t *testing.T, texts ...string) string {
	t.Helper()
	var found string
	err := p.ready(t, func() error {
		for _, text := range texts {
			if strings.Contains(p.out.String(), text) {
				found = text
				return nil
			}
		}
		return errors.New("it has said nothing yet")
	})
	if err != nil {
		return ""
	}
	return found
}

func write(t *testing.T, path string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	return path
}
