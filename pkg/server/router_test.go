package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
)

// deep is a table with parameters at the beginning, in the middle and at the end of paths.
func deep() *shop {
	return &shop{routes: []Route{
		say("GET", "", Anyone),
		say("GET", "towns", Anyone),
		say("GET", "{town}", Anyone),
		say("GET", "{town}/orders", Anyone),
		say("PUT", "{town}/orders", Anyone),
		say("GET", "{town}/orders/{id}", Anyone),
		say("GET", "{town}/orders/{id}.pdf", Anyone),
		say("GET", "{town}/orders/{id}/parts", Anyone),
		say("DELETE", "{town}/orders/{id}/parts/{part}", Anyone),
		say("GET", "{town}/orders/{id}/parts/new", Anyone),
		say("GET", "{town}/between/{id}/{part}", Anyone),
	}}
}

func TestRouting(t *testing.T) {
	var labels []string
	s := newSite(t, func(c *Config) {
		c.FrontEnds = []FrontEnd{deep()}
		c.Observe = func(method, route string, _ int, _ time.Duration) { labels = append(labels, method+" "+route) }
	})
	for _, tt := range []struct {
		name, method, target string
		status               int
		body, allow, label   string
	}{
		{"root", "GET", "/", 200, "", "", "GET /"},
		{"a literal before a parameter", "GET", "/towns", 200, "towns", "", "GET /towns"},
		{"a parameter that leads on, as the end", "GET", "/oslo", 200, "{town} town=oslo", "", "GET /oslo"},
		{"another value", "GET", "/bergen/orders", 200, "{town}/orders town=bergen", "", "GET /bergen/orders"},
		{"no such value", "GET", "/paris/orders", 404, "not found", "", "other "},
		{"no such value, method unknown there", "PUT", "/paris/orders", 405, "", "GET, OPTIONS", "other "},
		{"no such value, options", "OPTIONS", "/paris/orders", 200, "GET, OPTIONS", "GET, OPTIONS", "other "},
		{"a parameter at the end that others go on from", "GET", "/oslo/orders/7", 200, "{town}/orders/{id} town=oslo id=7", "", "GET /oslo/orders/7"},
		{"with a suffix", "GET", "/oslo/orders/7.pdf", 200, "{town}/orders/{id}.pdf town=oslo id=7", "", "GET /oslo/orders/{id}.pdf"},
		{"two parameters", "GET", "/oslo/orders/7/parts", 200, "{town}/orders/{id}/parts town=oslo id=7", "", "GET /oslo/orders/7/parts"},
		{"three parameters", "DELETE", "/oslo/orders/7/parts/8", 200, "{town}/orders/{id}/parts/{part} town=oslo id=7 part=8", "", "DELETE /oslo/orders/7/parts/{part}"},
		{"a literal where a parameter could be", "GET", "/oslo/orders/7/parts/new", 200, "{town}/orders/{id}/parts/new town=oslo id=7", "", "GET /oslo/orders/7/parts/new"},
		{"the deepest place decides", "PUT", "/oslo/orders/7/parts/8", 405, "", "GET, DELETE, OPTIONS", "other "},
		{"two parameters at the end", "GET", "/oslo/between/1/2", 200, "{town}/between/{id}/{part} town=oslo id=1 part=2", "", "GET /oslo/between/{id}/{part}"},
		{"one too few", "GET", "/oslo/between/1", 404, "not found", "", "other "},
		{"one too many", "GET", "/oslo/between/1/2/3", 404, "not found", "", "other "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labels = nil
			got := s.handle(tt.method, tt.target)
			if got.Code != tt.status || tt.body != "" && body(got) != tt.body || got.Header().Get("Allow") != tt.allow {
				t.Errorf("%d %q, Allow %q; want %d %q, %q", got.Code, body(got), got.Header().Get("Allow"), tt.status, tt.body, tt.allow)
			}
			if len(labels) != 1 || labels[0] != tt.label {
				t.Errorf("observed as %q, want %q", labels, tt.label)
			}
		})
	}
}

