// Package faults runs a program, counts the system calls by which it changes what lasts, and has the n-th of
// them fail, or the program die there. It does what strace -f -e inject does, with one difference: strace
// counts for each thread, and a program in Go makes its calls on whichever thread is at hand, so that "the
// seventh write" is another one each time. Here they are counted over all threads of a process.
//
// The program that uses this package has to call Serve first thing: the tracer is a process of its own,
// as it waits for all children it has.
package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Kind is what a call does.
type Kind string

// What counts.
const (
	Write   Kind = "write"   // to a file
	Sync    Kind = "sync"    // fsync, fdatasync
	Resize  Kind = "resize"  // ftruncate, fallocate
	Open    Kind = "open"    // to read or to write
	Create  Kind = "create"  // open with O_CREAT
	Rename  Kind = "rename"  // and link
	Remove  Kind = "remove"  // unlink, rmdir
	Mkdir   Kind = "mkdir"   //
	Access  Kind = "access"  // chmod, chown
	Connect Kind = "connect" // to the database
	Send    Kind = "send"    // to the database
	Receive Kind = "receive" // from the database
)

// A Step is one call.
type Step struct {
	Number int // from 1, over all threads
	Kind   Kind
	File   string // relative to the folder that is watched, or where to
}

func (s Step) String() string { return fmt.Sprintf("%d: %s %s", s.Number, s.Kind, s.File) }

// A Fault is what becomes of a step. The zero value lets everything pass.
type Fault struct {
	Step  int           // which
	Kill  bool          // the program dies in place of the call
	Torn  bool          // the program dies when half of a write is done
	Errno syscall.Errno // the call fails, and does nothing
	On    bool          // so do all that follow, of those that can fail in that way
}

func (f Fault) String() string {
	switch {
	case f.Kill:
		return "killed"
	case f.Torn:
		return "killed half way"
	case f.On:
		return name(f.Errno) + " from here on"
	}
	return name(f.Errno)
}

func name(e syscall.Errno) string {
	switch e {
	case syscall.EIO:
		return "EIO"
	case syscall.ENOSPC:
		return "ENOSPC"
	case syscall.EROFS:
		return "EROFS"
	case syscall.EMFILE:
		return "EMFILE"
	case syscall.ECONNREFUSED:
		return "ECONNREFUSED"
	case syscall.ECONNRESET:
		return "ECONNRESET"
	}
	return e.Error()
}

// Possible lists what may become of a step.
func Possible(s Step) []Fault {
	all := []Fault{{Kill: true}}
	fail := func(errors ...syscall.Errno) {
		for _, e := range errors {
			all = append(all, Fault{Errno: e})
		}
	}
	switch s.Kind {
	case Write:
		all = append(all, Fault{Torn: true}, Fault{Errno: syscall.ENOSPC, On: true})
		fail(syscall.EIO, syscall.ENOSPC)
	case Resize:
		fail(syscall.EIO, syscall.ENOSPC)
	case Sync:
		fail(syscall.EIO)
	case Open:
		fail(syscall.EMFILE)
	case Create:
		all = append(all, Fault{Errno: syscall.EROFS, On: true})
		fail(syscall.EMFILE, syscall.ENOSPC)
	case Rename, Mkdir, Remove:
		fail(syscall.EROFS, syscall.EIO)
	case Access:
		fail(syscall.EROFS)
	case Connect:
		fail(syscall.ECONNREFUSED, syscall.EMFILE)
	case Send, Receive:
		fail(syscall.ECONNRESET)
	}
	for i := range all {
		all[i].Step = s.Number
	}
	return all
}

// touches reports whether a fault that goes on concerns a kind of call.
func (f Fault) touches(k Kind) bool {
	switch f.Errno {
	case syscall.ENOSPC: // a full disk
		return k == Write || k == Resize || k == Create || k == Mkdir
	case syscall.EROFS:
		return k == Create || k == Rename || k == Remove || k == Mkdir || k == Access
	}
	return true
}

// Options say what counts, and what becomes of it.
type Options struct {
	Folder string // of which files, without links in it
	Port   int    // of the database on loopback; 0: none
	Armed  bool   // from the beginning; otherwise by Arm
	Fault  Fault
}

