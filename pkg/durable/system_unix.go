//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// noFollow has a file that is to be new not opened through a symbolic link.
const noFollow = syscall.O_NOFOLLOW

func syncFolder(folder *os.File) error {
	err := folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		// Some network file systems cannot; their renames are as durable as they get.
		return nil
	}
	return err
}
