//go:build unix

package folder

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Info describes a file, and whose it is.
type Info struct {
	name     string
	stat     unix.Stat_t
	extended *Extended // nil if it is not known
}

// InfoOf describes an open file.
func InfoOf(file *os.File) (*Info, error) {
	info := &Info{name: file.Name()}
	err := again(func() error { return unix.Fstat(int(file.Fd()), &info.stat) }) //nolint:gosec // a descriptor fits
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: file.Name(), Err: err}
	}
	return info, nil
}

// Name is the last part of its path.
func (i *Info) Name() string { return i.name }

// Size is its length in bytes.
func (i *Info) Size() int64 { return i.stat.Size }

// ModTime is when its content was last written.
func (i *Info) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }

// IsDir reports whether it is a folder.
func (i *Info) IsDir() bool { return i.Mode().IsDir() }

// Sys is the system's description.
func (i *Info) Sys() any { return &i.stat }

// UID is the user that it belongs to.
func (i *Info) UID() int { return int(i.stat.Uid) }

// GID is the group that it belongs to.
func (i *Info) GID() int { return int(i.stat.Gid) }

// Same reports whether both describe one file.
func (i *Info) Same(other *Info) bool {
	return i.stat.Dev == other.stat.Dev && i.stat.Ino == other.stat.Ino
}

// Mode has the type and the permissions.
func (i *Info) Mode() fs.FileMode {
	mode := fs.FileMode(i.stat.Mode & 0o777)
	switch i.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	default:
		mode |= fs.ModeDevice
	}
	if i.stat.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
