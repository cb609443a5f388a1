package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A newFile is one that is written before it is known whether it will be wanted, and then gets a name
// that nothing has.
type newFile struct {
	path, temp string
	file       *os.File
}

// createNew begins a file that everybody may read. Until publish, nothing is at path.
func createNew(path string) (*newFile, error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	dir, base := filepath.Split(path)
	n := &newFile{path: path, temp: filepath.Join(dir, "."+base+".new-"+rand.Text())}
	var err error
	n.file, err = os.OpenFile(n.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o644)
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = &fs.PathError{Op: "create", Path: path, Err: failed.Err}
	}
	return n, err
}

// write puts data on disk, in place of what was written before.
func (n *newFile) write(data []byte) error {
	if err := n.file.Truncate(0); err != nil {
		return err
	}
	if _, err := n.file.WriteAt(data, 0); err != nil {
		return err
	}
	return n.file.Sync()
}

// publish gives the file its name, unless something is there.
func (n *newFile) publish() error {
	if err := os.Link(n.temp, n.path); err != nil {
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
		// A file system without links.
		if _, err := os.Lstat(n.path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", n.path, fs.ErrExist)
		}
		if err := os.Rename(n.temp, n.path); err != nil {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(n.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// discard removes what has no name of its own.
func (n *newFile) discard() {
	_ = n.file.Close()
	_ = os.Remove(n.temp) // published, it may be gone
}
