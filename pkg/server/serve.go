package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// drainTimeout bounds how long Serve waits for requests under way.
const drainTimeout = 20 * time.Second

func baseContext(ctx context.Context) func(net.Listener) context.Context {
	return func(net.Listener) context.Context { return ctx }
}

// Connections is how many connections there are.
func (s *Server) Connections() int { return s.ledger.connections() }

// Waiting is how many requests wait for news, or have done so over connections that do nothing else.
func (s *Server) Waiting() int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return int(s.ledger.waiting())
}

// Serve answers on all listeners, which it closes, until ctx ends or one of them fails. It
// then accepts nothing new, lets the requests under way finish, for a bounded time, and
// returns; the end of force ends them at once.
func (s *Server) Serve(ctx, force context.Context, l *Listeners, handshake *Handshake) error {
	defer l.Close()
	// Requests outlive ctx: they are to be finished.
	srv := s.httpServer(force)
	srv.TLSConfig = handshake.Config()

	failed := make(chan error, len(l.HTTP)+len(l.HTTPS)+len(l.Unix))
	var running sync.WaitGroup
	enter := func(at net.Listener, config *tls.Config) {
		e := newEntrance(at, s, config)
		running.Go(func() { failed <- srv.Serve(e) })
	}
	for _, plain := range slices.Concat(l.HTTP, l.Unix) {
		enter(plain, nil)
	}
	for _, secure := range l.HTTPS {
		enter(secure, srv.TLSConfig)
	}

	var cause error
	select {
	case <-ctx.Done():
	case <-force.Done():
	case cause = <-failed:
	}
	s.stop()
	drain, cancel := context.WithTimeout(force, drainTimeout)
	defer cancel()
	err := srv.Shutdown(drain)
	if err != nil {
		s.log.WarnContext(drain, "requests under way were cut off", "error", err)
		err = srv.Close()
	}
	running.Wait()
	s.sampler.summarize()
	s.ledger.closeAll() // those whose handshake is not done
	if errors.Is(cause, http.ErrServerClosed) {
		cause = nil
	}
	if cause != nil {
		cause = fmt.Errorf("a listener failed: %w", cause)
	}
	return errors.Join(cause, err)
}
