package updater

import (
	"errors"

	"cauase/pkg/enroll"
)

// ErrLocked says that another agent keeps the same files.
var ErrLocked = enroll.ErrLocked

// holdsLocks reports whether the locks taken keep others out.
func (w *worker) holdsLocks() bool {
	for _, l := range w.locks {
		if !l.Held() {
			return false
		}
	}
	return true
}

// keepLocks takes those locks anew whose file is gone. It reports false if another agent
// was faster; while there is no folder, nobody can be.
func (w *worker) keepLocks() bool {
	for i, l := range w.locks {
		if l.Held() {
			continue
		}
		again, err := enroll.Acquire(l.Path(), w.job.beside(nil).Access())
		switch {
		case errors.Is(err, enroll.ErrLocked):
			return false
		case err == nil:
			l.Release()
			w.locks[i] = again
		}
	}
	return true
}
