package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// TestDaemonSurvivesWhoReadsItsLog: neither a reader of stdout and stderr that has died, nor a terminal that was closed, ends the
// daemon. Without a configuration file SIGHUP changes nothing, and it ends as it is told to.
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

// TestTwoSignalsAtOnce: told twice by the same command, the daemon finishes what it has begun, and says that it has stopped.
func TestTwoSignalsAtOnce(t *testing.T) {
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	var log testkit.Buffer
	cmd := exec.Command(filepath.Join(binDir, "cauased"), "--netloc", netloc)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	wait := func(what string) {
		t.Helper()
		select {
		case <-log.Contains(what):
		case <-time.After(time.Minute):
			t.Fatalf("the log does not say %q:\n%s", what, &log)
		}
	}
	wait("service CA:")
	// A request whose body is under way: that it is being read shows in the go-ahead.
	c, err := net.Dial("tcp", netloc)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprintf(c, "PUT /cas/csr HTTP/1.1\r\nHost: %s\r\nContent-Type: application/pkcs10\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", netloc)
	check(t, err)
	answers := bufio.NewReader(c)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	for range 3 {
		check(t, cmd.Process.Signal(syscall.SIGTERM))
		time.Sleep(time.Millisecond) // lest the kernel takes them for one
	}
	wait("told to stop: ")
	_, err = c.Write([]byte("junk"))
	check(t, err)
	if rest, err := io.ReadAll(answers); err != nil || !strings.Contains(string(rest), "HTTP/1.1 400 ") {
		t.Errorf("the request under way was answered with %q, %v", rest, err)
	}
	if err := <-exited; err != nil {
		t.Errorf("the daemon: %v", err)
	}
	if text := log.String(); !strings.Contains(text, "msg=stopped\n") || strings.Contains(text, "cut off") {
		t.Errorf("it says:\n%s", text)
	}
}
