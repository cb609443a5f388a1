package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"time"

	"cauase/pkg/durable"
)

// ErrBusy means that another process is just writing a backup there.
var ErrBusy = errors.New("another backup is being taken there")

// A directory is where backups are kept. While it is open no other process that keeps to its lock
// writes there; on file systems without locks, there is none.
type directory struct {
	path   string
	root   *os.Root
	self   *os.File // the directory, which the lock is on
	locked bool
}

// openDirectory opens the directory at path, made for its owner alone if there is nothing. The one
// it is in has to be there: a disk that is not mounted must not go unnoticed.
func openDirectory(path string) (*directory, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, root: root}
	if d.self, err = root.Open("."); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	switch err := syscall.Flock(int(d.self.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil:
		d.locked = true
	case errors.Is(err, syscall.EWOULDBLOCK):
		d.close()
		return nil, fmt.Errorf("%s: %w", path, ErrBusy)
	}
	return d, nil
}

// checkCreatable fails at once, rather than when a backup is due, if openDirectory could not create the directory
// at path, of which nothing can be listed.
func checkCreatable(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "follow link", Path: path, Err: fs.ErrNotExist}
	}
	_, err := os.Stat(filepath.Dir(path))
	return err
}

// close releases the directory and its lock. Nothing that was written depends on it.
func (d *directory) close() {
	_ = d.self.Close()
	_ = d.root.Close()
}

// sync makes the names in the directory survive a loss of power.
func (d *directory) sync() error { return durable.SyncOpenFolder(d.self) }

// A file is what of os.File a backup needs, so that tests can have disks that are full.
type file interface {
	io.ReadWriteSeeker
	Sync() error
	Truncate(size int64) error
	Close() error
}

// create makes an empty file for the owner alone, under a name that nothing has.
func (d *directory) create(name string) (file, error) {
	return d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
}

// rename gives a file its final name unless something has that name already, whatever it is.
func (d *directory) rename(from, to string) error { return durable.PublishIn(d.root, from, to) }

// A backupFile is a backup in a directory, judged by its name.
type backupFile struct {
	name string
	at   time.Time
	size int64
	ours bool
}

// backups lists what a directory holds, oldest first. What is empty or no regular file is no backup.
func backups(path string) ([]backupFile, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var all []backupFile
	for _, e := range entries {
		at, ours, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		switch info, err := e.Info(); {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil:
			return nil, err
		case info.Size() > 0:
			all = append(all, backupFile{e.Name(), at, info.Size(), ours})
		}
	}
	slices.SortFunc(all, func(a, b backupFile) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return all, nil
}

// newest returns when the newest backup was taken, zero if there is none. One from the future,
// taken while the clock was ahead, does not count: no other would be taken until then.
func newest(all []backupFile, now time.Time) (at time.Time) {
	for _, f := range all {
		if !f.at.After(now.Add(maxSkew)) {
			at = f.at
		}
	}
	return at
}

// prune removes all but the newest keep of our backups that are not newer than the one just taken.
// Those of others, and those from the future, are left alone and not counted.
func (d *directory) prune(keep int, taken time.Time) (removed []string, err error) {
	all, err := backups(d.path)
	if err != nil || keep <= 0 {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(f backupFile) bool { return !f.ours || f.at.After(taken) })
	for len(all) > keep {
		if err := d.root.Remove(all[0].name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed = append(removed, all[0].name)
		all = all[1:]
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, d.sync()
}

// orphanAge is how old a file must be for its writer to be dead, where locks cannot tell.
const orphanAge = 24 * time.Hour

// sweep removes what interrupted runs have left behind.
func (d *directory) sweep(now time.Time) (removed int, err error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !isTemp(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); !d.locked && (err != nil || now.Sub(info.ModTime()) < orphanAge) {
			continue
		}
		if err := d.root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
