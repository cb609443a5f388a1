package updater

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// What the process of an owner, and what it starts, may have of memory. Its owner chooses what it reads, down to the daemon's
// answers, and must not take what others need with it.
const (
	softMemory = 256 << 20 // bytes, from which on memory is collected more often
	hardMemory = 2 << 30   // bytes of data, for a list of the largest size there may be
)

// bound limits this process. Where the system does not let it (a filter of system calls), the limits of the service hold.
func bound() {
	debug.SetMemoryLimit(softMemory)
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err == nil && now.Max > hardMemory {
		_ = unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: hardMemory, Max: hardMemory})
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // which would have keys in it
	// If the system, or the service, runs out of memory, this process goes before the agent.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
}
