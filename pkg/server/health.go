package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
)

// A Check is one thing that has to work for the daemon to be of use.
type Check struct {
	Name string // one word
	Run  func(ctx context.Context) error

	// Warns is set if certificates can be issued nevertheless, whatever its error is: each is a Warning.
	Warns bool
}

// A Warning is the error of a Check that is no reason to do without the daemon: it is ready, and says
// what is wrong. Its text is for everybody.
type Warning struct{ Err error }

// Warn returns a Warning of this text.
func Warn(format string, args ...any) error { return &Warning{fmt.Errorf(format, args...)} }

// An Explained is the error of a Check of which the reason may be shown, and was logged when it began.
type Explained struct {
	Err    error
	Reason string
}

func (e *Explained) Error() string { return e.Err.Error() }
func (e *Explained) Unwrap() error { return e.Err }

func (w *Warning) Error() string { return w.Err.Error() }
func (w *Warning) Unwrap() error { return w.Err }

// readiness is the latest outcome of all checks. It is kept for a moment, so that whoever
// asks often does not keep us busy.
type readiness struct {
	mu    sync.Mutex
	at    time.Time
	ready bool
	page  []byte
}

const (
	readinessLife = time.Second
	// checkTimeout bounds all checks together. A store that takes longer is not ready.
	checkTimeout = 5 * time.Second
)

// ownRoutes are the engine's own. Pages from elsewhere can ask for them, and read no answer.
func (s *Server) ownRoutes() []Route {
	aside := func(*Exchange) error { return nil }
	return []Route{
		{Method: http.MethodGet, Path: "healthz", Access: Anyone, Origin: aside, Handler: s.getHealth, routine: true},
		{Method: http.MethodGet, Path: "readyz", Access: Anyone, Origin: aside, Handler: s.getReady, routine: true},
	}
}

// getHealth says that the process is alive.
func (s *Server) getHealth(x *Exchange) (Perform, error) {
	return func(context.Context, audit.Actor) error {
		x.Header().Set("Cache-Control", NoStore)
		return x.Reply(http.StatusOK, TypeText, []byte("ok\n"))
	}, nil
}

// getReady says whether the daemon is of use, with a line for each check. Why one failed
// is in the log only.
func (s *Server) getReady(x *Exchange) (Perform, error) {
	return func(ctx context.Context, _ audit.Actor) error {
		ready, page := s.checkReady(ctx)
		x.Header().Set("Cache-Control", NoStore)
		if !ready {
			x.Header().Set("Retry-After", retryAfter)
			return x.Reply(http.StatusServiceUnavailable, TypeText, page)
		}
		return x.Reply(http.StatusOK, TypeText, page)
	}, nil
}

func (s *Server) checkReady(ctx context.Context) (bool, []byte) {
	r := &s.readiness
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.cfg.Clock.Now()
	if age := now.Sub(r.at); r.page != nil && age >= 0 && age < readinessLife {
		return r.ready, r.page
	}
	// What is found out serves everyone: it must not depend on the one who asked staying.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	var page bytes.Buffer
	ready := true
	for _, c := range s.cfg.Ready() {
		outcome := "ok"
		var warning *Warning
		var explained *Explained
		switch err := c.Run(ctx); {
		case err == nil:
		case c.Warns || errors.As(err, &warning):
			outcome = "warning: " + pki.EscapeText(err.Error())
		case errors.As(err, &explained):
			ready, outcome = false, "failed: "+explained.Reason
		default:
			ready, outcome = false, "failed"
			s.log.ErrorContext(ctx, "not ready", "check", c.Name, "error", err)
		}
		fmt.Fprintf(&page, "%s %s\n", c.Name, outcome)
	}
	r.at, r.ready, r.page = now, ready, page.Bytes()
	return ready, r.page
}
