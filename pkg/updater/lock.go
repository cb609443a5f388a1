package updater

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked says that another agent keeps the same files.
var ErrLocked = errors.New("another agent keeps this file up to date")

// lock takes path for this process, for as long as the returned file is open. The lock is
// on a file beside path, as path itself is replaced.
func lock(path string) (*os.File, error) {
	name := lockName(path)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !isAt(f, name) { // it was removed just now
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	return f, nil
}

func lockName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
}

// isAt reports whether f is still what has this name. A lock on a file that was removed,
// perhaps with its folder, keeps nobody out.
func isAt(f *os.File, name string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(is, named)
}

// holdsLocks reports whether the locks taken keep others out.
func (w *worker) holdsLocks() bool {
	for i, path := range w.job.locked() {
		if i < len(w.locks) && !isAt(w.locks[i], lockName(path)) {
			return false
		}
	}
	return true
}

// keepLocks takes those locks anew whose file is gone. It reports false if another agent
// was faster; while there is no folder, nobody can be.
func (w *worker) keepLocks() bool {
	for i, path := range w.job.locked() {
		if i >= len(w.locks) || isAt(w.locks[i], lockName(path)) {
			continue
		}
		f, err := lock(path)
		switch {
		case errors.Is(err, ErrLocked):
			return false
		case err == nil:
			_ = w.locks[i].Close()
			w.locks[i] = f
		}
	}
	return true
}
