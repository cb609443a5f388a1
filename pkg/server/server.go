package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
)

// Config is what a Server works with. Clock and Log are needed.
type Config struct {
	Clock clock.Clock
	Log   *slog.Logger

	// FrontEnds are the protocols that are spoken. The first that has a route at a path answers there
	// whatever no route does.
	FrontEnds []FrontEnd

	// Observe, when set, is told of every answer: the pattern of the route that matched, empty
	// when none did. It must return at once.
	Observe func(method, route string, status int, took time.Duration)

	// Awaited, when set, is told of every answer to a request that asked to wait for news, and why it was given then. It must
	// return at once.
	Awaited func(Outcome)

	// Ready, when set, lists what has to work for the daemon to be of use, for GET /readyz.
	Ready func() []Check

	// Limits bound what peers may have us do and hold.
	Limits Limits

	// Limited, when set, is told of whatever a limit has refused or ended, by a word of which there are few.
	// It must return at once.
	Limited func(reason string)

	timeouts timeouts // the zero value stands for defaultTimeouts; tests have less patience
}

// A Server is an http.Handler for all of its front-ends.
type Server struct {
	cfg       Config
	log       *slog.Logger
	root      *node
	readiness readiness

	ledger  *ledger
	sampler *sampler
	limited func(reason string)
	writes  *buckets // of who may write how often, nil for any number

	handshakes *handshakeRate // nil for any number

	date dates

	stopping chan struct{} // closed when nothing new is accepted
	stop     func()
}

// New returns a Server. An error is a mistake of the caller's.
func New(cfg Config) (*Server, error) {
	if cfg.Clock == nil || cfg.Log == nil {
		return nil, errors.New("server: incomplete configuration")
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, int, time.Duration) {}
	}
	if cfg.Awaited == nil {
		cfg.Awaited = func(Outcome) {}
	}
	if cfg.Ready == nil {
		cfg.Ready = func() []Check { return nil }
	}
	if cfg.timeouts == (timeouts{}) {
		cfg.timeouts = defaultTimeouts()
	}
	if cfg.Limited == nil {
		cfg.Limited = func(string) {}
	}
	s := &Server{cfg: cfg, log: cfg.Log, limited: cfg.Limited, sampler: newSampler(cfg.Log), writes: newWriteBuckets(cfg.Limits),
		handshakes: newHandshakeRate(cfg.Limits)}
	s.stopping = make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	s.ledger = newLedger(cfg.Limits.ceilings(openFiles()), s.limited)
	routes := s.ownRoutes()
	for _, front := range cfg.FrontEnds {
		for _, r := range front.Routes() {
			r.front = front
			routes = append(routes, r)
		}
	}
	root, err := newRouter(routes)
	if err != nil {
		return nil, err
	}
	s.root = root
	return s, nil
}

// noSniffing has browsers believe what we say an answer is.
var noSniffing = []string{"nosniff"}

// ServeHTTP answers one request, whatever happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.cfg.Clock.Now()
	if state, ok := r.Context().Value(stateKey{}).(*tls.ConnectionState); ok && state != nil {
		r.TLS = state
	}
	x := &Exchange{
		Request:   r,
		requestID: newRequestID(),
		front:     plain{},
		server:    s,
		conn:      connOf(r.Context()),
	}
	x.recorder = recorder{ResponseWriter: w, x: x}
	x.w = &x.recorder
	x.actor = anonymous(r, x.requestID)
	if x.conn != nil {
		x.peer = x.conn.peer
	} else {
		x.peer = peerOf(r.RemoteAddr)
	}
	h := w.Header()
	h["Date"] = s.date.of(start)
	x.ids[0] = x.requestID
	h["X-Request-Id"] = x.ids[:]
	h["X-Content-Type-Options"] = noSniffing

	x.conn.begin(x)
	defer x.conn.end(x)
	defer s.observe(x, start)
	defer s.recoverPanic(x)
	if !s.admit(x) {
		return
	}
	defer s.dismiss(x)
	if err := s.serve(x); err != nil {
		s.fail(x, err)
	}
	x.w.deliver()
}

