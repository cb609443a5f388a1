package updater

import (
	"context"

	"cauase/pkg/pemfile"
)

// A keeper does one job for as long as it is to be done: a worker in this process, or one in a
// process of the owner's.
type keeper interface {
	// open prepares what can be prepared at once, and fails if it makes no sense to begin.
	open() error

	// tidy removes what crashes have left of its files, once it is open.
	tidy(*pemfile.Listings)

	// do does the job until ctx ends.
	do(ctx context.Context)

	close()
	wake()             // somebody should look; from any goroutine
	refresh()          // and fetch what can be fetched; from any goroutine
	latest() *Status   // nil if nothing is known yet; from any goroutine
	lastSign() int64   // of life, in Unix seconds, 0 for none yet; from any goroutine
	watches() []string // what to look for events of
}

// newKeeper returns what does a job with the rights that it needs.
func newKeeper(job *Job, o Options) (keeper, error) {
	separate, err := job.separate()
	if err != nil {
		return nil, err
	}
	if separate {
		return newRemote(job, o), nil
	}
	return newWorker(job, o)
}

func (w *worker) do(ctx context.Context) {
	if len(w.locks) == 0 && !w.openPatiently(ctx) {
		return
	}
	w.run(ctx)
}

func (w *worker) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *worker) latest() *Status   { return w.status.Load() }
func (w *worker) lastSign() int64   { return w.beat.Load() }
func (w *worker) watches() []string { return w.job.looked() }
