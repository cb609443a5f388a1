package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cauase/pkg/store"
)

// A pool hands out the sessions that read. It is there because *sql.DB shares connections
// but not, without a lookup per use, the statements prepared on them.
type pool struct {
	connect  func(context.Context) (readSession, error)
	patience time.Duration // how long to wait for a free session, 0 for as long as it takes
	slots    chan struct{} // taken while a session is out

	mu   sync.Mutex
	idle []readSession // the last to come back is the first to go out, others may never be needed
}

func newPool(size int, patience time.Duration, connect func(context.Context) (readSession, error)) *pool {
	return &pool{connect: connect, patience: patience, slots: make(chan struct{}, size)}
}

// get waits for a free session. It must be put back.
func (p *pool) get(ctx context.Context) (readSession, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
	default:
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
	}
	if s := p.pop(); s != nil {
		return s, nil
	}
	s, err := p.connect(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return s, nil
}

func (p *pool) wait(ctx context.Context) error {
	var late <-chan time.Time
	if p.patience > 0 {
		timer := time.NewTimer(p.patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-late:
		return fmt.Errorf("%w: all of %d connections were busy for %v", store.ErrUnavailable, cap(p.slots), p.patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) pop() readSession {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	s := p.idle[n]
	p.idle = p.idle[:n]
	return s
}

func (p *pool) put(s readSession) {
	if s.sound() {
		p.mu.Lock()
		p.idle = append(p.idle, s)
		p.mu.Unlock()
	} else {
		_ = s.close() // it has failed already, and said so
	}
	<-p.slots
}

// close waits for all sessions to come back.
func (p *pool) close() error {
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	var err error
	for s := p.pop(); s != nil; s = p.pop() {
		err = errors.Join(err, s.close())
	}
	return err
}
