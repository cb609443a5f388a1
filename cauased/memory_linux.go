package main

import "syscall"

// tmpfsMagic marks file systems that are in memory (statfs(2)).
const tmpfsMagic = 0x01021994

// hasRoom tells whether dir is in memory and has that many bytes free.
func hasRoom(dir string, bytes int64) bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return false
	}
	return int64(st.Type) == tmpfsMagic && st.Bavail > uint64(bytes)/uint64(st.Bsize) //nolint:unconvert // differs between machines
}
