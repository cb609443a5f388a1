package folder

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountPoint is what is wrong with one.
const mountPoint = "is a mount point, such as a file that a container has from its host: mount the folder that it is in"

// fixed says what keeps a file in its place, or the folder itself for no name, "" for nothing. Where the kernel or the
// file system does not tell, it is found out by trying.
func fixed(at int, name string) string {
	var x unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := again(func() error { return unix.Statx(at, name, flags, unix.STATX_BASIC_STATS, &x) }); err != nil {
		return ""
	}
	switch set := x.Attributes & x.Attributes_mask; {
	case set&unix.STATX_ATTR_IMMUTABLE != 0:
		return "is immutable (chattr -i takes that away)"
	case set&unix.STATX_ATTR_APPEND != 0:
		return "can only be appended to (chattr -a takes that away)"
	case set&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return mountPoint
	}
	return ""
}

// full reports whether a file system has no room for a few more small files. Of one that does not tell it is found out by
// trying.
func full(at int, bytes uint64) bool {
	var fs unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(at, &fs) }); err != nil || fs.Blocks == 0 || fs.Bsize <= 0 {
		return false
	}
	left := fs.Bavail
	if os.Geteuid() == 0 {
		left = fs.Bfree
	}
	return left < bytes/uint64(fs.Bsize) || fs.Files > 0 && fs.Ffree == 0
}
