//go:build unix && !linux

package folder

import "golang.org/x/sys/unix"

const openToSearch = unix.O_RDONLY
