//go:build unix

package updater

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A credential is whom a process runs as.
type credential = syscall.Credential

// runAs has a program run as somebody. A session of its own has no terminal, into which it could type for root.
func runAs(cmd *exec.Cmd, who *credential) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setsid: true}
	return nil
}

// inGroup gives a program a process group of its own, so that it can be ended with all that it has started.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// askToEnd asks the processes of the group to end.
func askToEnd(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }

// kill ends whoever is left of the group.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

// closeToChildren keeps files that this process was started with from its children; those that it has opened
// itself are so anyway.
func closeToChildren() {
	if closeRange(reportsFD) == nil {
		return
	}
	fds, _ := os.ReadDir(openFiles)
	for _, fd := range fds {
		if number, err := strconv.Atoi(fd.Name()); err == nil && number >= reportsFD {
			closeOnExec(number)
		}
	}
}
