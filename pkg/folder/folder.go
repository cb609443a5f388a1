//go:build unix

package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Folder is one that is open.
type Folder struct {
	file *os.File
	path string
}

// Path is what led to the folder. It is for people: the folder may have another path by now.
func (f *Folder) Path() string { return f.path }

// Join is the path of a name in the folder, for people, too.
func (f *Folder) Join(name string) string { return filepath.Join(f.path, name) }

// Close releases the folder.
func (f *Folder) Close() { _ = f.file.Close() }

func (f *Folder) fd() int { return int(f.file.Fd()) } //nolint:gosec // a descriptor fits

// fail makes an error that names the file.
func (f *Folder) fail(op, name string, err error) error {
	switch {
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%s %w", f.Join(name), ErrSymlink)
	case err == nil:
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Join(name), Err: err}
}

// again repeats a call that a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// checkName keeps paths from being taken for names.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

// OpenFile opens a file for whoever has checked what it is, or makes it. It does not wait for the other end of
// a FIFO.
func (f *Folder) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, f.fail("open", name, err)
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(f.fd(), name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, f.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), f.Join(name)), nil //nolint:gosec // a descriptor fits
}

// Stat describes what a name stands for, which may be a symbolic link.
func (f *Folder) Stat(name string) (*Info, error) {
	info := &Info{name: name}
	err := checkName(name)
	if err == nil {
		err = again(func() error { return unix.Fstatat(f.fd(), name, &info.stat, unix.AT_SYMLINK_NOFOLLOW) })
	}
	if err != nil {
		return nil, f.fail("lstat", name, err)
	}
	return info, nil
}

// Lstat is Stat.
func (f *Folder) Lstat(name string) (fs.FileInfo, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// Rename gives what has a name in the folder another one.
func (f *Folder) Rename(from, to string) error {
	err := errors.Join(checkName(from), checkName(to))
	if err == nil {
		err = again(func() error { return unix.Renameat(f.fd(), from, f.fd(), to) })
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: f.Join(from), New: f.Join(to), Err: err}
	}
	return nil
}

// Link gives a file a second name, which nothing must have.
func (f *Folder) Link(file, name string) error {
	err := errors.Join(checkName(file), checkName(name))
	if err == nil {
		err = again(func() error { return unix.Linkat(f.fd(), file, f.fd(), name, 0) })
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: f.Join(file), New: f.Join(name), Err: err}
	}
	return nil
}

// Remove removes a file.
func (f *Folder) Remove(name string) error { return f.unlink(name, 0) }

// RemoveFolder removes a folder that is empty.
func (f *Folder) RemoveFolder(name string) error { return f.unlink(name, unix.AT_REMOVEDIR) }

func (f *Folder) unlink(name string, flags int) error {
	err := checkName(name)
	if err == nil {
		err = again(func() error { return unix.Unlinkat(f.fd(), name, flags) })
	}
	return f.fail("remove", name, err)
}

// Mkdir makes a folder with a mode, whatever the umask, and opens it.
func (f *Folder) Mkdir(name string, mode fs.FileMode) (*Folder, error) {
	err := checkName(name)
	if err == nil {
		err = again(func() error { return unix.Mkdirat(f.fd(), name, uint32(mode.Perm())) })
	}
	if err != nil {
		return nil, f.fail("mkdir", name, err)
	}
	made, err := f.sub(name)
	if err != nil {
		return nil, err
	}
	listed, err := made.Listed()
	if err == nil {
		err = errors.Join(listed.Chmod(mode.Perm()), listed.Close())
	}
	if err != nil {
		made.Close()
		return nil, err
	}
	return made, nil
}

// sub opens a folder in the folder.
func (f *Folder) sub(name string) (*Folder, error) {
	fd, err := openFolder(f.fd(), name)
	if err != nil {
		return nil, f.fail("open", name, err)
	}
	path := f.Join(name)
	return &Folder{file: os.NewFile(uintptr(fd), path), path: path}, nil //nolint:gosec // a descriptor fits
}

func openFolder(at int, name string) (fd int, err error) {
	err = again(func() (err error) {
		fd, err = unix.Openat(at, name, openToSearch|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// Listed opens the folder for reading its names, flushing them, or locking it.
func (f *Folder) Listed() (*os.File, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(f.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.path, Err: err}
	}
	return os.NewFile(uintptr(fd), f.path), nil //nolint:gosec // a descriptor fits
}
