//go:build unix

package folder

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Replaceable reports why a rename could not put a file in the place of what has a name in the folder: is describes
// that, and is nil for nothing. It changes nothing.
func (f *Folder) Replaceable(name string, is *Info) error {
	if why := fixed(f.fd(), ""); why != "" && why != mountPoint {
		return fmt.Errorf("files in %s %w: the folder %s", f.path, ErrIrreplaceable, why)
	}
	err := again(func() error { return unix.Faccessat(f.fd(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS) })
	if err != nil {
		return &fs.PathError{Op: "write to", Path: f.path, Err: err}
	}
	if is == nil {
		return nil
	}
	if why := fixed(f.fd(), name); why != "" {
		return fmt.Errorf("%s %w: it %s", f.Join(name), ErrIrreplaceable, why)
	}
	in, err := InfoOf(f.file)
	if err != nil {
		return err
	}
	if me := os.Geteuid(); in.Mode()&fs.ModeSticky != 0 && me != 0 && is.UID() != me && in.UID() != me {
		return fmt.Errorf("%s %w: the folder is sticky, and the file belongs to user %s", f.Join(name), ErrIrreplaceable, userName(is.UID()))
	}
	return nil
}

// Room reports, with ENOSPC, that the file system of the folder has no room for some bytes in a few files. It writes nothing:
// quotas it does not know of.
func (f *Folder) Room(bytes uint64) error {
	if full(f.fd(), bytes) {
		return &fs.PathError{Op: "write to", Path: f.path, Err: unix.ENOSPC}
	}
	return nil
}