// TestTablesThatAreRefused is half of denying by default.
func TestTablesThatAreRefused(t *testing.T) {
	ok := say("GET", "a", Anyone)
	with := func(change func(*Route)) []Route {
		r := ok
		change(&r)
		return []Route{r}
	}
	for name, table := range map[string][]Route{
		"no access":          with(func(r *Route) { r.Access = undeclared }),
		"no handler":         with(func(r *Route) { r.Handler = nil }),
		"no origin rule":     with(func(r *Route) { r.Origin = nil }),
		"unknown method":     with(func(r *Route) { r.Method = "FROB" }),
		"no name":            with(func(r *Route) { r.Path = "a/{}" }),
		"open":               with(func(r *Route) { r.Path = "a/{id" }),
		"prefix":             with(func(r *Route) { r.Path = "a/x{id}" }),
		"name twice":         with(func(r *Route) { r.Path = "{id}/a/{id}" }),
		"twice":              {ok, say("GET", "/a/", User)},
		"twice, other names": {say("GET", "a/{id}", Anyone), say("GET", "a/{other}", User)},
		"the engine's":       {say("GET", "healthz", Anyone)},
	} {
		if _, err := New(Config{Clock: clock.NewFake(time.Time{}), Log: slog.New(slog.DiscardHandler), FrontEnds: []FrontEnd{&shop{routes: table}}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Config{Clock: clock.NewFake(time.Time{}), Log: slog.New(slog.DiscardHandler), FrontEnds: []FrontEnd{&shop{routes: []Route{ok}}}}); err != nil {
		t.Errorf("a good table: %v", err)
	}
}

// TestUndeclaredIsRefusedWhenCalled is the other half, and what narrowing cannot be used for.
func TestUndeclaredIsRefusedWhenCalled(t *testing.T) {
	for name, tt := range map[string]struct {
		declared, narrowed Access
		allowed            bool
	}{
		"nothing":               {undeclared, -1, false},
		"not narrowed":          {HolderOrUser, -1, false},
		"narrowed to a holder":  {HolderOrUser, Holder, true},
		"narrowed to a user":    {HolderOrUser, User, false}, // who shows no certificate
		"narrowed to anyone":    {HolderOrUser, Anyone, false},
		"a user's route opened": {User, Holder, false},
		"anyone":                {Anyone, -1, true},
	} {
		x := &Exchange{Request: &http.Request{}, front: plain{}, access: tt.declared}
		if tt.narrowed >= 0 {
			x.Narrow(tt.narrowed)
		}
		if err := x.authorize(t.Context()); (err == nil) != tt.allowed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFrontEnds: two protocols stand beside each other, and each answers for its own paths.
func TestFrontEnds(t *testing.T) {
	other := &strict{shop{routes: []Route{say("GET", "api/{id}", Anyone), say("PUT", "api", User)}}}
	s := newSite(t, func(c *Config) { c.FrontEnds = append(c.FrontEnds, other) })
	for target, want := range map[string]string{
		"/":         "",
		"/api/5":    "api/{id} id=5",
		"/api/5/6":  "strict: not found",
		"/nope":     "not found",
		"/healthz/": "ok",
	} {
		if got := s.handle("GET", target); body(got) != want {
			t.Errorf("%s: %q, want %q", target, body(got), want)
		}
	}
	r := httptest.NewRequest("PUT", "https://x/api", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	for want, users := range map[string]func(*x509.Certificate) error{
		"strict: a valid user certificate is needed, over HTTPS": nil,
		"api": func(*x509.Certificate) error { return nil },
	} {
		other.users = users
		w := httptest.NewRecorder()
		if s.server.ServeHTTP(w, r.Clone(t.Context())); body(w) != want {
			t.Errorf("%q, want %q", body(w), want)
		}
	}
}

// strict is a shop that answers problems in its own way.
type strict struct{ shop }

func (strict) Answer(x *Exchange, p Problem) {
	plain{}.Answer(x, Problem{Status: p.Status, Reason: "strict: " + p.Reason})
}

func TestInternalErrors(t *testing.T) {
	for name, perform := range map[string]Perform{
		"error": func(context.Context, audit.Actor) error { return errors.New("secret detail") },
		"panic": func(context.Context, audit.Actor) error { panic("at the \x1b[31mworst moment") },
	} {
		route := say("GET", "x", Anyone)
		route.Handler = func(*Exchange) (Perform, error) { return perform, nil }
		s := newSite(t, func(c *Config) { c.FrontEnds = []FrontEnd{&shop{routes: []Route{route}}} })
		got := s.handle("GET", "/x")
		if id := got.Header().Get("X-Request-Id"); got.Code != 500 || body(got) != "internal error, request id "+id {
			t.Errorf("%s: %d %q", name, got.Code, body(got))
		}
		if log := s.log.String(); !strings.Contains(log, "level=ERROR") || strings.Contains(log, "\x1b") {
			t.Errorf("%s: %s", name, log)
		}
	}
}

func TestAccepts(t *testing.T) {
	const chain = "application/pem-certificate-chain"
	for header, want := range map[string]bool{
		"": false, "*/*": false, "application/*": false, chain: true, "Application/PEM-certificate-chain": true,
		"text/html, " + chain + ";q=0.5": true, chain + ";q=0": false, chain + "; q=0.0": false, chain + ";q=x": false,
		chain + "-extra": false, chain + ";charset=utf-8": true,
	} {
		x := &Exchange{Request: &http.Request{Header: http.Header{"Accept": {header}}}}
		if got := x.Accepts(chain); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
