package updater

import (
	"time"

	"cauase/pkg/clock"
)

// A lineBudget bounds how much of a log others can fill: so many lines at once, and one more each few seconds.
type lineBudget struct {
	clock   clock.Clock
	used    float64
	since   time.Time
	omitted int
}

const (
	budgetLines = 200
	budgetEvery = 3 * time.Second
)

// take reports whether one more line may be logged and, if so, how many were not before it.
func (b *lineBudget) take() (pass bool, omitted int) {
	now := b.clock.Now()
	if passed := now.Sub(b.since); passed > 0 {
		b.used = max(0, b.used-passed.Seconds()/budgetEvery.Seconds())
	}
	b.since = now
	if b.used+1 > budgetLines {
		b.omitted++
		return false, 0
	}
	b.used++
	omitted, b.omitted = b.omitted, 0
	return true, omitted
}
