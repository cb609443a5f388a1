package hook

import (
	"errors"
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// awaitExit returns when a child has ended, and leaves it to be waited for.
func awaitExit(pid int) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// keepFilesFromChildren keeps files that this process was started with from programs that it starts; those that it has opened
// itself are so anyway.
var keepFilesFromChildren = sync.OnceFunc(func() {
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11 nothing can be done at once
})
