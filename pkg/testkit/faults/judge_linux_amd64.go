package faults

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// files numbers files whose names are made up each time, so that the same step has the same name.
type files map[string]string

var madeUp = regexp.MustCompile(`[0-9a-f]{12,}|[0-9]{6,}|[A-Z0-9]{20,}`)

func (f files) stable(name string) string {
	return madeUp.ReplaceAllStringFunc(name, func(part string) string {
		if f[part] == "" {
			f[part] = fmt.Sprintf("#%d", len(f)+1)
		}
		return f[part]
	})
}

// judge says whether a call counts, and as what.
func (t *tracer) judge(tid int, regs *syscall.PtraceRegs) (s Step, counts bool) {
	kind, known := calls[regs.Orig_rax]
	if !known {
		kind = received[regs.Orig_rax]
	}
	var path string
	switch regs.Orig_rax {
	case unix.SYS_CONNECT:
		return t.connecting(tid, regs)
	case unix.SYS_OPEN, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_UNLINK, unix.SYS_RMDIR, unix.SYS_MKDIR, unix.SYS_TRUNCATE:
		path = t.path(tid, unix.AT_FDCWD, regs.Rdi)
	case unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_SYMLINK:
		path = t.path(tid, unix.AT_FDCWD, regs.Rsi)
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT:
		path = t.path(tid, int32(regs.Rdi), regs.Rsi)
	case unix.SYS_SYMLINKAT:
		path = t.path(tid, int32(regs.Rsi), regs.Rdx)
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		path = t.path(tid, int32(regs.Rdx), regs.R10)
	case unix.SYS_COPY_FILE_RANGE:
		path = link(tid, int32(regs.Rdx))
	default:
		path = link(tid, int32(regs.Rdi))
	}
	if _, ours := t.sockets[path]; ours {
		if kind == Write {
			kind = Send
		}
		return Step{Kind: kind, File: "database"}, true
	}
	if kind == Receive {
		return s, false
	}
	if kind == Open {
		flags := regs.Rsi
		if regs.Orig_rax == unix.SYS_OPENAT {
			flags = regs.Rdx
		}
		if flags&unix.O_CREAT != 0 {
			kind = Create
		}
	}
	relative, below := strings.CutPrefix(path, t.options.Folder)
	if !below || relative != "" && relative[0] != '/' {
		return s, false
	}
	return Step{Kind: kind, File: "." + t.ids.stable(relative)}, true
}

// connecting notes a connection to the database.
func (t *tracer) connecting(tid int, regs *syscall.PtraceRegs) (s Step, counts bool) {
	address := t.read(tid, regs.Rsi, 4)
	if t.options.Port == 0 || len(address) < 4 || binary.NativeEndian.Uint16(address) != unix.AF_INET ||
		int(binary.BigEndian.Uint16(address[2:])) != t.options.Port {
		return s, false
	}
	t.sockets[link(tid, int32(regs.Rdi))] = tid
	return Step{Kind: Connect, File: "database"}, true
}

// link is what a descriptor refers to.
func link(tid int, fd int32) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(target, " (deleted)")
}

// path is the name of a file that a call is given.
func (t *tracer) path(tid int, at int32, where uint64) string {
	name, _, _ := bytes.Cut(t.read(tid, where, unix.PathMax), []byte{0})
	path := string(name)
	if path == "" || filepath.IsAbs(path) {
		return clean(path)
	}
	if at != unix.AT_FDCWD {
		return clean(filepath.Join(link(tid, at), path))
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", tid))
	if err != nil {
		return ""
	}
	return clean(filepath.Join(cwd, path))
}

// clean resolves links in the folder that a file is in, as descriptors are shown without.
func clean(path string) string {
	if path == "" {
		return ""
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return filepath.Clean(path)
	}
	return filepath.Join(folder, filepath.Base(path))
}

// read reads the memory of the program, as much of it as there is.
func (t *tracer) read(tid int, where uint64, length int) []byte {
	buffer := make([]byte, length)
	const page = 4096
	done := 0
	for done < length { // by page, as the next may not be there
		n := min(length-done, page-int((where+uint64(done))%page))
		local := []unix.Iovec{{Base: &buffer[done], Len: uint64(n)}}
		remote := []unix.RemoteIovec{{Base: uintptr(where) + uintptr(done), Len: n}}
		got, err := unix.ProcessVMReadv(tid, local, remote, 0)
		if err != nil || got == 0 {
			break
		}
		if bytes.IndexByte(buffer[done:done+got], 0) >= 0 && length > 16 {
			done += got
			break
		}
		done += got
	}
	return buffer[:done]
}
