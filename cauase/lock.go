package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// locked runs what replaces files beside path. Of several runs at once only one does so at a
// time, or a key of one would meet the certificate of another. The folder is what is locked,
// which leaves no file behind; where that cannot be done, as on some network filesystems,
// things are as they would be without.
func locked(path string, do func() error) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close() // and with it the lock
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX) //nolint:gosec // a descriptor fits
		if err != syscall.EINTR {                               //nolint:errorlint // as system calls return it
			break
		}
	}
	return do()
}
