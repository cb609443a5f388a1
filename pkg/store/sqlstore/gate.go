package sqlstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How often to look whether a server that was away is back.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// A gate stands before the server. Once somebody has found out that it is away, nobody else waits
// for that: the gate is shut and refuses at once, until it has itself found the server back.
type gate struct {
	probe func(context.Context) (*pgx.Conn, error)

	mu   sync.Mutex
	shut error // why nobody gets through

	closing context.Context
	close   context.CancelFunc
	probing sync.WaitGroup
}

func newGate(probe func(context.Context) (*pgx.Conn, error)) *gate {
	g := &gate{probe: probe}
	g.closing, g.close = context.WithCancel(context.Background())
	return g
}

// refused says why there can be no connection now; nil when nothing is known against it.
func (g *gate) refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// through makes a connection with dial, unless the gate is shut.
func (g *gate) through(dial func(context.Context) (*pgx.Conn, error)) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		if err := g.refused(); err != nil {
			return nil, err
		}
		conn, err := dial(ctx)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil { // the caller's impatience says nothing of the server
			return nil, ctx.Err()
		}
		if away(err) {
			g.shutFor(err)
		}
		return nil, err
	}
}

// away reports whether nobody else would fare better. A server that has too many connections still
// serves those that it has.
func away(err error) bool {
	var e *pgconn.PgError
	return !errors.As(err, &e) || e.Code != "53300"
}

// shutFor shuts the gate and looks after the server until it is back.
func (g *gate) shutFor(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil || g.closing.Err() != nil {
		return
	}
	g.shut = why
	g.probing.Go(func() {
		delays := backoff.NewExponentialBackOff()
		delays.InitialInterval, delays.MaxInterval = firstLook, lastLook
		_, _ = backoff.Retry(g.closing, g.look, backoff.WithBackOff(delays), backoff.WithMaxElapsedTime(0)) // ends only with success, or with us
	})
}

func (g *gate) look() (struct{}, error) {
	conn, err := g.probe(g.closing)
	if err != nil && away(err) {
		g.set(err)
		return struct{}{}, err
	}
	g.set(nil)
	if conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), rollbackBound)
		defer cancel()
		_ = conn.Close(ctx) // it has done its duty
	}
	return struct{}{}, nil
}

func (g *gate) set(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = err
}

// end stops looking.
func (g *gate) end() {
	g.close()
	g.probing.Wait()
}
