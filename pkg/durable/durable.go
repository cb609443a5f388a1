// Package durable has the steps by which a file gets onto a disk so that it stays there.
//
// What a call returns without an error is on disk: it survives the death of the process, of the
// system and of the power supply, as far as the disk keeps its word about what it has flushed.
// An interruption before that leaves what was there before the call, or what the call was to bring
// about; no name ever stands for half a file. What may be left in addition is a file
// under a temporary name, hidden and beside its target, which whoever wrote it, or the next one,
// removes.
//
// Content and names are durable separately: flushing a file does not flush the folder it is in.
// Hence the order here is always content, then name, then folder. A flush that has failed has
// lost something, and flushing again would not say so (Linux reports an error once): the
// file has to be written anew.
package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SyncFolder flushes which names the folder at path has, and what they stand for.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(SyncOpenFolder(folder), folder.Close())
}

// SyncOpenFolder does so for a folder that is open.
func SyncOpenFolder(folder *os.File) error { return syncFolder(folder) }

// Rename gives a file, whose content is on disk, a name in the same folder, and takes that name
// from whatever file had it.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// Publish gives a file, whose content is on disk, a name in the same folder that nothing has, not even
// a link that leads nowhere: it is fs.ErrExist otherwise, and nothing has changed. Errors name
// path, and not the temporary name, which no user knows.
//
// On file systems without hard links, somebody else's file that gets the name at the same moment is
// replaced.
func Publish(temp, path string) error {
	if err := publish(fileSystem{}, temp, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// PublishIn does so for two names in one folder that is open. The folder is left for the caller
// to flush, see [SyncOpenFolder].
func PublishIn(at Place, temp, name string) error { return publish(at, temp, name) }

// A Place is where names are: a folder that is open, such as an *os.Root.
type Place interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Link(old, new string) error
	Rename(old, new string) error
	Remove(name string) error
	Lstat(name string) (fs.FileInfo, error)
}

// fileSystem has all paths.
type fileSystem struct{}

func (fileSystem) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (fileSystem) Link(old, new string) error             { return os.Link(old, new) }
func (fileSystem) Rename(old, new string) error           { return os.Rename(old, new) }
func (fileSystem) Remove(name string) error               { return os.Remove(name) }
func (fileSystem) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// publish uses a link because, unlike a rename, it replaces nothing.
func publish(at Place, temp, path string) error {
	err := at.Link(temp, path)
	switch {
	case err == nil:
		_ = at.Remove(temp) // a second name does no harm
		return nil
	case !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.ENOSYS):
		return about(path, err)
	}
	// A file system without links.
	switch _, err := at.Lstat(path); {
	case err == nil:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return about(path, at.Rename(temp, path))
}

// about makes an error about a temporary file one about path.
func about(path string, err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	default:
		return err
	}
	return &fs.PathError{Op: "create", Path: path, Err: err}
}

// TempName returns a hidden, unpredictable name in the folder of path.
func TempName(path string) string {
	dir, base := filepath.Split(path)
	return filepath.Join(dir, "."+base+".new-"+rand.Text())
}
