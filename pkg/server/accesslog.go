package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
)

// newRequestID returns a name for a request, which nobody outside can choose or guess.
func newRequestID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// maxLogged bounds what of a peer's text goes into one log attribute, in bytes.
const maxLogged = 200

// Loggable returns a peer's text as a log may show it: escaped, and cut where that has made it too long.
func Loggable(s string) string {
	cut := len(s) > maxLogged
	s = pki.EscapeText(s[:min(len(s), maxLogged)]) // a rune cut in half is escaped
	if len(s) > maxLogged {
		cut, s = true, s[:maxLogged]
		for s != "" && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	if cut {
		s += "…"
	}
	return s
}

// observe reports an answer, to the access log and to whoever counts. Methods without a route
// are not named to the latter: a stranger can invent any number of them.
func (s *Server) observe(x *Exchange, start time.Time) {
	took := s.cfg.Clock.Now().Sub(start) - x.waited // what was waited for on purpose is no time to answer
	method, pattern := "other", ""
	if x.route != nil {
		method, pattern = x.route.Method, x.route.label(x.params)
	}
	s.cfg.Observe(method, pattern, x.w.status, took)
	if x.awaited {
		s.cfg.Awaited(x.outcome)
	}
	if s.routine(x) {
		if s.log.Enabled(x.Request.Context(), slog.LevelDebug) {
			s.logAccess(x, slog.LevelDebug, took)
		}
		return
	}
	if x.actor.Kind == audit.User || s.sampler.shows(x.peer, omission{"request", x.peer, method, pattern, x.w.status}) {
		s.logAccess(x, slog.LevelInfo, took)
	}
}

// routine reports whether the answer is one of those that come all the time and say nothing: that we are well, and that
// there is nothing new for somebody who has waited for it.
func (s *Server) routine(x *Exchange) bool {
	return x.route != nil && x.route.routine && x.w.status < http.StatusBadRequest || x.waited > 0 && x.w.status == http.StatusNotModified
}

// logAccess writes the request's line of the access log.
func (s *Server) logAccess(x *Exchange, level slog.Level, took time.Duration) {
	protocol := x.Request.Proto
	if x.Secure() {
		protocol += " " + tls.VersionName(x.Request.TLS.Version)
	}
	s.log.LogAttrs(x.Request.Context(), level, "request",
		slog.String("request_id", x.requestID),
		slog.String("address", x.actor.Address),
		slog.String("actor", x.actor.String()),
		slog.String("method", Loggable(x.Request.Method)),
		slog.String("target", Loggable(loggedTarget(x.Request))),
		slog.String("protocol", Loggable(protocol)),
		slog.Int("status", x.w.status),
		slog.Int64("bytes", x.w.bytes),
		slog.Duration("duration", took),
		slog.String("user_agent", Loggable(x.Request.UserAgent())),
	)
}

// loggedTarget is what the peer wrote, before any decoding, but for the query of what changes something: people write reasons
// into those, which are for whom they are about. A log is read by others.
func loggedTarget(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return r.RequestURI
	}
	if path, _, found := strings.Cut(r.RequestURI, "?"); found {
		return path + "?…"
	}
	return r.RequestURI
}

// recoverPanic turns a panic into an answer. One request's bad luck is not the others'.
func (s *Server) recoverPanic(x *Exchange) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // it is never wrapped
		panic(cause) // meant
	}
	s.log.ErrorContext(x.Request.Context(), "panic", "request_id", x.requestID,
		"cause", Loggable(fmt.Sprint(cause)), "stack", string(debug.Stack()))
	if x.w.status != 0 {
		// Half an answer must not look like a whole one.
		x.w.status = http.StatusInternalServerError
		panic(http.ErrAbortHandler)
	}
	s.fail(x, fmt.Errorf("panic"))
}

// newErrorLog returns a logger for what net/http has to say.
func newErrorLog(to *sampler) *log.Logger { return log.New(errorLog{to}, "", 0) }

type errorLog struct{ to *sampler }

// Write logs one message. Handshakes that fail are the daily noise of an open port;
// everything else, such as running out of file descriptors, is not.
func (l errorLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(p, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	if l.to.shows(unknownPeer, omission{what: "http"}) {
		l.to.log.Log(context.Background(), level, "http", "message", pki.EscapeText(string(bytes.TrimSpace(p))))
	}
	return len(p), nil
}
