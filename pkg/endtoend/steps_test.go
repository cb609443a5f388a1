package endtoend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A step is something that a program has done to a file: what, to which one, and for which time.
type step struct {
	does string
	file string
	time int
}

func (s step) String() string { return fmt.Sprintf("%s %s, %d", s.does, s.file, s.time) }

// doing are the events by which the kernel tells of steps after which something else is left behind (inotify(7)).
var doing = map[uint32]string{
	syscall.IN_CREATE: "makes", syscall.IN_MODIFY: "writes", syscall.IN_MOVED_TO: "renames to", syscall.IN_DELETE: "removes",
}

// changing is what names of temporary files have that is another thing each time.
var changing = regexp.MustCompile(`[0-9A-Z]{4,}`)

// watchSteps runs a program, which works in a folder, and calls took for each step right after it was made. It
// returns when the program has ended.
func watchSteps(t *testing.T, cmd *exec.Cmd, folder string, took func(step)) error {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // which waits as the runtime does for sockets
	defer events.Close()
	mask := uint32(0)
	for event := range doing {
		mask |= event
	}
	if _, err := syscall.InotifyAddWatch(fd, folder, mask); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		// What has happened until now can be read at once; what is not there does not come.
		_ = events.SetReadDeadline(time.Now())
		ended <- err
	}()
	times := map[step]int{}
	buffer := make([]byte, 64<<10)
	for {
		n, err := events.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return <-ended
		}
		if err != nil {
			t.Fatal(err)
		}
		for rest := buffer[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
			event, length := binary.NativeEndian.Uint32(rest[4:]), binary.NativeEndian.Uint32(rest[12:])
			name := bytes.TrimRight(rest[syscall.SizeofInotifyEvent:][:length], "\x00")
			rest = rest[syscall.SizeofInotifyEvent+length:]
			what, known := doing[event&^syscall.IN_ISDIR]
			if !known || len(name) == 0 || bytes.HasSuffix(name, []byte("-shm")) { // which SQLite makes anew after a crash
				continue
			}
			s := step{does: what, file: changing.ReplaceAllString(string(name), "#")}
			times[s]++
			s.time = times[s]
			took(s)
		}
	}
}

// momentsOf runs a program to its end, and returns the steps at which it is to be killed: each kind of step at each file
// for the first time and for the last time, in the order in which they come.
func momentsOf(t *testing.T, cmd *exec.Cmd, folder string) []step {
	t.Helper()
	var all []step
	last := map[step]int{}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := watchSteps(t, cmd, folder, func(s step) {
		all = append(all, s)
		last[step{s.does, s.file, 0}] = s.time
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return slices.DeleteFunc(all, func(s step) bool {
		return s.time != 1 && s.time != last[step{s.does, s.file, 0}]
	})
}

// killAt runs a program and kills it when it has made a step. It reports whether that came: the
// kernel counts steps that are made at once as one.
func killAt(t *testing.T, cmd *exec.Cmd, folder string, moment step) (killed bool) {
	t.Helper()
	err := watchSteps(t, cmd, folder, func(s step) {
		if s == moment {
			_ = cmd.Process.Kill() // it may have ended
		}
	})
	return err != nil && cmd.ProcessState.ExitCode() < 0
}
