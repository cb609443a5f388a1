package endtoend

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDaemonSurvivesWhoReadsItsLog: neither a reader of stdout and stderr that has died, nor a terminal that was closed, ends the
// daemon. It says that SIGHUP changes nothing, and ends as it is told to.
func TestDaemonSurvivesWhoReadsItsLog(t *testing.T) {
	dir := t.TempDir()
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binDir, "cauased"), "--netloc", netloc, "--log-level", "debug")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = read.Close() // from now on each line that is logged is a SIGPIPE

	answers := func() {
		t.Helper()
		for expired := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // another process is asked until it answers
			response, err := http.Get("http://" + netloc + "/readyz")
			if err == nil {
				_ = response.Body.Close()
				if response.StatusCode == http.StatusOK {
					return
				}
			}
			select {
			case err := <-exited:
				t.Fatalf("the daemon has ended: %v", err)
			default:
			}
			if time.Now().After(expired) {
				t.Fatalf("no answer: %v", err)
			}
		}
	}
	answers()
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGHUP} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		answers()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-exited; err != nil {
		t.Errorf("told to stop: %v", err)
	}
	// It has stopped in order: the database is one file.
	if left, _ := filepath.Glob(filepath.Join(dir, "*-wal")); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}
