package caucase

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// handle answers a request without any network. target is a path, or a URL for https.
func (s *site) handle(method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	return w
}

func TestRouting(t *testing.T) {
	s := newSite(t)
	_, id := s.issue(s.Services)
	const (
		get    = "GET, OPTIONS"
		csr    = "GET, PUT, DELETE, OPTIONS"
		crt    = "GET, PUT, OPTIONS"
		put    = "PUT, OPTIONS"
		noCard = ""
	)
	tests := []struct {
		name, method, target string
		status               int
		allow                string
	}{
		{"root", "GET", "/", 200, noCard},
		{"unknown", "GET", "/nope", 404, noCard},
		{"unknown, other method (as the reference)", "PUT", "/nope", 405, get},
		{"unknown authority route", "GET", "/cas/nope", 404, noCard},
		{"trailing slash", "GET", "/cas/crl/", 200, noCard},
		{"empty components", "GET", "//cas///crl", 200, noCard},
		{"query", "GET", "/cas/crl?x=y", 200, noCard},
		{"encoded letter", "GET", "/c%61s/crl", 200, noCard},
		{"encoded slash", "GET", "/cas%2Fcrl", 200, noCard},
		{"dot dot", "GET", "/cas/../cas/crl", 404, noCard},
		{"encoded dot dot", "GET", "/cas/%2e%2e/cas/crl", 404, noCard},
		{"dot", "GET", "/cas/./crl", 404, noCard},
		{"absolute form", "GET", "http://elsewhere.example/cas/crl", 200, noCard},
		{"other case", "GET", "/CAS/crl", 404, noCard},
		{"HEAD (as the reference)", "HEAD", "/cas/crl", 405, get},
		{"lower-case method", "get", "/cas/crl", 405, get},
		{"unknown method", "FROB", "/cas/crl", 405, get},
		{"method of no route here", "DELETE", "/cas/crl", 405, get},
		{"POST to requests", "POST", "/cas/csr", 405, csr},
		{"POST to certificates", "POST", "/cas/crt/1", 405, crt},
		{"DELETE without id (as the reference)", "DELETE", "/cas/csr", 404, noCard},
		{"PUT with id (as the reference)", "PUT", "/cas/csr/5", 404, noCard},
		{"GET renew", "GET", "/cas/crt/renew", 405, put},
		{"PUT CA certificate", "PUT", "/cas/crt/ca.crt.pem", 405, get},
		{"certificates without id", "GET", "/cas/crt", 404, noCard},
		{"extra component", "GET", "/cas/csr/1/2", 404, noCard},
		{"extra component after a literal", "GET", "/cas/crt/ca.crt.pem/x", 404, noCard},
		{"consent elsewhere", "DELETE", "/cors", 405, "GET, POST, OPTIONS"},
		{"options anywhere", "OPTIONS", "/nope", 204, get},
		{"options of everything", "OPTIONS", "*", 204, get},

		{"request id not an integer", "GET", "/cas/csr/abc", 400, noCard},
		{"request id empty with sign", "GET", "/cas/csr/-", 400, noCard},
		{"request id with two signs", "GET", "/cas/csr/--1", 400, noCard},
		{"request id with a space", "GET", "/cas/csr/%201", 400, noCard},
		{"request id in hex", "GET", "/cas/csr/0x1", 400, noCard},
		{"request id negative", "GET", "/cas/csr/-1", 404, noCard},
		{"request id too large", "GET", "/cas/csr/99999999999999999999999", 404, noCard},
		{"request id a megabyte of digits", "GET", "/cas/csr/" + strings.Repeat("9", 1<<20), 404, noCard},
		{"certificate id not an integer", "GET", "/cas/crt/abc", 400, noCard},
		{"certificate id unknown", "GET", "/cas/crt/1", 404, noCard},
		{"certificate id with zeros in front", "GET", fmt.Sprintf("/cas/crt/00%d", id), 200, noCard},
		{"certificate of the other authority", "GET", fmt.Sprintf("/cau/crt/%d", id), 404, noCard},
		{"key id not a number", "GET", "/cas/crl/abc", 404, noCard},
		{"key id negative", "GET", "/cas/crl/-1", 404, noCard},
		{"key id unknown", "GET", "/cas/crl/1", 404, noCard},
		{"key id a megabyte of digits", "GET", "/cas/crl/" + strings.Repeat("9", 1<<20), 404, noCard},
		{"bad input comes before credentials", "PUT", "/cas/crt/abc", 400, noCard},
		{"bad input comes before credentials", "DELETE", "/cas/csr/abc", 400, noCard},
		{"an id that is nobody's does not", "PUT", "/cas/crt/-1", 401, noCard},
		{"an id that is nobody's does not", "DELETE", "/cas/csr/99999999999999999999", 401, noCard},
		{"alive", "GET", "/healthz", 200, noCard},
		{"ready", "GET", "/readyz", 200, noCard},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.handle(tt.method, tt.target)
			if got.Code != tt.status {
				t.Errorf("%s %.80s: status %d, want %d: %s", tt.method, tt.target, got.Code, tt.status, got.Body)
			}
			if allow := got.Header().Get("Allow"); allow != tt.allow {
				t.Errorf("Allow: %q, want %q", allow, tt.allow)
			}
			if tt.status >= 400 && got.Header().Get("Content-Type") != server.TypeText {
				t.Errorf("Content-Type: %q", got.Header().Get("Content-Type"))
			}
			if _, err := http.ParseTime(got.Header().Get("Date")); err != nil {
				t.Errorf("Date: %v", err)
			}
		})
	}
}

