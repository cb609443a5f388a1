package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"cauase/pkg/store"
)

const (
	// maxGroup bounds how many Updates one commit holds, and thereby how long the first of
	// them waits for the others.
	maxGroup = 256
	// queueLength is how many Updates wait in line; further ones wait for a place in it.
	queueLength = 4 * maxGroup
)

// A groupWriter runs Updates one after the other and commits those that have queued together,
// as the flush to disk is what takes time. Each runs in a savepoint of its own, so that one
// that fails leaves nothing behind; none is told of its success before the commit.
type groupWriter struct {
	s    *session
	db   *sql.DB
	log  *slog.Logger
	jobs chan *job
	done chan struct{} // closed when the loop has ended
}

// A job is one Update. It is the writer's turn and the caller's by turns, in this order:
// the caller queues it; the writer claims it, opens a savepoint and sends turn; the caller runs
// its function and answers on ran; the writer closes the savepoint and, sooner or later, sends done.
// The function runs on its caller's goroutine, where its panics and runtime.Goexit belong.
type job struct {
	state atomic.Int32
	turn  chan *handle
	ran   chan error
	done  chan error
	err   error // of the function; the writer's alone
}

// The states of a job. It leaves queued once, for one of the others.
const (
	queued    = iota
	claimed   // the writer has it, its outcome will be known
	abandoned // the caller has gone, it never runs
)

func newGroupWriter(s *session, db *sql.DB, log *slog.Logger) *groupWriter {
	w := &groupWriter{
		s:    s,
		db:   db,
		log:  log,
		jobs: make(chan *job, queueLength),
		done: make(chan struct{}),
	}
	go w.loop()
	return w
}

// update runs fn as part of a group. See DB.Update.
func (w *groupWriter) update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{turn: make(chan *handle, 1), ran: make(chan error, 1), done: make(chan error, 1)}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	var h *handle
	select {
	case h = <-j.turn:
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		select {
		case h = <-j.turn:
		case err := <-j.done:
			return err
		}
	}
	j.run(w.log, h, fn)
	return <-j.done
}

// run calls fn and hands the turn back to the writer, whatever becomes of fn.
func (j *job) run(log *slog.Logger, h *handle, fn func(store.Tx) error) {
	err := errors.New("store: the transaction's goroutine has ended") // unless fn returns
	defer func() { j.ran <- err }()
	err = guard(log, func() error { return fn(tx{reader{h}}) })
}

// guard turns a panic of fn into an error and logs where it came from.
func guard(log *slog.Logger, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("a transaction panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("store: a transaction panicked: %v", p)
		}
	}()
	return fn()
}

func (w *groupWriter) loop() {
	defer close(w.done)
	for j := range w.jobs {
		w.group(context.Background(), j)
	}
}

// group commits first and what queues until it is through with it.
func (w *groupWriter) group(ctx context.Context, first *job) {
	if _, err := w.s.exec(ctx, w.s.dialect.begin); err != nil {
		// Whoever else is in line would wait as long for the same answer.
		for j := first; j != nil; j = w.next() {
			j.fail(err)
		}
		return
	}
	var group []*job
	var err error
	for j := first; j != nil && err == nil; {
		if j.state.CompareAndSwap(queued, claimed) {
			group = append(group, j)
			err = w.run(ctx, j)
		}
		j = nil
		if err == nil && len(group) < maxGroup {
			j = w.next()
		}
	}
	if err == nil {
		_, err = w.s.exec(ctx, "COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself; then this fails, and does not matter.
		_, _ = w.s.exec(ctx, "ROLLBACK")
		if !errors.Is(err, store.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	for _, j := range group {
		if err != nil {
			j.done <- err
		} else {
			j.done <- j.err
		}
	}
}

// next returns a job that waits already, or nil: an idle writer does not wait for company.
func (w *groupWriter) next() *job {
	select {
	case j := <-w.jobs:
		return j
	default:
		return nil
	}
}

// run lets a job's caller run its function in a savepoint. An error ends the whole group:
// the transaction is gone or cannot be trusted.
func (w *groupWriter) run(ctx context.Context, j *job) error {
	if _, err := w.s.exec(ctx, "SAVEPOINT job"); err != nil {
		return err
	}
	h := &handle{s: w.s, write: true}
	j.turn <- h
	j.err = <-j.ran
	h.ended.Store(true)
	if h.failed != nil {
		return h.failed
	}
	if j.err != nil {
		if _, err := w.s.exec(ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
			return err
		}
	}
	_, err := w.s.exec(ctx, "RELEASE SAVEPOINT job")
	return err
}

// fail ends a job that has not run.
func (j *job) fail(err error) {
	if j.state.CompareAndSwap(queued, claimed) {
		j.done <- err
	}
}

// close runs what has queued and releases the connection. Nobody may call update any more.
func (w *groupWriter) close() error {
	close(w.jobs)
	<-w.done
	ctx := context.Background()
	_, err := w.s.exec(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(err, w.s.close(), w.db.Close())
}
