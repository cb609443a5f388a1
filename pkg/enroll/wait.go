package enroll

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"
)

// Polling for a decision made by a person.
const (
	firstPoll = time.Second
	lastPoll  = 30 * time.Second

	// longestPause bounds how long a daemon can have a client wait for its next try.
	longestPause = 10 * time.Minute
)

// Undecided reports whether waiting may help against an error of [Engine.Collect]. A daemon that is away for a while is
// no reason to give up.
func Undecided(err error) bool {
	return !errors.Is(err, ErrRejected) && !errors.Is(err, client.ErrUnknown) && !unacceptable(err)
}

// Persist tries until there is no error, or none that waiting may help against, or ctx ends, and then returns what the
// last try came to. Pauses grow, and are as long as the daemon asks for. It tells wait of each try that came to nothing, the
// first being number 0.
func Persist(ctx context.Context, try func() error, hopeful func(error) bool, wait func(n int, err error)) error {
	delay := firstPoll
	for n := 0; ; n++ {
		err := try()
		if err == nil || ctx.Err() != nil || !hopeful(err) {
			return err
		}
		wait(n, err)
		timer := time.NewTimer(min(max(delay, client.RetryAfter(err)), longestPause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		delay = min(delay*3/2, lastPoll)
	}
}

// Busy reports whether an error is a daemon's answer that it cannot do now what it may do later.
func Busy(err error) bool {
	return client.IsStatus(err, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage)
}

// unacceptable reports whether a certificate has come, and is not taken.
func unacceptable(err error) bool {
	for _, why := range []error{client.ErrWrongKey, client.ErrIncompleteChain, pki.ErrUnknownIssuer, pki.ErrExpired, pki.ErrNotYetValid, pki.ErrInvalid} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}
