package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const supported = true

// calls are those at which the kernel stops the program.
var calls = map[uint64]Kind{
	unix.SYS_WRITE: Write, unix.SYS_PWRITE64: Write, unix.SYS_WRITEV: Write, unix.SYS_PWRITEV: Write, unix.SYS_PWRITEV2: Write,
	unix.SYS_SENDFILE: Write, unix.SYS_COPY_FILE_RANGE: Write,
	unix.SYS_FSYNC: Sync, unix.SYS_FDATASYNC: Sync, unix.SYS_SYNC_FILE_RANGE: Sync, unix.SYS_SYNCFS: Sync,
	unix.SYS_FTRUNCATE: Resize, unix.SYS_FALLOCATE: Resize, unix.SYS_TRUNCATE: Resize,
	unix.SYS_OPEN: Open, unix.SYS_OPENAT: Open,
	unix.SYS_RENAME: Rename, unix.SYS_RENAMEAT: Rename, unix.SYS_RENAMEAT2: Rename, unix.SYS_LINK: Rename, unix.SYS_LINKAT: Rename,
	unix.SYS_SYMLINK: Rename, unix.SYS_SYMLINKAT: Rename,
	unix.SYS_UNLINK: Remove, unix.SYS_UNLINKAT: Remove, unix.SYS_RMDIR: Remove,
	unix.SYS_MKDIR: Mkdir, unix.SYS_MKDIRAT: Mkdir,
	unix.SYS_FCHMOD: Access, unix.SYS_CHMOD: Access, unix.SYS_FCHMODAT: Access, unix.SYS_FCHOWN: Access, unix.SYS_CHOWN: Access, unix.SYS_FCHOWNAT: Access,
	unix.SYS_CONNECT: Connect,
}

// received are those that count besides when there is a database to talk to.
var received = map[uint64]Kind{unix.SYS_READ: Receive}

// enter makes this process, which the tracer has started, the program: with a filter that stops it at the calls, and at no
// others, as a program in Go makes a great many of others.
func enter(path string, argv []string) error {
	runtime.LockOSThread()
	numbers := make([]uint64, 0, len(calls)+1)
	for n := range calls {
		numbers = append(numbers, n)
	}
	if os.Getenv(envReceives) != "" {
		for n := range received {
			numbers = append(numbers, n)
		}
	}
	os.Unsetenv(environment)
	os.Unsetenv(envReceives)
	// load the number of the call; for each of ours: if equal, stop
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for i, n := range numbers {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jt: uint8(len(numbers) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return unix.Exec(path, argv, os.Environ())
}

const envReceives = environment + "_RECEIVES"

// A tracer follows all threads of a program and of its children.
type tracer struct {
	options Options
	report  io.Writer
	main    int
	armed   atomic.Bool
	count   int            // of steps
	sockets map[string]int // to the database: links of descriptors
	dying   map[int]bool   // threads that make half of a write
	hit     bool
	ids     files
}

func trace(o Options, report io.Writer, argv []string) (code int, err error) {
	runtime.LockOSThread() // the one that traces is a thread
	t := &tracer{options: o, report: report, sockets: map[string]int{}, dying: map[int]bool{}, ids: files{}}
	t.armed.Store(o.Armed)
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environment+`={"Folder":"\u0000"}`)
	if o.Port != 0 {
		cmd.Env = append(cmd.Env, envReceives+"=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t.main = cmd.Process.Pid
	go t.hear(signals)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.main, &status, syscall.WALL, nil); err != nil {
		return 0, err
	}
	const follow = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(t.main, follow); err != nil {
		return 0, err
	}
	if err := syscall.PtraceCont(t.main, 0); err != nil {
		return 0, err
	}
	return t.follow()
}

// hear takes orders, and passes on to the program what is for it.
func (t *tracer) hear(signals <-chan os.Signal) {
	for s := range signals {
		switch s {
		case syscall.SIGUSR1:
			t.armed.Store(true)
			fmt.Fprintln(t.report, "armed")
		case syscall.SIGUSR2:
			t.armed.Store(false)
			fmt.Fprintln(t.report, "disarmed")
		default:
			_ = syscall.Kill(t.main, s.(syscall.Signal)) // it may have ended
		}
	}
}

// follow waits for what the program does, until it ends.
func (t *tracer) follow() (code int, err error) {
	for {
		var status syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case tid == t.main && status.Exited():
			return status.ExitStatus(), nil
		case tid == t.main && status.Signaled():
			return 128 + int(status.Signal()), nil
		case !status.Stopped():
			continue // a thread has ended, or a child
		}
		if err := t.stopped(tid, status); err != nil && !errors.Is(err, syscall.ESRCH) { // killed meanwhile
			return 0, err
		}
	}
}

func (t *tracer) stopped(tid int, status syscall.WaitStatus) error {
	const event = 8
	switch stop := status.StopSignal(); {
	case stop == syscall.SIGTRAP|0x80: // a call has returned
		if t.dying[tid] {
			return syscall.Kill(t.main, syscall.SIGKILL)
		}
		return syscall.PtraceCont(tid, 0)
	case stop == syscall.SIGTRAP && status>>(8+event) != 0:
		if int(status>>(8+event)) == unix.PTRACE_EVENT_SECCOMP {
			return t.called(tid)
		}
		return syscall.PtraceCont(tid, 0)
	case stop == syscall.SIGSTOP: // a new thread begins with that
		return syscall.PtraceCont(tid, 0)
	default:
		return syscall.PtraceCont(tid, int(stop))
	}
}

// called decides about a call that is about to be made.
func (t *tracer) called(tid int) error {
	if !t.armed.Load() && t.options.Port == 0 { // connections are noted in any case
		return syscall.PtraceCont(tid, 0)
	}
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	step, counts := t.judge(tid, &regs)
	if !counts || !t.armed.Load() {
		return syscall.PtraceCont(tid, 0)
	}
	t.count++
	step.Number = t.count
	tell(t.report, "step", step)
	f := t.options.Fault
	now := step.Number == f.Step
	if !now && !(f.On && t.hit && f.touches(step.Kind)) || f.Step == 0 {
		return syscall.PtraceCont(tid, 0)
	}
	if now {
		t.hit = true
		tell(t.report, "hit", step)
	}
	switch {
	case f.Kill:
		return syscall.Kill(t.main, syscall.SIGKILL)
	case f.Torn:
		t.dying[tid] = true
		if step.Kind == Write && regs.Rdx > 1 {
			regs.Rdx /= 2
			if err := syscall.PtraceSetRegs(tid, &regs); err != nil {
				return err
			}
		}
		return syscall.PtraceSyscall(tid, 0)
	}
	regs.Orig_rax = ^uint64(0) // no call
	regs.Rax = uint64(-int64(f.Errno))
	if err := syscall.PtraceSetRegs(tid, &regs); err != nil {
		return err
	}
	return syscall.PtraceCont(tid, 0)
}
