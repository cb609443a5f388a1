package archive

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

// Where a process is told to die, and on what.
const (
	crashStep = "CAUASE_TEST_CRASH_STEP"
	crashDB   = "CAUASE_TEST_CRASH_DB"
	crashDir  = "CAUASE_TEST_CRASH_DIR"
)

// TestCrash kills the process at each step of a backup. Each time the old backup is there, the new
// one is whole or not there under its name, and the next attempt is not in the way of the last.
func TestCrash(t *testing.T) {
	if os.Getenv(crashStep) != "" {
		crash(t)
		return
	}
	for _, step := range []string{"create", "write", "flush", "verify", "rename", "sync"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			key, _ := w.user("alice", pki.KeyECDSAP256)
			dir := filepath.Join(t.TempDir(), "b")
			cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
			cmd.Env = append(os.Environ(), crashStep+"="+step, crashDB+"="+w.db, crashDir+"="+dir)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			whole := 0
			for _, name := range names(t, dir) {
				if isTemp(name) {
					continue
				}
				whole++
				open(t, filepath.Join(dir, name), key)
			}
			if want := map[string]int{"sync": 1}[step]; whole != want {
				t.Errorf("%d backups, want %d", whole, want)
			}
			// Its claim stands, and is of a dead one of our place.
			again := w.archive("@daily", func(c *Config) { c.Directory = dir })
			again.poll(t.Context())
			left := names(t, dir)
			if len(left) != 1 || isTemp(left[0]) || strings.Contains(w.log.String(), "level=ERROR") {
				t.Fatalf("then there is: %q\n%s", left, w.log)
			}
			open(t, filepath.Join(dir, left[0]), key)
		})
	}
}

// crash is what the process does that dies.
func crash(t *testing.T) {
	st, err := sqlstore.Open(t.Context(), os.Getenv(crashDB), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st, clock: clock.NewFake(epoch), dir: os.Getenv(crashDir), log: &testkit.Buffer{}}
	a := w.archive("@daily", nil)
	a.taker.step = func(name string) {
		if name == os.Getenv(crashStep) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	a.poll(t.Context())
	t.Fatal("alive")
}
