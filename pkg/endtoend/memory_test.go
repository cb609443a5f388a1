//go:build linux

package endtoend

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user that daemons of these tests run as, if the tests are root's.
const nobody = 65534

// Keys in a daemon's memory are for nobody else: not for other processes of its user, nor for a core dump, whatever the limits that it was
// started with.
func TestMemoryIsKeptPrivate(t *testing.T) {
	dir, err := os.MkdirTemp("", "cauase-memory-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := func(cmd *exec.Cmd) *exec.Cmd {
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		return cmd
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	// The tools are in a folder of the tests' own user.
	program := filepath.Join(dir, "cauased")
	if err := copyProgram(filepath.Join(releasedDir, "cauased"), program); err != nil {
		t.Fatal(err)
	}
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{netloc: netloc, exited: make(chan struct{})}
	d.cmd = as(exec.Command("sh", "-c", `ulimit -S -c "$(ulimit -H -c)"; exec "$0" --netloc "$1"`, program, netloc))
	d.cmd.Dir, d.cmd.Env = dir, append(os.Environ(), "GOTRACEBACK=crash")
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.exited) }()
	defer d.kill()
	if err := d.waitReady(false); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", d.cmd.Process.Pid)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		t.Errorf("core dumps are limited to other than nothing:\n%s", limits)
	}
	if status, err := as(exec.Command("cat", proc+"status")).Output(); err != nil || !strings.Contains(string(status), "VmRSS") {
		t.Errorf("status, which monitoring reads: %v", err)
	}
	for _, file := range []string{"mem", "environ", "maps", "auxv"} {
		out, err := as(exec.Command("dd", "if="+proc+file, "bs=1", "count=1")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ermission denied") {
			t.Errorf("another process of the same user reads %s: %v, %s", file, err, out)
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	if status := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.CoreDump() {
		t.Errorf("it ended by %v, with a core dump: %v", d.cmd.ProcessState, status.CoreDump())
	}
	if cores, _ := filepath.Glob(dir + "/core*"); len(cores) > 0 {
		t.Errorf("there are %v", cores)
	}
}

// copyProgram copies a program to where everybody can run it.
func copyProgram(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}
