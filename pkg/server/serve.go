package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// drainTimeout bounds how long Serve waits for requests under way.
const drainTimeout = 20 * time.Second

func baseContext(ctx context.Context) func(net.Listener) context.Context {
	return func(net.Listener) context.Context { return ctx }
}

// Serve answers on all listeners, which it closes, until ctx ends or one of them fails. It
// then accepts nothing new, lets the requests under way finish, for a bounded time, and
// returns; the end of force ends them at once.
func (s *Server) Serve(ctx, force context.Context, l *Listeners, handshake *Handshake) error {
	defer l.Close()
	// Requests outlive ctx: they are to be finished.
	srv := s.httpServer(force)
	srv.TLSConfig = handshake.Config()

	count := len(l.HTTP) + len(l.HTTPS)
	limit := connectionLimit(openFiles(), count)
	failed := make(chan error, count)
	var running sync.WaitGroup
	for _, plain := range l.HTTP {
		running.Go(func() { failed <- srv.Serve(netutil.LimitListener(plain, limit)) })
	}
	for _, secure := range l.HTTPS {
		running.Go(func() { failed <- srv.ServeTLS(netutil.LimitListener(secure, limit), "", "") })
	}

	var cause error
	select {
	case <-ctx.Done():
	case <-force.Done():
	case cause = <-failed:
	}
	drain, cancel := context.WithTimeout(force, drainTimeout)
	defer cancel()
	err := srv.Shutdown(drain)
	if err != nil {
		s.log.WarnContext(drain, "requests under way were cut off", "error", err)
		err = srv.Close()
	}
	running.Wait()
	if errors.Is(cause, http.ErrServerClosed) {
		cause = nil
	}
	if cause != nil {
		cause = fmt.Errorf("a listener failed: %w", cause)
	}
	return errors.Join(cause, err)
}

const (
	// reservedFiles are for all but connections: the database and its readers, files
	// that are replaced, name resolution.
	reservedFiles = 40
	// Bounds of the connections that one listener has at a time. Others wait.
	minConnections = 4
	maxConnections = 10_000
)

// connectionLimit shares what the process may open between its listeners. Without it, a
// crowd of connections would leave no file descriptor for the database.
func connectionLimit(files uint64, listeners int) int {
	free := int64(min(files, 1<<30)) - reservedFiles
	return int(min(max(free/int64(max(listeners, 1)), minConnections), maxConnections))
}

// openFiles is how many files the process may have open.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what it is on most systems
	}
	return uint64(limit.Cur)
}
