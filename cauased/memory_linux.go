package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tmpfsMagic marks file systems that are in memory (statfs(2)).
const tmpfsMagic = 0x01021994

// hasRoom tells whether dir is in memory and has that many bytes free.
func hasRoom(dir string, bytes int64) bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return false
	}
	return int64(st.Type) == tmpfsMagic && st.Bavail > uint64(bytes)/uint64(st.Bsize) //nolint:unconvert // differs between machines
}

// hideMemory has the kernel keep other processes of the same user from reading this one's memory, and its environment and open files, and
// attaching a debugger to it: keys of CAs are there. Root still can. It makes what /proc shows of this process root's, but for what everybody
// may read there. Programs that it starts are not concerned.
func hideMemory() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// dropProgram drops the pages of the program's code from this process: the start has run through much that is not needed again. They are read from
// the file once more when they are, which is in the system's memory as a rule. It says how many bytes these were at most.
//
// Only code is dropped, which nobody writes to. Other parts of the file may have been changed in memory, as by a loader.
func dropProgram() (size uintptr, err error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, err
	}
	maps, err := os.ReadFile("/proc/self/maps") // proc_pid_maps(5)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "r-xp" || !strings.HasSuffix(line, " "+self+"\n") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		first, err := strconv.ParseUint(from, 16, 64)
		if err != nil {
			return size, err
		}
		after, err := strconv.ParseUint(to, 16, 64)
		if err != nil {
			return size, err
		}
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, uintptr(first), uintptr(after-first), syscall.MADV_DONTNEED); e != 0 {
			return size, e
		}
		size += uintptr(after - first)
	}
	return size, nil
}
