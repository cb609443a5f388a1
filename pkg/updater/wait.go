package updater

import (
	"context"
	"time"
)

const (
	poll        = time.Minute // looks for what events miss, and at the wall clock
	pollUnseen  = time.Second // without events
	debounce    = 50 * time.Millisecond
	clockJump   = time.Minute
	unhurried   = 5 * time.Minute // between tries when it is too late
	farthestTry = 2 * time.Hour   // beyond what backoff asks for
)

// wait waits until it is time for another round. It returns false when ctx has ended.
func (w *worker) wait(ctx context.Context, wake time.Time) bool {
	every := poll
	if w.o.poll != 0 {
		every = w.o.poll
	}
	if w.o.watched != nil && !w.o.watched() {
		every = pollUnseen
	}
	for {
		now := w.o.Clock.Now()
		w.beat.Store(now.Unix())
		timer := time.NewTimer(max(min(wake.Sub(now), every), time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case result := <-w.results:
			timer.Stop()
			result()
			return true
		case <-w.kick:
			timer.Stop()
			if !sleep(ctx, debounce) {
				return false
			}
		case <-timer.C:
		}
		now = w.o.Clock.Now()
		if w.called() || !now.Before(wake) || now.Before(w.looked.Add(-clockJump)) || fingerprint(w.job.looked()) != w.fingerprint || !w.holdsLocks() || w.job.inOtherHands(false) {
			return true
		}
	}
}

// called reports whether somebody wants the worker to act, and it can.
func (w *worker) called() bool {
	return !w.netBusy && (w.asked.Load() || w.pushed.Load() != nil || w.healed.Load())
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
