// Package archive keeps backups of a store in a directory: encrypted to its users, taken when one
// is due, verified before they count, by one of the daemons that share a database.
//
// A backup never stands in the way of what the authorities do: it reads one snapshot, and has a
// goroutine of its own.
package archive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// Config is what an Archive works with. Keep and Poll may be zero.
type Config struct {
	Directory string
	Schedule  Schedule
	Keep      int // how many of our backups to leave in the directory, 0: all

	Store    store.Store
	Clock    clock.Clock
	Log      *slog.Logger
	Software string        // version that is written into backups
	Keys     *keys.Keyring // of Store; nil: nothing in it is sealed

	// Poll is how often to look what is due, at most a minute, which zero stands for.
	Poll time.Duration
}

// An Archive takes the backups of one daemon.
type Archive struct {
	cfg    Config
	taker  taker
	place  string // this machine and directory, across restarts
	holder string // this process

	started    time.Time
	unrecorded *Backup // taken, not recorded yet
	mu         sync.Mutex
	state      state
}

// New returns an Archive, for Run. It has no side effects.
func New(cfg Config) (*Archive, error) {
	directory, err := filepath.Abs(cfg.Directory)
	if err != nil {
		return nil, err
	}
	cfg.Directory = directory
	if cfg.Poll <= 0 || cfg.Poll > time.Minute {
		cfg.Poll = time.Minute
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &Archive{
		cfg:     cfg,
		taker:   taker{store: cfg.Store, clock: cfg.Clock, software: cfg.Software, keys: cfg.Keys},
		place:   host + ":" + directory,
		holder:  rand.Text(),
		started: cfg.Clock.Now(),
	}, nil
}

// Run takes backups when they are due, until ctx ends. Then it leaves behind neither half a file
// nor a claim.
func (a *Archive) Run(ctx context.Context) {
	for ctx.Err() == nil {
		a.poll(ctx)
		timer := time.NewTimer(a.pause())
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pause is how long to wait before looking again. The clock is asked anew each time: it may have
// been set, or the machine have slept.
func (a *Archive) pause() time.Duration {
	next := a.next()
	if next.IsZero() {
		// The first user need not wait for the first backup, and another daemon may die.
		return min(shortPoll, a.cfg.Poll)
	}
	return min(max(next.Sub(a.cfg.Clock.Now()), minPause), a.cfg.Poll)
}

const (
	minPause  = 100 * time.Millisecond
	shortPoll = 5 * time.Second
)

// poll takes a backup if one is due, and remembers how that went.
func (a *Archive) poll(ctx context.Context) {
	now := a.cfg.Clock.Now()
	if !a.mayTry(now) {
		return
	}
	b, err := a.attempt(ctx, now)
	if b == nil && ctx.Err() != nil {
		return // the daemon shuts down
	}
	a.recordOutcome(ctx, now, b, err)
}

// attempt takes a backup if one is due. It returns neither a backup nor an error when none is.
func (a *Archive) attempt(ctx context.Context, now time.Time) (*Backup, error) {
	if a.unrecorded != nil {
		if err := a.settle(ctx, a.unrecorded); err != nil {
			return nil, fmt.Errorf("the last backup cannot be recorded: %w", err)
		}
		a.unrecorded = nil
		a.recovered()
	}
	files, err := backups(a.cfg.Directory)
	if errors.Is(err, os.ErrNotExist) {
		err = checkCreatable(a.cfg.Directory)
	}
	if err != nil {
		return nil, err
	}
	var base time.Time
	err = a.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		if base, err = a.base(ctx, r, now, files); err != nil || now.Before(a.dueAfter(base)) {
			return err
		}
		_, _, err = users(ctx, r, now)
		return err
	})
	if err == nil || errors.Is(err, ErrNoUser) || errors.Is(err, ErrNoUsableKey) {
		a.lookedAt(base, files)
	}
	if err != nil || now.Before(a.dueAfter(base)) {
		return nil, err
	}
	dir, err := openDirectory(a.cfg.Directory)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	if err := a.claim(ctx, dir.locked, now, files); err != nil {
		return nil, err
	}
	b, err := a.takeClaimed(ctx, dir, now)
	if err != nil {
		return nil, errors.Join(err, a.settle(ctx, nil))
	}
	if err := a.settle(ctx, &b); err != nil {
		a.unrecorded = &b // it is there nevertheless
		a.cfg.Log.ErrorContext(ctx, "backup not recorded in the database yet", "file", b.Path, "error", err)
	}
	a.prune(ctx, dir, b)
	return &b, nil
}

// takeClaimed takes a backup for as long as the claim is ours.
func (a *Archive) takeClaimed(ctx context.Context, dir *directory, now time.Time) (Backup, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { a.keepClaim(ctx, cancel) })
	defer kept.Wait()
	defer cancel(nil)
	if n, err := dir.sweep(now); err != nil {
		a.cfg.Log.WarnContext(ctx, "what an interrupted backup has left behind cannot be removed", "directory", a.cfg.Directory, "error", err)
	} else if n > 0 {
		a.cfg.Log.InfoContext(ctx, "removed what an interrupted backup has left behind", "directory", a.cfg.Directory, "files", n)
	}
	b, err := a.taker.take(ctx, dir, "")
	if err != nil && errors.Is(context.Cause(ctx), errLost) {
		err = errLost
	}
	return b, err
}

// prune removes backups that are no longer wanted, now that there is a newer one.
func (a *Archive) prune(ctx context.Context, dir *directory, b Backup) {
	at, _, _ := parseName(b.name())
	removed, err := dir.prune(a.cfg.Keep, at)
	if len(removed) > 0 {
		a.cfg.Log.InfoContext(ctx, "old backups removed", "files", removed)
	}
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "old backups cannot be removed", "directory", a.cfg.Directory, "error", err)
	}
}

// base is when the last backup was taken, zero if there is none: the newest in our directory, or
// the one on record if it is newer. The files are looked at before: a disk that hangs must not
// keep a transaction open.
func (a *Archive) base(ctx context.Context, r store.Reader, now time.Time, files []backupFile) (time.Time, error) {
	last, ok, err := Last(ctx, r)
	if err != nil || !ok {
		return newest(files, now), err
	}
	return a.later(newest(files, now), last, now, files), nil
}

// later returns at, or when the last backup on record was taken if that is later. One that we have
// taken ourselves does not count if it is gone, or not whole.
func (a *Archive) later(at time.Time, last Record, now time.Time, files []backupFile) time.Time {
	whole := func(f backupFile) bool { return f.name == last.Name && f.size == last.Size }
	switch {
	case !last.Time.After(at), last.Time.After(now.Add(maxSkew)):
	case last.Place == a.place && !slices.ContainsFunc(files, whole):
	default:
		return last.Time
	}
	return at
}

// dueAfter is when a backup is due if the last one was taken at base, the zero time if there was none.
func (a *Archive) dueAfter(base time.Time) time.Time {
	if base.IsZero() {
		return time.Time{}
	}
	if next := a.cfg.Schedule.Next(base); !next.IsZero() {
		return next
	}
	return base.AddDate(never, 0, 0)
}

// never, in years, stands for a time that no schedule comes to.
const never = 100
