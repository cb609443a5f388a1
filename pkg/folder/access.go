//go:build unix

package folder

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Access says how a path may lead to a file. The zero value is what users expect of a command that they run:
// symbolic links are followed. For root they are so only where they lie in folders that nobody else can write.
type Access struct {
	// NoLinks refuses symbolic links, wherever on the path they stand.
	NoLinks bool

	// Guard refuses folders in which others than root and the user of this process could put something
	// else in the place of what is meant, with [ErrExposed].
	Guard bool
}

// maxLinks bounds the symbolic links that one path leads through, as the kernel does.
const maxLinks = 40

// Open opens the folder at path.
func (a Access) Open(path string) (*Folder, error) {
	w, err := a.start(path)
	if err != nil {
		return nil, err
	}
	defer w.close()
	for len(w.rest) > 0 {
		if err := w.step(); err != nil {
			return nil, err
		}
	}
	return w.arrive()
}

// Parent opens the folder that path is a name in, and returns the name. Whatever has that name, or nothing, is
// not looked at.
func (a Access) Parent(path string) (*Folder, string, error) { return a.find(path, false) }

// Target does so for what path stands for in the end, if that is a symbolic link which may be
// followed.
func (a Access) Target(path string) (*Folder, string, error) { return a.find(path, !a.NoLinks) }

func (a Access) find(path string, follow bool) (*Folder, string, error) {
	w, err := a.start(path)
	if err != nil {
		return nil, "", err
	}
	defer w.close()
	for {
		if len(w.rest) == 0 {
			return nil, "", &fs.PathError{Op: "open", Path: path, Err: unix.EISDIR}
		}
		if name := w.rest[0]; len(w.rest) == 1 && name != ".." {
			info, err := w.top().Stat(name)
			if !follow || err != nil || info.Mode()&fs.ModeSymlink == 0 {
				if err != nil && w.links > 0 && w.last {
					return nil, "", err // a link that leads nowhere
				}
				in, err := w.arrive()
				if err == nil && !w.last {
					in.path = filepath.Dir(path) // as whoever named it knows it
				}
				return in, name, err
			}
			w.last = true
		}
		if err := w.step(); err != nil {
			return nil, "", err
		}
	}
}

// A walk is one on its way through folders.
type walk struct {
	Access
	path    string
	open    []*Folder
	infos   []*Info
	exposed error // the first folder on the way that others can write, nil for none
	rest    []string
	links   int
	last    bool // the last name is a link that was followed
}

func (a Access) start(path string) (*walk, error) {
	w := &walk{Access: a, path: path}
	if path == "" || strings.ContainsRune(path, 0) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ENOENT}
	}
	if err := w.restart(); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(path) {
		here, err := workingFolder()
		if err != nil {
			w.close()
			return nil, err
		}
		w.add(here)
	}
	w.rest = append(w.rest, names(path)...)
	return w, nil
}

// workingFolder is the path of it that has no links, which os.Getwd may have.
func workingFolder() (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buffer)
	if err != nil {
		return "", os.NewSyscallError("getcwd", err)
	}
	here := strings.TrimRight(string(buffer[:n]), "\x00")
	if !filepath.IsAbs(here) {
		return "", &fs.PathError{Op: "getcwd", Path: here, Err: unix.ENOENT}
	}
	return here, nil
}

// Abs makes a path independent of the working directory, without symbolic links in what it adds.
func Abs(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	here, err := workingFolder()
	if err != nil {
		return "", err
	}
	return here + "/" + path, nil
}

func names(path string) (all []string) {
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			all = append(all, name)
		}
	}
	return all
}

func (w *walk) add(path string) { w.rest = append(names(path), w.rest...) }

// restart begins at the root.
func (w *walk) restart() error {
	w.close()
	fd, err := openFolder(unix.AT_FDCWD, "/")
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	return w.push(&Folder{file: os.NewFile(uintptr(fd), "/"), path: "/"}) //nolint:gosec // a descriptor fits
}

func (w *walk) push(f *Folder) error {
	info, err := InfoOf(f.file)
	if err != nil {
		f.Close()
		return err
	}
	if info.Mode().Perm()&0o020 != 0 {
		info.extended = &Extended{acl: folderACL(f.file)}
	}
	w.open, w.infos = append(w.open, f), append(w.infos, info)
	return nil
}

func (w *walk) top() *Folder { return w.open[len(w.open)-1] }

func (w *walk) close() {
	for _, f := range w.open {
		f.Close()
	}
	w.open, w.infos = nil, nil
}

// step goes into the next folder, or on with what a link says instead.
func (w *walk) step() error {
	name := w.rest[0]
	w.rest = w.rest[1:]
	if name == ".." {
		if last := len(w.open) - 1; last > 0 {
			w.open[last].Close()
			w.open, w.infos = w.open[:last], w.infos[:last]
		}
		return nil
	}
	in := w.top()
	next, err := in.sub(name)
	if err == nil {
		if err := w.push(next); err != nil {
			return err
		}
		child := w.infos[len(w.infos)-1]
		child.name = name
		return w.judge(w.infos[len(w.infos)-2], child, in)
	}
	info, failed := in.Stat(name)
	if failed != nil || info.Mode()&fs.ModeSymlink == 0 {
		if in.Join(name) != w.path {
			err = fmt.Errorf("%s: %w", w.path, err) // as it was asked for
		}
		return err
	}
	if err := w.judge(w.infos[len(w.infos)-1], info, in); err != nil {
		return err
	}
	return w.follow(name)
}

// judge notes, or refuses, a folder in which others could replace child.
func (w *walk) judge(folder, child *Info, in *Folder) error {
	err := exposure(folder, child)
	if err == nil {
		return nil
	}
	err.Path, err.Folder = w.path, in.path
	if err.child {
		err.Folder = in.Join(child.name)
	}
	if w.Guard {
		return err
	}
	if w.exposed == nil {
		w.exposed = err
	}
	return nil
}

func (w *walk) follow(name string) error {
	in := w.top()
	link := in.Join(name)
	switch {
	case w.NoLinks:
		return fmt.Errorf("%s %w: not followed", link, ErrSymlink)
	case w.exposed != nil && os.Geteuid() == 0:
		return fmt.Errorf("%s %w: not followed by root, as others can write there", link, ErrSymlink)
	case w.links == maxLinks:
		return &fs.PathError{Op: "open", Path: w.path, Err: unix.ELOOP}
	}
	w.links++
	buffer := make([]byte, unix.PathMax)
	var n int
	err := again(func() (err error) {
		n, err = unix.Readlinkat(in.fd(), name, buffer)
		return err
	})
	if err != nil {
		return in.fail("readlink", name, err)
	}
	target := string(buffer[:n])
	if filepath.IsAbs(target) {
		if err := w.restart(); err != nil {
			return err
		}
	}
	w.add(target)
	return nil
}

// arrive hands out the folder that was reached, for work on a name in it.
func (w *walk) arrive() (*Folder, error) {
	last := len(w.open) - 1
	if err := w.judge(w.infos[last], nil, w.open[last]); err != nil {
		return nil, err
	}
	reached := w.open[last]
	w.open, w.infos = w.open[:last], w.infos[:last]
	return reached, nil
}
