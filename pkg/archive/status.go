package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A backup that failed is tried again after retryFirst, then after twice the time, up to retryMost;
// one for which the database was away always after retryFirst; and each when the next one is due.
const (
	retryFirst = time.Minute
	retryMost  = time.Hour
)

// missedAfter is how late a backup must be to count as missed.
const missedAfter = 15 * time.Minute

// state is what one daemon knows of its backups.
type state struct {
	base     time.Time    // when the last backup was taken, by whichever daemon; zero if not known
	files    []backupFile // in our directory, when it was last looked at
	noUser   bool
	others   bool      // another daemon is taking the backup that is due
	loggedAt time.Time // when that was last logged
	failure  error     // of our last attempt, nil when there was a good one since, by whichever daemon
	failedAt time.Time
	tries    int // in a row
	failures int // since the start
}

// A Status is the state of backups, for monitoring.
type Status struct {
	Last     *Record   // nil: none on record
	Due      time.Time // when the next one is; zero: not before there is a first user
	Missed   bool      // it is late
	NoUser   bool      // there is nobody to encrypt it to
	Failed   time.Time // when this daemon last failed, if there was no good one since
	Failures int       // of this daemon since its start
}

// mayTry reports whether enough time has passed since the last failure.
func (a *Archive) mayTry(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !now.Before(a.retryAt()) || now.Before(a.state.failedAt)
}

// retryAt is when to try again after a failure, the zero time when there was none. The caller holds mu.
func (a *Archive) retryAt() time.Time {
	s := &a.state
	if s.tries == 0 {
		return time.Time{}
	}
	wait := retryMost
	if s.tries < 7 { // the sixth is half an hour
		wait = retryFirst << (s.tries - 1)
	}
	at := s.failedAt.Add(wait)
	// What is due sooner than that is not waited for.
	if next := a.cfg.Schedule.Next(s.failedAt); !next.IsZero() && next.Before(at) {
		return next
	}
	return at
}

// next is when there will be something to do, zero if that is not known.
func (a *Archive) next() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch s := &a.state; {
	case s.tries > 0:
		return a.retryAt()
	case s.noUser || s.others || s.base.IsZero():
		return time.Time{}
	default:
		return a.dueAfter(s.base)
	}
}

func (a *Archive) lookedAt(base time.Time, files []backupFile) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.base, a.state.files = base, files
	if base.After(a.state.failedAt) {
		a.state.failure, a.state.tries = nil, 0
	}
}

func (a *Archive) recovered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.failure, a.state.tries = nil, 0
}

// recordOutcome records how an attempt has ended, and logs it.
func (a *Archive) recordOutcome(ctx context.Context, now time.Time, b *Backup, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, log := &a.state, a.cfg.Log
	s.noUser, s.others = errors.Is(err, ErrNoUser), false
	switch {
	case b != nil:
		s.base, s.failure, s.tries = b.At, nil, 0
		s.files = append(s.files, backupFile{name: b.name(), at: b.At, size: b.Size, ours: true})
		log.InfoContext(ctx, "backup taken", "file", b.Path, "bytes", b.Size, "rows", b.Rows.Rows(),
			"recipients", b.Recipients, "duration", b.Took)
		for _, x := range b.Excluded {
			log.WarnContext(ctx, "a user cannot decrypt the backup", "subject", x.Subject, "serial", pki.FormatSerial(x.Serial), "reason", x.Why)
		}
	case errors.Is(err, ErrNoUser):
		s.failure, s.tries = nil, 0
		if ago := now.Sub(s.loggedAt); ago < 0 || ago >= retryMost {
			s.loggedAt = now
			if s.base.IsZero() {
				log.InfoContext(ctx, "no backup yet: "+err.Error())
			} else {
				log.WarnContext(ctx, "no backup any more: "+err.Error())
			}
		}
	case err == nil, errors.Is(err, errClaimed), errors.Is(err, errNotDue), errors.Is(err, errLost), errors.Is(err, ErrBusy):
		if s.others = err != nil; s.others {
			log.DebugContext(ctx, "no backup: "+err.Error())
		}
	default:
		s.failure, s.failedAt = err, now
		s.tries++
		s.failures++
		if errors.Is(err, store.ErrUnavailable) {
			s.tries = 1 // a look at the database costs little, and it may be back at any time
		}
		log.ErrorContext(ctx, "backup failed", "directory", a.cfg.Directory, "error", err, "next_try", a.retryAt())
	}
}

// Status returns the state of backups. Its error is that of the store.
func (a *Archive) Status(ctx context.Context) (Status, error) {
	now := a.cfg.Clock.Now()
	var last Record
	var ok bool
	err := a.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		last, ok, err = Last(ctx, r)
		return err
	})
	if err != nil {
		return Status{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{NoUser: a.state.noUser, Failures: a.state.failures}
	base := a.state.base
	if ok {
		s.Last = &last
		base = a.later(base, last, now, a.state.files)
	}
	if a.state.failure != nil && a.state.failedAt.After(base) {
		s.Failed = a.state.failedAt
	}
	switch {
	case !base.IsZero():
		s.Due = a.dueAfter(base)
	case s.NoUser:
		return s, nil
	default:
		s.Due = a.started
	}
	// A daemon that was down is given the time to make up for it.
	since := s.Due
	if since.Before(a.started) && a.started.Before(now) {
		since = a.started
	}
	s.Missed = now.Sub(since) >= missedAfter
	return s, nil
}

// Check returns what is wrong with backups, or nil. Its text discloses nothing confidential.
func (a *Archive) Check(ctx context.Context) error {
	s, err := a.Status(ctx)
	if err != nil {
		return errors.New("failed: the database is not available")
	}
	last := "there is none yet"
	if s.Last != nil {
		last = "the last one is of " + s.Last.Time.UTC().Format(time.RFC3339)
	}
	switch {
	case !s.Failed.IsZero():
		return fmt.Errorf("failed at %s, %s", s.Failed.UTC().Format(time.RFC3339), last)
	case s.Missed:
		// That there may be no user any more is in the log: strangers read this, who might want to become one.
		return fmt.Errorf("missed, due at %s, %s", s.Due.UTC().Format(time.RFC3339), last)
	case s.Last != nil && s.Last.Excluded > 0:
		return fmt.Errorf("users who cannot decrypt it: %d; %s, and the log says who", s.Last.Excluded, last)
	}
	return nil
}

func (b Backup) name() string { return filepath.Base(b.Path) }

func (b Backup) record(place string) Record {
	return Record{
		Time: b.At, Name: b.name(), Place: place, Size: b.Size, Recipients: b.Recipients,
		Excluded: len(b.Excluded), TookMillis: b.Took.Milliseconds(),
	}
}
