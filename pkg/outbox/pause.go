package outbox

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pause is how long to wait after so many failures: twice as long each time, up to a bound, and more or less by chance, so that
// recipients that fail together are not tried together.
func pause(failures int) time.Duration {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = firstPause, longestPause, 2, 0.3
	b.Reset()
	var next time.Duration
	for range min(max(failures, 1), 20) {
		next = b.NextBackOff()
	}
	return next
}
