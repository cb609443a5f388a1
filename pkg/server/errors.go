package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A refusal is an error of this package: a status, and a reason to send with it.
type refusal struct {
	status int
	reason string
}

func (e *refusal) Error() string { return e.reason }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

var (
	errNotFound = refuse(http.StatusNotFound, "not found")
	errTooLarge = refuse(http.StatusRequestEntityTooLarge, "body is longer than %d bytes", maxBody)
	// errCredentials is for whoever has shown no certificate, or none that counts.
	errCredentials = refuse(http.StatusUnauthorized, "a valid user certificate is needed, over HTTPS")
)

// retryAfter is how long a client is asked to wait for the database, in seconds.
const retryAfter = "5"

// A class says how the errors of a sentinel are answered.
type class struct {
	sentinel error
	status   int
	show     bool   // the error's text goes to the client
	reason   string // otherwise this does
}

// classes is the one table from errors to statuses, the first match counts. What it does
// not list is an internal error.
var classes = [...]class{
	{ca.ErrNotFound, http.StatusNotFound, false, "not found"},
	{ca.ErrTooManyPending, http.StatusInsufficientStorage, true, ""},
	{ca.ErrConflict, http.StatusConflict, true, ""},
	{ca.ErrUnauthorized, http.StatusUnauthorized, true, ""},
	{ca.ErrInvalid, http.StatusBadRequest, true, ""},
	{envelope.ErrInvalid, http.StatusBadRequest, true, ""},
	{pki.ErrInvalid, http.StatusBadRequest, true, ""},
	{store.ErrUnavailable, http.StatusServiceUnavailable, false, "the database is not available, try again"},
	{store.ErrUncertain, http.StatusServiceUnavailable, false, "the database was lost on the way; look whether it has happened, then try again"},
	{ca.ErrNoSigner, http.StatusServiceUnavailable, false, "no CA certificate is valid now, try again later"},
	{context.Canceled, http.StatusServiceUnavailable, false, "given up"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, false, "took too long, try again"},
}

// statusOf returns the status that err is answered with, and the reason to give.
func statusOf(err error) (status int, reason string) {
	var r *refusal
	if errors.As(err, &r) {
		return r.status, r.reason
	}
	for _, c := range classes {
		if !errors.Is(err, c.sentinel) {
			continue
		}
		if c.show {
			return c.status, pki.EscapeText(err.Error())
		}
		return c.status, c.reason
	}
	return http.StatusInternalServerError, ""
}

// fail answers with an error. Whatever is our own fault goes to the log, not to the client.
func (s *Server) fail(x *exchange, err error) {
	status, reason := statusOf(err)
	if status >= http.StatusInternalServerError && status != http.StatusInsufficientStorage {
		s.log.ErrorContext(x.r.Context(), "request failed", "request_id", x.requestID, "status", status, "error", err)
	}
	if x.w.status != 0 {
		return // the answer is under way
	}
	h := x.w.Header()
	switch status {
	case http.StatusUnauthorized:
		if h.Get("WWW-Authenticate") == "" {
			h.Set("WWW-Authenticate", "transport")
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	case http.StatusInternalServerError:
		reason = "internal error, request id " + x.requestID
	}
	if status != http.StatusRequestEntityTooLarge {
		_ = x.reply(status, typeText, []byte(reason+"\n"))
		return
	}
	h.Set("Connection", "close")
	_ = x.reply(status, typeText, []byte(reason+"\n"))
	s.linger(x)
}

// linger reads some of a body that was refused for its size. Closing a connection with
// unread data resets it, and the reset can overtake the answer that says why; a peer
// that sends first and reads later would never see it. Once more maxBody is the limit.
func (s *Server) linger(x *exchange) {
	if x.r.Header.Get("Expect") != "" {
		return // this one waits for a go-ahead before it sends anything
	}
	if err := http.NewResponseController(x.w).Flush(); err == nil {
		_, _ = io.CopyN(io.Discard, x.r.Body, maxBody)
	}
}