// serve takes a request through its stages, see the package's documentation.
func (s *Server) serve(x *Exchange) error {
	n, rest, params := s.root.deepest(components(x.path[:0], x.Request.URL.Path), x.parameters[:0])
	x.front, x.params = n.front, params
	if x.Request.Method == http.MethodOptions {
		x.Header().Set("Allow", n.allow())
		return x.front.Options(x, n.allow())
	}
	method := n.method(x.Request, rest)
	if !slices.Contains(n.methods, method) {
		x.Header().Set("Allow", n.allow())
		return Refuse(http.StatusMethodNotAllowed, "method not allowed here")
	}
	route := n.find(method, rest)
	if route == nil {
		return ErrNotFound
	}
	x.route, x.access = route, route.Access
	if route.front != nil {
		x.front = route.front
	}
	for i, p := range route.trailing {
		x.params = append(x.params, parameter{p.name, p.value(rest[i])})
	}
	if err := s.mayWrite(x); err != nil {
		return err
	}
	if err := route.Origin(x); err != nil {
		return err
	}
	if x.Request.ContentLength > MaxBody {
		return errTooLarge
	}
	perform, err := route.Handler(x)
	if err != nil {
		return err
	}
	ctx := x.Request.Context()
	if err := x.authorize(ctx); err != nil {
		return err
	}
	return perform(ctx, x.actor)
}

// authorize checks that the sender is whom the route is for. Only what is known to be allowed is.
//
// A user's certificate is looked at anew for each request: connections live long, and a user is out
// from the moment of its revocation.
func (x *Exchange) authorize(ctx context.Context) error {
	switch x.access {
	case Anyone, Holder:
		return nil
	case User:
		if !x.Secure() || len(x.Request.TLS.PeerCertificates) == 0 {
			return errCredentials
		}
		actor, err := x.front.Identify(ctx, x.actor, x.Request.TLS.PeerCertificates[0])
		x.server.ledger.know(x.conn, err == nil)
		if err != nil {
			return err
		}
		x.actor = actor
		x.Header().Set("Cache-Control", onlyCaller)
		return nil
	}
	return errCredentials
}

// Recognise returns the user who shows a certificate where anyone may call, and whether there is one. An answer that says more
// for that is [Exchange.ForCaller].
func (x *Exchange) Recognise(ctx context.Context) (audit.Actor, bool) {
	if !x.Secure() || len(x.Request.TLS.PeerCertificates) == 0 {
		return x.actor, false
	}
	actor, err := x.front.Identify(ctx, x.actor, x.Request.TLS.PeerCertificates[0])
	if err != nil {
		return x.actor, false
	}
	return actor, true
}

// ForCaller has an answer be for whoever has asked, and for no cache on the way.
func (x *Exchange) ForCaller() { x.Header().Set("Cache-Control", onlyCaller) }

// httpServer returns the standard library's half of a Server.
func (s *Server) httpServer(ctx context.Context) *http.Server {
	t := s.cfg.timeouts
	return &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            t.header,
		ReadTimeout:                  t.exchange,
		WriteTimeout:                 t.exchange,
		IdleTimeout:                  t.idle,
		MaxHeaderBytes:               maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// The smallest that there are: requests are short. Neither can be smaller than what peers take for granted
			// before they have read our settings (RFC 9113 6.9.2): a body that follows its request at once would be
			// refused. A connection has what one stream has, so that streams take no more together.
			MaxReceiveBufferPerConnection: 64 << 10,
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReadFrameSize:              16 << 10,
			// Of answers, none of whose headers are worth remembering for each connection. That of requests cannot be
			// smaller than peers take for granted before they have read our settings.
			MaxEncoderHeaderTableSize: 1,
			WriteByteTimeout:          t.reply.stall,
			SendPingTimeout:           t.header,
			PingTimeout:               t.header,
		},
		ErrorLog:    newErrorLog(s.sampler),
		BaseContext: baseContext(ctx),
		ConnContext: withConn,
	}
}
