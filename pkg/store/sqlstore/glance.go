package sqlstore

import (
	"context"
	"errors"
	"sync/atomic"

	"cauase/pkg/store"
)

// A glance is a query by itself, on the writer's connection. What another connection has in its cache is worth nothing once
// something was written, while the writer's own cache is always right: so this costs half as much as a View. Between two Updates of a
// group it sees what the first has written, and what is durable only if the commit succeeds.
type glance struct {
	ask   func(store.Reader) error // on the writer's goroutine
	state atomic.Int32             // as of a job
	done  chan error
}

// glance runs ask, which must be quick, before the next Update.
func (w *groupWriter) glance(ctx context.Context, ask func(store.Reader) error) error {
	g := &glance{ask: ask, done: make(chan error, 1)}
	select {
	case w.glances <- g:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-g.done:
		return err
	case <-ctx.Done():
		if g.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		return <-g.done // it has begun
	}
}

// show answers one who waits. An error of its own ends the transaction that may be under way, since SQLite may have.
func (w *groupWriter) show(g *glance) error {
	if !g.state.CompareAndSwap(queued, claimed) {
		return nil
	}
	h := &handle{s: w.s, dialect: w.dialect, write: true, single: true}
	err := guard(w.log, func() error { return g.ask(reader{h}) })
	h.ended.Store(true)
	g.done <- err
	if errors.Is(h.failed, store.ErrUnavailable) {
		return h.failed
	}
	return nil
}

// showAll answers all who wait already.
func (w *groupWriter) showAll() error {
	for {
		select {
		case g := <-w.glances:
			if err := w.show(g); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// Glance implements store.Glancer.
func (db *DB) Glance(ctx context.Context, fn func(store.Reader) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	return guard(db.log, func() error { return db.glance(ctx, fn) })
}

// glanceByReader asks on a connection that reads, where the database keeps one cache for all connections.
func glanceByReader(ctx context.Context, d *dialect, readers *pool, ask func(store.Reader) error) error {
	s, err := readers.get(ctx)
	if err != nil {
		return err
	}
	defer func() { readers.put(s) }()
	if err := s.alone(ctx); err != nil {
		return err
	}
	h := &handle{s: s, dialect: d, single: true}
	defer h.ended.Store(true)
	return ask(reader{h})
}
