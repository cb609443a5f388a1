package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"cauase/pkg/clock"
)

// Config is what a Server works with. Everything but CORSWhitelist is needed.
type Config struct {
	Netloc Netloc
	Clock  clock.Clock
	Log    *slog.Logger

	Users, Services               Authority
	UsersVoucher, ServicesVoucher Voucher
	Authenticator                 Authenticator

	CORSKeys      *CORSKeys
	CORSWhitelist []string // origins, as browsers write them

	// Observe, when set, is told of every answer: the pattern of the route that matched, empty
	// when none did. It must return at once.
	Observe func(method, route string, status int, took time.Duration)

	// Ready lists what has to work for the daemon to be of use, for GET /readyz.
	Ready []Check

	timeouts timeouts // the zero value stands for defaultTimeouts; tests have less patience
}

// A Server is an http.Handler for the whole protocol.
type Server struct {
	cfg       Config
	log       *slog.Logger
	root      *node
	whitelist map[string]bool
	readiness readiness

	referenceNoticed atomic.Bool

	large chan struct{} // turns for long bodies, see enterLarge
	lists listTexts
}

// New returns a Server. An error is a mistake of the caller's.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Clock == nil, cfg.Log == nil, cfg.Users == nil, cfg.Services == nil,
		cfg.UsersVoucher == nil, cfg.ServicesVoucher == nil, cfg.Authenticator == nil, cfg.CORSKeys == nil:
		return nil, errors.New("server: incomplete configuration")
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, int, time.Duration) {}
	}
	if cfg.timeouts == (timeouts{}) {
		cfg.timeouts = defaultTimeouts()
	}
	s := &Server{cfg: cfg, log: cfg.Log, whitelist: make(map[string]bool), large: make(chan struct{}, maxLarge)}
	for _, origin := range cfg.CORSWhitelist {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
		s.whitelist[origin] = true
	}
	root, err := newRouter(s.routes())
	if err != nil {
		return nil, err
	}
	s.root = root
	return s, nil
}

// ServeHTTP answers one request, whatever happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.cfg.Clock.Now()
	x := &exchange{
		r:         r,
		w:         &recorder{ResponseWriter: w},
		requestID: newRequestID(),
		path:      components(r.URL.Path),
		large:     s.large,
		lists:     &s.lists,
	}
	x.actor = anonymous(r, x.requestID)
	h := w.Header()
	h.Set("Date", start.UTC().Format(http.TimeFormat))
	h.Set("X-Request-Id", x.requestID)
	h.Set("X-Content-Type-Options", "nosniff")

	defer x.leaveLarge()
	defer s.observe(x, start)
	defer s.recoverPanic(x)
	s.noticeReference(x)
	if err := s.serve(x); err != nil {
		s.fail(x, err)
	}
}

// serve takes a request through its stages, see the package's documentation.
func (s *Server) serve(x *exchange) error {
	n, rest := s.root.deepest(x.path)
	if x.r.Method == http.MethodOptions {
		return s.preflight(x, n)
	}
	known := false
	for _, m := range n.methods {
		known = known || m == x.r.Method
	}
	if !known {
		x.w.Header().Set("Allow", n.allow())
		return refuse(http.StatusMethodNotAllowed, "method not allowed here")
	}
	route := n.find(x.r.Method, len(rest))
	if route == nil {
		return errNotFound
	}
	x.route, x.access = route, route.access
	if len(rest) > 0 {
		x.param = rest[0]
	}
	if err := s.checkOrigin(x); err != nil {
		return err
	}
	if x.r.ContentLength > maxBody {
		return errTooLarge
	}
	perform, err := route.prepare(x)
	if err != nil {
		return err
	}
	ctx := x.r.Context()
	if err := s.authorize(ctx, x); err != nil {
		return err
	}
	return perform(ctx, x.actor)
}

// authorize checks that the sender is whom the route is for. Only what is known to be
// allowed is.
//
// A user's certificate is looked at anew for each request: connections live long, and a
// user is out from the moment of its revocation.
func (s *Server) authorize(ctx context.Context, x *exchange) error {
	switch x.access {
	case anyone, holder:
		return nil
	case user:
		if x.r.TLS == nil || len(x.r.TLS.PeerCertificates) == 0 {
			return errCredentials
		}
		actor, err := s.cfg.Authenticator.Authenticate(ctx, x.actor, x.r.TLS.PeerCertificates[0])
		if err != nil {
			return err
		}
		x.actor = actor
		x.w.Header().Set("Cache-Control", onlyCaller)
		return nil
	}
	return errCredentials
}

// timeouts bound how long a connection may take for what.
type timeouts struct {
	header, read, write, idle time.Duration
}

func defaultTimeouts() timeouts {
	return timeouts{
		header: 10 * time.Second, // and for the TLS handshake
		read:   2 * time.Minute,  // lets 10 MiB through at 90 kB/s
		// Counted from the end of the request's header; lets a CRL of a million
		// entries through at 150 kB/s.
		write: 7 * time.Minute,
		idle:  2 * time.Minute,
	}
}

const (
	maxHeaderBytes = 64 << 10
	// maxStreams bounds what one HTTP/2 connection can have us do at once.
	maxStreams = 64
)

// httpServer returns the standard library's half of a Server.
func (s *Server) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            s.cfg.timeouts.header,
		ReadTimeout:                  s.cfg.timeouts.read,
		WriteTimeout:                 s.cfg.timeouts.write,
		IdleTimeout:                  s.cfg.timeouts.idle,
		MaxHeaderBytes:               maxHeaderBytes,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:                     newErrorLog(s.log),
		BaseContext:                  baseContext(ctx),
	}
}