// TestHAL compares with what the reference answers, byte for byte.
func TestHAL(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct{ golden, url string }{
		{"root", "http://127.0.0.1:8009/"},
		{"root", "https://127.0.0.1:8010/"},
		{"cau-http", "http://127.0.0.1:8009/cau"},
		{"cau-https", "https://127.0.0.1:8010/cau"},
		{"cas-http", "http://127.0.0.1:8009/cas"},
		{"cas-https", "https://127.0.0.1:8010/cas"},
	} {
		want, err := os.ReadFile("testdata/hal/" + tt.golden + ".json")
		if err != nil {
			t.Fatal(err)
		}
		got := s.handle("GET", tt.url)
		if got.Code != 200 || got.Header().Get("Content-Type") != "application/hal+json" || !bytes.Equal(got.Body.Bytes(), want) {
			t.Errorf("%s: %d\n got %s\nwant %s", tt.url, got.Code, got.Body, want)
		}
	}
	for host, want := range map[string]string{
		"evil.example:99": "https://evil.example:100/cau/csr",
		"localhost":       "https://localhost/cau/csr",
		"[::1]:8009":      "https://[::1]:8010/cau/csr",
		`a"b`:             "https://127.0.0.1:8010/cau/csr", // not a host: ours
	} {
		r := httptest.NewRequest("GET", "/cau", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"href": "`+want+`"`) {
			t.Errorf("Host %s: %s", host, w.Body)
		}
	}
}

// instead is the authorities of a site, with a in the place of the one of its name.
func instead(c *Config, a Core) {
	var list List
	for _, other := range c.Authorities.All() {
		if other.Name() == a.Name() {
			other = a
		}
		list = append(list, other)
	}
	c.Authorities = list
}

// named returns one of a site's authorities.
func named(c *Config, name store.AuthorityName) Core {
	a, _ := c.Authorities.Authority(name)
	return a
}

// broken is an authority of which every operation fails with err, or panics without one.
type broken struct {
	Core
	err error
}

func (b broken) CRLs(context.Context) ([]ca.List, error) {
	if b.err == nil {
		panic("at the \x1b[31mworst moment")
	}
	return nil, b.err
}

func (b broken) Authenticate(context.Context, audit.Actor, *x509.Certificate) (audit.Actor, error) {
	return audit.Actor{Kind: audit.User}, nil
}

func TestErrorStatuses(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("while busy: %w", err) }
	tests := []struct {
		name   string
		err    error
		status int
		body   string // what it contains
		logged bool
	}{
		{"not found", wrap(ca.ErrNotFound), 404, "not found", false},
		{"too many", wrap(ca.ErrTooManyPending), 507, "too many pending", false},
		{"retired", wrap(ca.ErrRetired), 410, "the authority is retired", false},
		{"conflict", wrap(ca.ErrConflict), 409, "conflict", false},
		{"unauthorized", wrap(ca.ErrUnauthorized), 401, "not authorized", false},
		{"invalid", fmt.Errorf("\x1b]0;title\a\n%w", ca.ErrInvalid), 400, `\x1b]0;title\x07\x0arefused`, false},
		{"bad input", wrap(pki.ErrInvalid), 400, "invalid input", false},
		{"database away", wrap(store.ErrUnavailable), 503, "database is not available", true},
		{"no signer", wrap(ca.ErrNoSigner), 503, "no CA certificate", true},
		{"anything else", errors.New("secret detail"), 500, "internal error, request id ", true},
		{"panic", nil, 500, "internal error, request id ", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, func(c *Config) { instead(c, broken{named(c, store.Services), tt.err}) })
			got := s.handle("GET", "/cas/crl")
			body := got.Body.String()
			if got.Code != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q, want %d %q", got.Code, body, tt.status, tt.body)
			}
			if strings.Contains(body, "secret") || strings.ContainsAny(strings.TrimSuffix(body, "\n"), "\n\x1b\a") {
				t.Errorf("shows too much: %q", body)
			}
			if (got.Header().Get("Retry-After") != "") != (tt.status == 503) {
				t.Errorf("Retry-After: %q", got.Header().Get("Retry-After"))
			}
			id := got.Header().Get("X-Request-Id")
			if tt.status == 500 && !strings.Contains(body, id) {
				t.Errorf("%q does not name request %s", body, id)
			}
			if logged := strings.Contains(s.log.String(), "level=ERROR"); logged != tt.logged {
				t.Errorf("logged: %v, want %v: %s", logged, tt.logged, s.log)
			}
			if strings.Contains(s.log.String(), "\x1b") {
				t.Error("control character in the log")
			}
		})
	}
}

// TestAuthenticatorError: when it is not known whether someone is a user, he is none.
func TestAuthenticatorError(t *testing.T) {
	s := newSite(t, func(c *Config) { instead(c, unavailable{named(c, store.Users)}) })
	r := httptest.NewRequest("GET", "https://127.0.0.1:8010/cas/csr", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
}

type unavailable struct{ Core }

func (unavailable) Authenticate(_ context.Context, a audit.Actor, _ *x509.Certificate) (audit.Actor, error) {
	return a, store.ErrUnavailable
}

// TestReferenceClient: one warning says that it will not follow an ECDSA CA.
func TestReferenceClient(t *testing.T) {
	s := newSite(t)
	for _, agent := range []string{"curl/8", "cauase/1", "caucase 0.9.17", "caucase 0.9.17"} {
		s.handle("GET", "/cas/crl", "User-Agent", agent)
	}
	if n := strings.Count(s.log.String(), "level=WARN"); n != 2 || !strings.Contains(s.log.String(), "authority=cau ") {
		t.Errorf("%d warnings, want one for each authority: %s", n, s.log)
	}
}
