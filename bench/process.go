package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a server that runs, or a program under observation.
type process struct {
	name string
	pid  int
	tree bool // what it has started counts, too

	cmd    *exec.Cmd
	log    string // file with what it has said
	exited chan error
}

// start runs a program in a folder. What it says goes to a file, as it would to a journal.
func start(dir, program string, args, environment []string) (*process, error) {
	path := filepath.Join(dir, filepath.Base(program)+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), environment...)
	// It ends with this program, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: filepath.Base(program), pid: cmd.Process.Pid, cmd: cmd, log: path, exited: make(chan error, 1)}
	go func() { p.exited <- cmd.Wait() }()
	return p, nil
}

// stop has it end in order.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.exited:
		return nil
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not end on SIGTERM", p.name)
	}
}

// await looks for a condition until it holds, or the program ends.
func (p *process) await(ctx context.Context, condition func() error) error {
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case exit := <-p.exited:
			p.exited <- exit
			return fmt.Errorf("%s has ended: %v\n%s", p.name, exit, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w\n%s", p.name, err, p.lastWords())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (p *process) lastWords() string {
	said, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(said[max(0, len(said)-3000):])
}

// ticks is how many units of processor time a second has in /proc, on Linux for all programs.
const ticks = 100

// cpu is the time that the process has spent on processors so far, with the children of a tree, also those that ended.
func (p *process) cpu() (time.Duration, error) {
	total, err := processCPU(p.pid)
	if err != nil || !p.tree {
		return total, err
	}
	ended, err := endedCPU(p.pid)
	if err != nil {
		return 0, err
	}
	total += ended
	children, err := childrenOf(p.pid)
	if err != nil {
		return 0, err
	}
	for _, child := range children {
		used, err := processCPU(child)
		if err != nil {
			continue // ended, and counted by its parent from now on
		}
		total += used
	}
	return total, nil
}

// processCPU reads the clock of a process that counts while any of its threads computes (clock_getcpuclockid(3)). It counts
// nanoseconds, and /proc hundredths of a second.
func processCPU(pid int) (time.Duration, error) {
	const scheduled = 2
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduled), &t)
	return time.Duration(t.Nano()), err
}

// statOf reads /proc/PID/stat from the state on: the name before it may hold anything.
func statOf(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// endedCPU is what the children of a process have spent that have ended.
func endedCPU(pid int) (time.Duration, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, field := range fields[13:15] { // cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// machineCPU is what all processors have spent on anything, with what a hypervisor has kept from them.
func machineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum int64
	for i, field := range fields[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 {
			sum += n
		}
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

func childrenOf(parent int) (children []int, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if fields, err := statOf(pid); err == nil && fields[1] == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	return children, nil
}

func cpuOf(servers []*process) (used []time.Duration, err error) {
	for _, p := range servers {
		d, err := p.cpu()
		if err != nil {
			return nil, err
		}
		used = append(used, d)
	}
	return used, nil
}

// Memory is what a process takes, in MiB.
type memory struct{ resident, proportional, peak float64 }

// memory reads it from /proc.
func (p *process) memory() (m memory, err error) {
	status, err := memoryFields(p.pid, "status")
	if err != nil {
		return m, err
	}
	rollup, err := memoryFields(p.pid, "smaps_rollup")
	return memory{status["VmRSS"], rollup["Pss"], status["VmHWM"]}, err
}

// memoryFields reads the lines of a file that say how many kB something takes.
func memoryFields(pid int, file string) (map[string]float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 2 && fields[1] == "kB" {
			kB, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return nil, err
			}
			found[name] = kB / 1024
		}
	}
	return found, nil
}

// freePorts returns the first of so many ports in a row that nobody has. They lie below those of outgoing connections.
func freePorts(count int) (int, error) {
	for first := 12_000 + os.Getpid()%5_000*2; first+count < 31_000; first += count {
		if allFree(first, count) {
			return first, nil
		}
	}
	return 0, errors.New("no ports are free")
}

func allFree(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
