package enroll

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
)

// ErrLocked says that another agent keeps the same files.
var ErrLocked = errors.New("another agent keeps this file up to date")

// A Lock says that one agent keeps a file up to date, for as long as it likes. It is on a file
// beside it, as the file itself is replaced.
type Lock struct {
	path   string
	access folder.Access
	file   *os.File
}

// Acquire takes path for this process until [Lock.Release], or says with [ErrLocked] that
// another one has it.
func Acquire(path string, access folder.Access) (*Lock, error) {
	l := &Lock{path: path, access: access}
	in, name, err := l.place()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	defer in.Close()
	if l.file, err = open(in, name); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if taken, err := tryLock(l.file); !taken {
		_ = l.file.Close()
		if err == nil {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !l.Held() { // it was removed just now
		_ = l.file.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	return l, nil
}

// open opens a lock, which is a file and nothing else.
func open(in *folder.Folder, name string) (*os.File, error) {
	if info, err := in.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", in.Join(name), folder.ErrNotRegular)
	}
	return in.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

// place is where the lock is.
func (l *Lock) place() (*folder.Folder, string, error) {
	in, name, err := l.access.Parent(l.path)
	return in, "." + name + ".lock", err
}

// Path is what is locked.
func (l *Lock) Path() string { return l.path }

// Held reports whether the lock keeps others out. One on a file that was removed, perhaps with
// its folder, does not.
func (l *Lock) Held() bool {
	is, err := folder.InfoOf(l.file)
	if err != nil {
		return false
	}
	in, name, err := l.place()
	if err != nil {
		return false
	}
	defer in.Close()
	named, err := in.Stat(name)
	return err == nil && is.Same(named)
}

// Release lets others have the file, also while a process that was started just now has not closed its copy of the
// descriptor yet.
func (l *Lock) Release() {
	unlock(l.file)
	_ = l.file.Close()
}

// How long others are waited for, who need a moment for their step.
const (
	stepTries = 200
	stepPause = 50 * time.Millisecond
)

// exclusively runs one step on the files of a pair while no other engine is at one: a key of one
// attempt must not meet the certificate of another. What is locked is the folder, which leaves no
// file behind. Whoever may read the folder could hold that lock for ever, so it is waited for only
// so long; then, and where it cannot be had at all, as on some network filesystems, the step has
// to do with what it checks itself.
func exclusively(paths pemfile.PairPaths, step func() error) error {
	in, _, err := paths.Attributes.Access().Parent(paths.KeyPath())
	if err != nil {
		return err
	}
	defer in.Close()
	listed, err := in.Listed()
	if errors.Is(err, fs.ErrPermission) {
		return step()
	}
	if err != nil {
		return err
	}
	defer listed.Close() // and with it the lock
	for range stepTries {
		if taken, err := tryLock(listed); taken || err != nil {
			break
		}
		time.Sleep(stepPause)
	}
	return step()
}
