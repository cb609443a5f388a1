package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"cauase/pkg/merkle"
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
	s       writeSession
	dialect *dialect
	log     *slog.Logger
	jobs    chan *job
	glances chan *glance
	done    chan struct{} // closed when the loop has ended
	trunk   *trunk

	sign atomic.Pointer[func(merkle.Checkpoint) ([]byte, error)] // what signs checkpoints; nil: nothing does
}

// A job is one Update. It is the writer's turn and the caller's by turns, in this order:
// the caller queues it; the writer claims it, opens a savepoint and sends turn; the caller runs
// its function and answers on ran; the writer closes the savepoint and, sooner or later, sends done.
// If the group has to be run again, so are these steps, from the savepoint on.
// The function runs on its caller's goroutine, where its panics and runtime.Goexit belong.
type job struct {
	state atomic.Int32
	turn  chan *handle
	ran   chan result
	done  chan error

	// The rest is the writer's alone.
	err  error // of the function
	gone bool  // the caller's goroutine has ended
}

// A result is what became of a function.
type result struct {
	err  error
	gone bool
}

// The states of a job. It leaves queued once, for one of the others.
const (
	queued    = iota
	claimed   // the writer has it, its outcome will be known
	abandoned // the caller has gone, it never runs
)

func newGroupWriter(s writeSession, d *dialect, log *slog.Logger) *groupWriter {
	w := &groupWriter{
		s:       s,
		dialect: d,
		log:     log,
		jobs:    make(chan *job, queueLength),
		glances: make(chan *glance, queueLength),
		done:    make(chan struct{}),
	}
	w.trunk = &trunk{sign: w.signer, log: log}
	go w.loop()
	return w
}

// update runs fn as part of a group. See DB.Update.
func (w *groupWriter) update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.s.down(); err != nil {
		return err
	}
	j := &job{turn: make(chan *handle, 1), ran: make(chan result, 1), done: make(chan error, 1)}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	ended := ctx.Done()
	for {
		select {
		case h := <-j.turn:
			j.run(w.log, h, fn)
		case err := <-j.done:
			return err
		case <-ended:
			if j.state.CompareAndSwap(queued, abandoned) {
				return ctx.Err()
			}
			ended = nil // it has begun
		}
	}
}

// run calls fn and hands the turn back to the writer, whatever becomes of fn.
func (j *job) run(log *slog.Logger, h *handle, fn func(store.Tx) error) {
	r := result{errors.New("store: the transaction's goroutine has ended"), true} // unless fn returns
	defer func() { j.ran <- r }()
	r = result{err: guard(log, func() error { return fn(tx{reader{h}}) })}
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
	for {
		select {
		case g := <-w.glances:
			_ = w.show(g) // which has been told
		case j, open := <-w.jobs:
			if !open {
				return
			}
			w.group(context.Background(), j)
		}
	}
}

// group commits first and what queues until it is through with it. If that fails for a reason
// that may pass, it runs the same jobs again.
func (w *groupWriter) group(ctx context.Context, first *job) {
	var group []*job
	var err error
	for n := 1; ; n++ {
		group, err = w.attempt(ctx, group, first)
		if err == nil || !w.s.again(ctx, err, n) {
			break
		}
	}
	if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUncertain) {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	for _, j := range group {
		if err != nil {
			j.done <- err
		} else {
			j.done <- j.err
		}
	}
	if err != nil && !w.s.entered() {
		// Whoever else is in line would wait as long for the same answer.
		first.fail(err)
		w.drain(err)
	}
}

// attempt runs the jobs of group again, then first and what has queued, and commits. It
// returns all of them.
func (w *groupWriter) attempt(ctx context.Context, group []*job, first *job) ([]*job, error) {
	w.trunk.reset()
	err := w.s.begin(ctx)
	for _, j := range group {
		if err == nil {
			err = w.run(ctx, j)
		}
	}
	for j := first; err == nil; {
		if err = w.showAll(); err != nil {
			break
		}
		if j != nil && j.state.CompareAndSwap(queued, claimed) {
			group = append(group, j)
			if err = w.run(ctx, j); err != nil {
				break
			}
		}
		if len(group) >= maxGroup {
			break
		}
		if j = w.company(); j == nil {
			break
		}
	}
	if err == nil {
		h := &handle{s: w.s, dialect: w.dialect, write: true}
		err = w.trunk.finish(ctx, h)
	}
	if err == nil {
		err = w.s.commit(ctx)
	}
	if err != nil {
		w.s.rollback(ctx)
	}
	return group, err
}

// drain fails everybody who waits.
func (w *groupWriter) drain(err error) {
	for j := w.next(); j != nil; j = w.next() {
		j.fail(err)
	}
}

// next returns a job that waits already, or nil.
func (w *groupWriter) next() *job {
	select {
	case j := <-w.jobs:
		return j
	default:
		return nil
	}
}

// company is next for a writer that would otherwise commit. It lets everybody run first who is ready to, and is about to come perhaps:
// a processor that is idle does not wait, and one that is not has something better to do than another commit.
func (w *groupWriter) company() *job {
	if j := w.next(); j != nil {
		return j
	}
	runtime.Gosched()
	return w.next()
}

// run lets a job's caller run its function in a savepoint. An error ends the whole group:
// the transaction is gone or cannot be trusted.
func (w *groupWriter) run(ctx context.Context, j *job) error {
	if j.gone {
		return nil // nobody is there to run it again
	}
	if err := w.s.save(ctx); err != nil {
		return err
	}
	w.trunk.begin()
	h := &handle{s: w.s, dialect: w.dialect, write: true, trunk: w.trunk}
	j.turn <- h
	r := <-j.ran
	j.err, j.gone = r.err, r.gone
	h.ended.Store(true)
	if errors.Is(h.failed, store.ErrUnavailable) {
		return h.failed
	}
	if j.err == nil {
		j.err = h.failed // a savepoint that has failed cannot be kept
	}
	if j.err == nil {
		err := w.s.keep(ctx)
		if err == nil || errors.Is(err, store.ErrUnavailable) {
			return err
		}
		j.err = err // of what was put off
	}
	w.trunk.undo()
	return w.s.undo(ctx, j.err)
}

// signer is what signs checkpoints now, or nil.
func (w *groupWriter) signer() func(merkle.Checkpoint) ([]byte, error) {
	if sign := w.sign.Load(); sign != nil {
		return *sign
	}
	return nil
}

// fail ends a job that has not run.
func (j *job) fail(err error) {
	if j != nil && j.state.CompareAndSwap(queued, claimed) {
		j.done <- err
	}
}

// close runs what has queued and releases the connection. Nobody may call update any more.
func (w *groupWriter) close() error {
	close(w.jobs)
	<-w.done
	return w.s.close()
}
