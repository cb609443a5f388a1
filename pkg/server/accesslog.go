package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// newRequestID returns a name for a request, which nobody outside can choose or guess.
func newRequestID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// maxLogged bounds what of a peer's text goes into one log attribute, in bytes.
const maxLogged = 200

// loggable returns a peer's text as a log may show it.
func loggable(s string) string {
	if len(s) > maxLogged {
		s = s[:maxLogged] + "…" // a rune cut in half is escaped
	}
	return pki.EscapeText(s)
}

// observe reports an answer, to the access log and to whoever counts. Methods without a route
// are not named to the latter: a stranger can invent any number of them.
func (s *Server) observe(x *exchange, start time.Time) {
	took := s.cfg.Clock.Now().Sub(start)
	method, pattern := "other", ""
	if x.route != nil {
		method, pattern = x.route.method, "/"+x.route.path
	}
	s.cfg.Observe(method, pattern, x.w.status, took)
	s.logAccess(x, took)
}

// logAccess writes the request's line of the access log.
func (s *Server) logAccess(x *exchange, took time.Duration) {
	protocol := x.r.Proto
	if x.r.TLS != nil {
		protocol += " " + tls.VersionName(x.r.TLS.Version)
	}
	// The target is what the peer wrote, before any decoding.
	s.log.LogAttrs(x.r.Context(), slog.LevelInfo, "request",
		slog.String("request_id", x.requestID),
		slog.String("address", x.actor.Address),
		slog.String("actor", x.actor.String()),
		slog.String("method", loggable(x.r.Method)),
		slog.String("target", loggable(x.r.RequestURI)),
		slog.String("protocol", protocol),
		slog.Int("status", x.w.status),
		slog.Int64("bytes", x.w.bytes),
		slog.Duration("duration", took),
		slog.String("user_agent", loggable(x.r.UserAgent())),
	)
}

// noticeReference warns, once, when a client of the reference shows up while there is a CA
// whose key is not RSA. Such a client verifies no other signatures, so that it cannot
// follow that CA when it rolls over.
func (s *Server) noticeReference(x *exchange) {
	if !strings.HasPrefix(x.r.UserAgent(), "caucase ") || s.referenceNoticed.Swap(true) {
		return
	}
	ctx := x.r.Context()
	for name, a := range map[store.AuthorityName]Authority{store.Users: s.cfg.Users, store.Services: s.cfg.Services} {
		crts, err := a.CACertificates(ctx)
		if err != nil {
			s.referenceNoticed.Store(false)
			return
		}
		if crt := crts[len(crts)-1]; crt.PublicKeyAlgorithm != x509.RSA {
			s.log.WarnContext(ctx, "a caucase client is in use, which cannot follow a CA whose key is not RSA when it rolls over",
				"authority", string(name), "ca_key", pki.DescribeKey(crt.PublicKey),
				"user_agent", loggable(x.r.UserAgent()), "address", x.actor.Address)
		}
	}
}

// recoverPanic turns a panic into an answer. One request's bad luck is not the others'.
func (s *Server) recoverPanic(x *exchange) {
	cause := recover()
	if cause == nil {
		return
	}
	s.log.ErrorContext(x.r.Context(), "panic", "request_id", x.requestID,
		"cause", loggable(fmt.Sprint(cause)), "stack", string(debug.Stack()))
	if x.w.status != 0 {
		// Half an answer must not look like a whole one.
		x.w.status = http.StatusInternalServerError
		panic(http.ErrAbortHandler)
	}
	s.fail(x, fmt.Errorf("panic"))
}

// newErrorLog returns a logger for what net/http has to say.
func newErrorLog(to *slog.Logger) *log.Logger { return log.New(errorLog{to}, "", 0) }

type errorLog struct{ to *slog.Logger }

// Write logs one message. Handshakes that fail are the daily noise of an open port;
// everything else, such as running out of file descriptors, is not.
func (l errorLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(p, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	l.to.Log(context.Background(), level, "http", "message", pki.EscapeText(string(bytes.TrimSpace(p))))
	return len(p), nil
}
