package server

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/testkit"
)

const (
	testDay  = 24 * time.Hour
	testSpan = 93 * testDay
)

// A shop is a protocol with as many parameters as the router is to cope with. Every answer says which
// route it is of.
type shop struct {
	routes []Route
	users  func(crt *x509.Certificate) error // who is one, nobody if nil
}

func (f *shop) Routes() []Route { return f.routes }

// Matches: there are two towns.
func (f *shop) Matches(parameter, value string) bool {
	return parameter != "town" || value == "oslo" || value == "bergen"
}

func (f *shop) Identify(_ context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error) {
	if f.users == nil {
		return actor, errCredentials
	}
	actor.Kind = audit.User
	return actor, f.users(crt)
}

// allow has one certificate be a user's.
func (f *shop) allow(user *x509.Certificate) {
	f.users = func(crt *x509.Certificate) error {
		if !crt.Equal(user) {
			return errCredentials
		}
		return nil
	}
}

func (f *shop) Problem(error) Problem         { return Problem{} }
func (f *shop) Answer(x *Exchange, p Problem) { plain{}.Answer(x, p) }

func (f *shop) Options(x *Exchange, allowed string) error {
	return x.Reply(http.StatusOK, TypeText, []byte(allowed))
}

func noRule(*Exchange) error { return nil }

// say is a route that answers with its pattern and its parameters, after it has read a body.
func say(method, path string, access Access) Route {
	return Route{Method: method, Path: path, Access: access, Origin: noRule, Handler: func(x *Exchange) (Perform, error) {
		if _, err := x.Body(1 << 20); err != nil {
			return nil, err
		}
		return func(context.Context, audit.Actor) error {
			text := path
			for _, name := range []string{"town", "id", "part"} {
				if value := x.Param(name); value != "" {
					text += " " + name + "=" + value
				}
			}
			return x.Reply(http.StatusOK, TypeText, []byte(text))
		}, nil
	}}
}

// A site is an engine with a shop and real listeners, on the authorities of a catest.Site.
type site struct {
	*catest.Site
	t         testing.TB
	keyPair   *KeyPair
	handshake *Handshake
	server    *Server
	log       *testkit.Buffer

	httpAddr, httpsAddr string
}

func newSite(t testing.TB, configure ...func(*Config)) *site {
	t.Helper()
	s := &site{Site: catest.NewSite(t), t: t, log: &testkit.Buffer{}, handshake: &Handshake{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.keyPair = NewKeyPair(KeyPairConfig{
		Path: filepath.Join(s.Dir, "server.key.pem"), Host: "127.0.0.1", Threshold: 31 * testDay,
		Issuer: s.HTTPS, Clock: s.Clock, Log: log,
	})
	s.refresh()
	cfg := Config{Clock: s.Clock, Log: log, FrontEnds: []FrontEnd{&shop{routes: []Route{
		say("GET", "", Anyone), say("PUT", "orders", Anyone),
	}}}}
	for _, f := range configure {
		f(&cfg)
	}
	var err error
	if s.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), log, []string{"127.0.0.1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.httpAddr, s.httpsAddr = l.HTTP[0].Addr().String(), l.HTTPS[0].Addr().String()
	testkit.Background(t, func(ctx context.Context) error { return s.server.Serve(ctx, context.Background(), l, s.handshake) })
	return s
}

// refresh does what the daemon's loop does for the listeners.
func (s *site) refresh() {
	s.t.Helper()
	if err := s.keyPair.Refresh(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.handshake.Set(s.keyPair.Certificate(), nil)
}

// shown returns the certificates that the server shows to a client.
func (s *site) shown(c *http.Client) []*x509.Certificate {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+s.httpsAddr+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		s.t.Fatal(err)
	}
	return response.TLS.PeerCertificates
}

// handle answers a request without any network.
func (s *site) handle(method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	return w
}

func checks(list ...Check) func() []Check { return func() []Check { return list } }

// body is an answer's.
func body(w *httptest.ResponseRecorder) string { return strings.TrimSuffix(w.Body.String(), "\n") }
