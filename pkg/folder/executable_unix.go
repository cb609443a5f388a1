//go:build unix

package folder

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Executable reports why this process may not run a file.
func Executable(path string) error {
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		return &fs.PathError{Op: "execute", Path: path, Err: err}
	}
	return nil
}
