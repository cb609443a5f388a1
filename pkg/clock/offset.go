//go:build clockoffset

package clock

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// offsetFrom names a file with the duration by which the clock of a program that tests have built with the tag
// clockoffset is ahead of the machine's, such as 23h or -1m30s. It is read each time, so that a test can set the clock of
// a daemon that runs. What is shipped is built without that tag, and knows nothing of it.
const offsetFrom = "CAUASE_CLOCK_OFFSET"

// System returns the clock of the machine, set forward or back.
func System() Clock { return offset{path: os.Getenv(offsetFrom), last: new(last)} }

type offset struct {
	path string
	last *last
}

// last is what was read last, as a test may be writing the file at this moment.
type last struct {
	mu sync.Mutex
	by time.Duration
}

func (o offset) Now() time.Time {
	o.last.mu.Lock()
	defer o.last.mu.Unlock()
	if o.path != "" {
		text, err := os.ReadFile(o.path)
		if err != nil {
			panic(fmt.Errorf("%s: %w", offsetFrom, err)) // a test that goes by another time than it thinks proves nothing
		}
		if by, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			o.last.by = by
		}
	}
	return time.Now().Round(0).Add(o.last.by) //permit:time.Now
}
