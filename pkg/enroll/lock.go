package enroll

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"cauase/pkg/pemfile"
)

// ErrLocked says that another agent keeps the same files.
var ErrLocked = errors.New("another agent keeps this file up to date")

// A Lock says that one agent keeps a file up to date, for as long as it likes. It is on a file
// beside it, as the file itself is replaced.
type Lock struct {
	path string
	file *os.File
}

// Acquire takes path for this process until [Lock.Release], or says with [ErrLocked] that
// another one has it.
func Acquire(path string) (*Lock, error) {
	l := &Lock{path: path}
	var err error
	l.file, err = os.OpenFile(l.name(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = l.file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
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

func (l *Lock) name() string {
	return filepath.Join(filepath.Dir(l.path), "."+filepath.Base(l.path)+".lock")
}

// Path is what is locked.
func (l *Lock) Path() string { return l.path }

// Held reports whether the lock keeps others out. One on a file that was removed, perhaps with
// its folder, does not.
func (l *Lock) Held() bool {
	is, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(l.name())
	return err == nil && os.SameFile(is, named)
}

// Release lets others have the file.
func (l *Lock) Release() { _ = l.file.Close() }

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
	folder, err := os.Open(filepath.Dir(paths.KeyPath()))
	if errors.Is(err, fs.ErrPermission) {
		return step()
	}
	if err != nil {
		return err
	}
	defer folder.Close() // and with it the lock
	for range stepTries {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor fits
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		time.Sleep(stepPause)
	}
	return step()
}
