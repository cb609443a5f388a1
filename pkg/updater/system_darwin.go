package updater

import (
	"io/fs"
	"syscall"
)

// identityOf tells a file from others that have had its name, and when it was changed last.
func identityOf(info fs.FileInfo) (ino uint64, ctime int64) {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ino, sys.Ctimespec.Nano()
	}
	return 0, 0
}
