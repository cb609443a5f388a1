package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Windows has access control lists where Unix has owners and modes, which this package does not read: nothing is exposed, and
// [Access].Guard guards nothing. Links and junctions are found, and names are those of one open folder, as
// elsewhere.

// A Folder is one that is open.
type Folder struct {
	root *os.Root
	path string
}

// Path is what led to the folder. It is for people: the folder may have another path by now.
func (f *Folder) Path() string { return f.path }

// Join is the path of a name in the folder, for people, too.
func (f *Folder) Join(name string) string { return filepath.Join(f.path, name) }

// Close releases the folder.
func (f *Folder) Close() { _ = f.root.Close() }

// fail makes an error that names the file.
func (f *Folder) fail(op, name string, err error) error {
	var at *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &at):
		err = at.Err
	}
	return &fs.PathError{Op: op, Path: f.Join(name), Err: err}
}

// checkName keeps paths from being taken for names.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\:\x00") {
		return syscall.EINVAL
	}
	return nil
}

// isLink reports whether a mode is that of a symbolic link, or of something like it, such as a junction.
func isLink(mode fs.FileMode) bool { return mode&(fs.ModeSymlink|fs.ModeIrregular) != 0 }

// OpenFile opens a file for whoever has checked what it is, or makes it.
func (f *Folder) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, f.fail("open", name, err)
	}
	if info, err := f.root.Lstat(name); err == nil && isLink(info.Mode()) {
		return nil, fmt.Errorf("%s %w", f.Join(name), ErrSymlink)
	}
	file, err := f.root.OpenFile(name, flag, perm.Perm())
	if err != nil {
		return nil, f.fail("open", name, err)
	}
	return file, nil
}

// Stat describes what a name stands for, which may be a symbolic link.
func (f *Folder) Stat(name string) (*Info, error) {
	err := checkName(name)
	if err == nil {
		info, statErr := f.root.Lstat(name)
		if statErr == nil {
			return &Info{FileInfo: info}, nil
		}
		err = statErr
	}
	return nil, f.fail("lstat", name, err)
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
		err = f.root.Rename(from, to)
	}
	return f.relink("rename", from, to, err)
}

// Link gives a file a second name, which nothing must have.
func (f *Folder) Link(file, name string) error {
	err := errors.Join(checkName(file), checkName(name))
	if err == nil {
		err = f.root.Link(file, name)
	}
	return f.relink("link", file, name, err)
}

func (f *Folder) relink(op, from, to string, err error) error {
	var at *os.LinkError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &at):
		err = at.Err
	}
	return &os.LinkError{Op: op, Old: f.Join(from), New: f.Join(to), Err: err}
}

// Remove removes a file.
func (f *Folder) Remove(name string) error {
	err := checkName(name)
	if err == nil {
		err = f.root.Remove(name)
	}
	return f.fail("remove", name, err)
}

// RemoveFolder removes a folder that is empty.
func (f *Folder) RemoveFolder(name string) error { return f.Remove(name) }

// Mkdir makes a folder and opens it. It has the access control list that its parent hands on.
func (f *Folder) Mkdir(name string, mode fs.FileMode) (*Folder, error) {
	err := checkName(name)
	if err == nil {
		err = f.root.Mkdir(name, mode.Perm())
	}
	if err != nil {
		return nil, f.fail("mkdir", name, err)
	}
	root, err := f.root.OpenRoot(name)
	if err != nil {
		return nil, f.fail("open", name, err)
	}
	return &Folder{root: root, path: f.Join(name)}, nil
}

// Listed opens the folder for reading its names.
func (f *Folder) Listed() (*os.File, error) {
	listed, err := f.root.Open(".")
	if err != nil {
		return nil, f.fail("open", "", err)
	}
	return listed, nil
}

// Room is not looked for: whether there is any is found out by writing.
func (f *Folder) Room(uint64) error { return nil }

// Replaceable reports why a rename could not put a file in the place of what has a name in the folder: is describes
// that, and is nil for nothing.
func (f *Folder) Replaceable(name string, is *Info) error {
	if is != nil && is.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("%s %w: it is read-only", f.Join(name), ErrIrreplaceable)
	}
	return nil
}

// An Info describes a file.
type Info struct {
	fs.FileInfo
	extended *Extended // nil if it is not known
}

// InfoOf describes an open file.
func InfoOf(file *os.File) (*Info, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return &Info{FileInfo: info}, nil
}

// UID is -1, as numbers say nothing here.
func (i *Info) UID() int { return -1 }

// GID is -1, too.
func (i *Info) GID() int { return -1 }

// Same reports whether both describe one file.
func (i *Info) Same(other *Info) bool { return os.SameFile(i.FileInfo, other.FileInfo) }

// Exposed reports nothing.
func (i *Info) Exposed(string) error { return nil }

// Access says how a path may lead to a file. The zero value is what users expect of a command that they run:
// symbolic links are followed.
type Access struct {
	// NoLinks refuses symbolic links, wherever on the path they stand.
	NoLinks bool

	// Guard has no effect.
	Guard bool
}

// Open opens the folder at path.
func (a Access) Open(path string) (*Folder, error) {
	abs, err := Abs(path)
	if err != nil {
		return nil, err
	}
	for at := abs; a.NoLinks && filepath.Dir(at) != at; at = filepath.Dir(at) {
		if info, err := os.Lstat(at); err == nil && isLink(info.Mode()) {
			return nil, fmt.Errorf("%s %w: not followed", at, ErrSymlink)
		}
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, err
	}
	return &Folder{root: root, path: path}, nil
}

// Parent opens the folder that path is a name in, and returns the name. Whatever has that name, or nothing, is
// not looked at.
func (a Access) Parent(path string) (*Folder, string, error) {
	name := filepath.Base(path)
	if err := checkName(name); err != nil {
		return nil, "", &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	in, err := a.Open(filepath.Dir(path))
	return in, name, err
}

// Target does so for what path stands for in the end, if that is a symbolic link which may be
// followed.
func (a Access) Target(path string) (*Folder, string, error) {
	if info, err := os.Lstat(path); err == nil && isLink(info.Mode()) && !a.NoLinks {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, "", err
		}
		path = target
	}
	return a.Parent(path)
}

// Abs makes a path independent of the working directory.
func Abs(path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return filepath.Abs(path)
}
