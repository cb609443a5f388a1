package ca

import (
	"sync/atomic"
	"time"
)

const (
	// longList is the size of a list, in bytes, from which on nobody who asks waits for the next. To hash fewer takes less time
	// than to have a list recorded, so that whoever asks after a revocation may as well wait, and finds it.
	longList = 1 << 20

	// maxLate is how long lists are served that are known to be out of date, while the next ones are made.
	maxLate = 2 * time.Second
)

// A lateness is since when lists are known to be out of date.
type lateness struct {
	since atomic.Int64 // in nanoseconds; 0 while it is not known
}

// tolerable notes that the lists are out of date, and reports whether they may be served all the same.
func (l *lateness) tolerable(now time.Time) bool {
	l.since.CompareAndSwap(0, now.UnixNano())
	return now.Sub(time.Unix(0, l.since.Load())) < maxLate
}

// giveUp has lists that are out of date served no more, as no others could be made.
func (l *lateness) giveUp() { l.since.Store(1) }

// servesOn reports whether lists that are out of date are served until the next ones are there, which somebody is told to make. That
// is so for a short time if they are long, of the same CAs, and valid.
func (a *Authority) servesOn(set *crlSet, now time.Time, version int64) bool {
	if a.cfg.Outdated == nil || !set.inTime(now) || set.version != version || set.lists[0].der.Size() < a.crls.long || !set.late.tolerable(now) {
		return false
	}
	a.cfg.Outdated()
	return true
}

// revoked has the next lists made at once, before anybody asks for them.
func (a *Authority) revoked(err error) error {
	if err == nil && a.cfg.Outdated != nil {
		a.cfg.Outdated()
	}
	return err
}