// A Process is a program that runs under the tracer.
type Process struct {
	Cmd    *exec.Cmd // of the tracer, whose standard streams the program has
	exited chan struct{}
	err    error

	mu    sync.Mutex
	steps []Step
	hit   *Step
	said  chan string // by the tracer: armed, disarmed
	lost  error
}

// ErrUnsupported means that programs cannot be traced here.
var ErrUnsupported = errors.New("programs cannot be traced here")

const environment = "CAUASE_FAULTS"

// Command prepares to run a program under the tracer.
func Command(o Options, program string, args ...string) (*exec.Cmd, error) {
	if !supported {
		return nil, ErrUnsupported
	}
	folder, err := filepath.EvalSymlinks(o.Folder)
	if err != nil {
		return nil, err
	}
	o.Folder = folder
	order, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{path}, args...)...)
	cmd.Env = append(os.Environ(), environment+"="+string(order))
	return cmd, nil
}

// Start starts what Command has prepared.
func Start(cmd *exec.Cmd) (*Process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	cmd.ExtraFiles = []*os.File{write}
	p := &Process{Cmd: cmd, exited: make(chan struct{}), said: make(chan string, 4)}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	go func() {
		p.listen(read)
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// listen reads what the tracer reports, to its end.
func (p *Process) listen(from *os.File) {
	defer from.Close()
	defer close(p.said)
	for lines := bufio.NewScanner(from); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "step", "hit":
			var s Step
			err := json.Unmarshal([]byte(rest), &s)
			p.mu.Lock()
			switch {
			case err != nil:
				p.lost = err
			case word == "hit":
				p.hit = &s
			default:
				p.steps = append(p.steps, s)
			}
			p.mu.Unlock()
		case "failed":
			p.mu.Lock()
			p.lost = errors.New(rest)
			p.mu.Unlock()
		default:
			p.said <- word
		}
	}
}

// Arm has steps count from now on.
func (p *Process) Arm() error { return p.tell(syscall.SIGUSR1, "armed") }

// Disarm has nothing count any more, and nothing fail.
func (p *Process) Disarm() error { return p.tell(syscall.SIGUSR2, "disarmed") }

func (p *Process) tell(signal syscall.Signal, answer string) error {
	if err := p.Cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case said, open := <-p.said:
		if !open || said != answer {
			return fmt.Errorf("the tracer says %q, not %s", said, answer)
		}
		return nil
	case <-p.exited:
		return errors.New("the program has ended")
	case <-time.After(time.Minute):
		return fmt.Errorf("the tracer is not %s", answer)
	}
}

// Exited is closed when the program is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the program to end. The error is as that of the program itself.
func (p *Process) Wait() error {
	<-p.exited
	return p.err
}

// Killed reports whether the fault has ended the program.
func (p *Process) Killed() bool {
	<-p.exited
	return p.Cmd.ProcessState.ExitCode() == exitKilled
}

// Steps returns what has counted so far, and what was hit. An error means that the tracer has failed.
func (p *Process) Steps() (all []Step, hit *Step, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Step(nil), p.steps...), p.hit, p.lost
}

// exitKilled is what the tracer exits with when the program was killed.
const exitKilled = 137

// Serve does the work of the tracer, if that is what this process was started for, and then does not return.
func Serve() {
	order, asked := os.LookupEnv(environment)
	if !asked {
		return
	}
	var o Options
	report := os.NewFile(3, "report")
	fail := func(err error) {
		fmt.Fprintf(report, "failed %v\n", err)
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(3)
	}
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		fail(err)
	}
	if o.Folder == inside {
		fail(enter(os.Args[1], os.Args[1:]))
	}
	os.Unsetenv(environment)
	code, err := trace(o, report, os.Args[1:])
	if err != nil {
		fail(err)
	}
	os.Exit(code)
}

// inside stands for a folder where a process is told to become the program.
const inside = "\x00"

func tell(to io.Writer, word string, s Step) {
	line, _ := json.Marshal(s) // strings and numbers
	fmt.Fprintf(to, "%s %s\n", word, line)
}
