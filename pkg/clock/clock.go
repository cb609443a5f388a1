// Package clock is the one source of time. Everything that asks "what time is it"
// asks a Clock, reads it once per operation, and can therefore be tested at any date.
package clock

import (
	"sync"
	"time"
)

// A Clock returns the wall-clock time. The times it returns carry no monotonic
// reading: a certificate's life is counted in wall-clock seconds, through suspends
// and clock corrections.
type Clock interface {
	Now() time.Time
}

// A Fake is a Clock that stands still until it is set.
// It is safe for concurrent use.
type Fake struct {
	mu  sync.Mutex
	now time.Time
}

// NewFake returns a Fake that shows now.
func NewFake(now time.Time) *Fake { return &Fake{now: now} }

// Now returns the time the Fake was last set to.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Set moves the clock to t, which may lie in its past.
func (f *Fake) Set(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = t
}

// Advance moves the clock by d, which may be negative.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}
