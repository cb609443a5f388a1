package updater

import (
	"errors"
	"io/fs"
	"os/exec"
)

// A credential is whom a process runs as.
type credential struct {
	Uid, Gid uint32 //nolint:revive // as in package syscall
	Groups   []uint32
}

// runAs is for systems on which files belong to users with numbers.
func runAs(*exec.Cmd, *credential) error {
	return errors.New("an owner cannot be given on Windows: run an agent as that user")
}

// inGroup does nothing: what a program has started outlives it.
func inGroup(*exec.Cmd) {}

// askToEnd does nothing: there are no signals.
func askToEnd(*exec.Cmd) {}

// kill ends the program.
func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func closeOnExec(int) {}

func closeToChildren() {}

func userIDs() (real, effective, saved int) { return -1, -1, -1 }

// identityOf tells nothing here: size and time of the last write have to do.
func identityOf(fs.FileInfo) (ino uint64, ctime int64) { return 0, 0 }
