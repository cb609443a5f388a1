package folder

import "golang.org/x/sys/unix"

// openToSearch opens a folder for what is in it: that takes no permission to list it.
const openToSearch = unix.O_PATH
