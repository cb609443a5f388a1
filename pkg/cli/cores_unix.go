//go:build unix

package cli

import "golang.org/x/sys/unix"

// NoCores has this process, and what it starts, leave no core dump: that would be a copy of all keys in memory. It says nothing where that
// cannot be done, as under a unit that allows no limits to be changed, and has set this one itself.
func NoCores() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
