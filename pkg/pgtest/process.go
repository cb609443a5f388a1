package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unprivileged is who runs the server, which refuses to run as root; nil is ourselves.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("there is no user but root, as whom PostgreSQL does not run")
}

// temporary makes a folder for a cluster. Sockets are in it, whose paths must be short.
func temporary(who *syscall.Credential) (string, error) {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "cauase-pg-")
	if err != nil || who == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(who.Uid), int(who.Gid))
}

// A command collects what a program says for its error.
type command struct{ *exec.Cmd }

// program prepares one of PostgreSQL's programs, to be run by who runs the server.
func (c *Cluster) program(name string, args ...string) command {
	return c.command(filepath.Join(c.bin, name), args...)
}

func (c *Cluster) command(path string, args ...string) command {
	cmd := exec.Command(path, args...)
	cmd.Dir = c.dir // the tests' folder may be closed to that user
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.who}
	return command{cmd}
}

func (c command) Run() error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, out)
	}
	return nil
}

// write makes a file that only the server may read.
func (c *Cluster) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return c.own(path)
}

func (c *Cluster) own(path string) error {
	if c.who == nil {
		return nil
	}
	return os.Chown(path, int(c.who.Uid), int(c.who.Gid))
}

func (c *Cluster) extend(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A watchdog is a process that ends a cluster's servers and removes its folder once it is
// released, or once the process of the tests is gone, however that ended.
type watchdog struct {
	cmd   *exec.Cmd
	leash io.Closer // its standard input, closed with our process at the latest
}

// A watchdog's script; $1 is the folder. SIGQUIT ends a server at once. Its children notice.
const watchdogScript = `trap '' HUP INT TERM
read -r line
for file in "$1"/*/postmaster.pid "$1"/*.pid; do
	[ -e "$file" ] || continue
	pid=$(head -n 1 "$file")
	kill -QUIT "$pid" 2>/dev/null || continue
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null
done
rm -rf "$1" 2>/dev/null || { sleep 1; rm -rf "$1"; }
`

func watch(dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "cauase-pg-watchdog", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &watchdog{cmd: cmd, leash: leash}, nil
}

// release lets it do its work, and waits.
func (w *watchdog) release() error {
	return errors.Join(w.leash.Close(), w.cmd.Wait())
}

// childrenOf lists the processes that a process has started, where the system tells.
func childrenOf(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is fine
	var children []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		// "pid (name) state ppid …"; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // of digits
			children = append(children, pid)
		}
	}
	return children
}

// gone waits until a process that is not ours to wait for has ended.
func gone(pid int, limit time.Duration) bool {
	for range limit / look {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		time.Sleep(look)
	}
	return false
}
