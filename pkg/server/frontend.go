package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cauase/pkg/audit"
)

// A FrontEnd is one protocol. The engine asks it for its routes once, and for everything else at
// each request.
type FrontEnd interface {
	// Routes is the table of everything that can be called.
	Routes() []Route

	// Matches reports whether there is, now, something of this name at a path parameter that other
	// components follow in some route. A path on which there is nothing is as unknown as one that no
	// route mentions.
	Matches(parameter, value string) bool

	// Identify returns actor with the identity that crt, whose key the TLS handshake has proved to be
	// held, stands for at this moment, or an error when it stands for none.
	Identify(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error)

	// Problem says how an error of the front-end's own is answered. The zero Problem is an internal
	// error, of which the client learns no more than its request id.
	Problem(err error) Problem

	// Answer sends a problem, in whatever form the protocol gives to it.
	Answer(x *Exchange, p Problem)

	// Options answers OPTIONS on a path on which these methods are allowed, a list for the header of
	// that name. The engine has set that already.
	Options(x *Exchange, allowed string) error
}

// A Problem is what a client is told of an error.
type Problem struct {
	Status int
	Reason string // a line for people, safe to show

	// RetryAfter is how long to wait before trying again. Zero: as is usual for the status.
	RetryAfter time.Duration
}

// LockedRetry is how long clients are asked to wait for somebody to unlock the keys of CAs: a person, who may be asleep.
const LockedRetry = time.Minute

// A refusal is an error that says itself how it is answered.
type refusal struct{ Problem }

func (e *refusal) Error() string { return e.Reason }

// Refuse returns an error that is answered with this status and reason, whichever front-end it
// comes from.
func Refuse(status int, format string, args ...any) error {
	return &refusal{Problem{Status: status, Reason: fmt.Sprintf(format, args...)}}
}

var (
	// ErrNotFound is for paths, and parameters in them, that lead to nothing.
	ErrNotFound = Refuse(http.StatusNotFound, "not found")

	errTooLarge = Refuse(http.StatusRequestEntityTooLarge, "body is longer than %d bytes", MaxBody)
	// errCredentials is for whoever has shown no certificate, or none that counts.
	errCredentials = Refuse(http.StatusUnauthorized, "a valid user certificate is needed, over HTTPS")
)

// plain answers where no front-end is in charge.
type plain struct{}

func (plain) Routes() []Route             { return nil }
func (plain) Matches(string, string) bool { return false }
func (plain) Problem(error) Problem       { return Problem{} }

func (plain) Identify(_ context.Context, actor audit.Actor, _ *x509.Certificate) (audit.Actor, error) {
	return actor, errCredentials
}

func (plain) Answer(x *Exchange, p Problem) {
	_ = x.Reply(p.Status, TypeText, []byte(p.Reason+"\n"))
}

func (plain) Options(x *Exchange, _ string) error { return x.Empty(http.StatusNoContent) }

// retryAfter is how long a client is asked to wait for the database, in seconds.
const retryAfter = "5"

func (p Problem) retryAfter() string {
	if p.RetryAfter <= 0 {
		return retryAfter
	}
	return strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10)
}

// problem returns how err is answered.
func (x *Exchange) problem(err error) Problem {
	var r *refusal
	if errors.As(err, &r) {
		return r.Problem
	}
	p := x.front.Problem(err)
	if p.Status == 0 || p.Status == http.StatusInternalServerError {
		p = Problem{Status: http.StatusInternalServerError, Reason: "internal error, request id " + x.requestID}
	}
	return p
}

// fail answers with an error. Whatever is our own fault goes to the log, not to the client.
func (s *Server) fail(x *Exchange, err error) {
	p := x.problem(err)
	if p.Status >= http.StatusInternalServerError && p.Status != http.StatusInsufficientStorage &&
		s.sampler.shows(x.peer, omission{what: "request failed", status: p.Status}) {
		s.log.ErrorContext(x.Request.Context(), "request failed", "request_id", x.requestID, "status", p.Status, "error", err)
	}
	if x.w.status != 0 {
		return // the answer is under way
	}
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		x.Header().Set("Retry-After", p.retryAfter())
	case http.StatusRequestEntityTooLarge:
		x.Header().Set("Connection", "close")
		defer x.linger()
	}
	x.front.Answer(x, p)
}
