package caucase

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/testkit/pkitest"
)

// kinds are the client certificates that a connection can show.
var kinds = []string{"no certificate", "user", "service", "expired", "revoked", "foreign CA", "self-signed"}

// certificates returns one of each kind, and lets the site's clock pass the expiry of one.
func (s *site) certificates() map[string]*tls.Certificate {
	s.t.Helper()
	expired, _ := s.issue(s.Users)
	s.Clock.Advance(testSpan + testDay)
	s.refresh()
	user, _ := s.issue(s.Users)
	service, _ := s.issue(s.Services)
	revoked, _ := s.issue(s.Users)
	s.revoke(revoked)

	// The other site's CAs have the same names as ours.
	other := newSite(s.t)
	other.Clock.Set(s.Clock.Now())
	foreign, _ := other.issue(other.Users)

	key := pkitest.Key(s.t)
	template := *user.Leaf
	template.SerialNumber, template.PublicKey = nil, key.Public()
	selfSigned := pkitest.Certificate(s.t, &template, &template, key.Public(), key)
	return map[string]*tls.Certificate{
		"no certificate": nil, "user": user, "service": service, "expired": expired, "revoked": revoked, "foreign CA": foreign,
		"self-signed": {Certificate: [][]byte{selfSigned.Raw}, PrivateKey: key},
	}
}

// TestEveryRouteForEveryCaller is the table of who may do what: each route, asked for
// with something that exists, by each kind of caller.
func TestEveryRouteForEveryCaller(t *testing.T) {
	s, log, _ := newLogSite(t)
	certificates := s.certificates()
	log.Append(s.Clock.Now(), "cas", "crt.sign", certificates["service"].Leaf.Raw)
	logged := sha256.Sum256(certificates["service"].Leaf.Raw)
	ctx := t.Context()
	aki := func(pem []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		crt, err := pki.ParseCertificatePEM(pem)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(crt.SubjectKeyId).String()
	}
	casAKI := aki(catest.Wired(s.Services).CACertificate(ctx))

	type request struct {
		target, body string
		headers      []string
	}
	at := func(format string, args ...any) request { return request{target: fmt.Sprintf(format, args...)} }
	json := func(path, body string) request {
		return request{path, body, []string{"Content-Type", "application/json"}}
	}
	newPending := func() int64 { return s.pending(s.Services, pkitest.Key(t)) }
	decided := func() {
		user, err := s.front.Identify(ctx, audit.Actor{}, certificates["user"].Leaf)
		if err == nil {
			err = s.Users.Consent(ctx, user, page, true)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	provenCSR := newCSR(t, pkitest.Key(t), "proven")
	newIssued := func() (*tls.Certificate, int64) { return s.issue(s.Services) }

	// What each route answers to whoever may call it. All others get a 401.
	cases := []struct {
		method, path string // as in the table of routes, under /cas
		status       int
		request      func() request
	}{
		{"GET", "", 200, func() request { return at("/cas") }},
		{"GET", "crl", 200, func() request { return at("/cas/crl") }},
		{"GET", "crl/{aki}", 200, func() request { return at("/cas/crl/%s", casAKI) }},
		{"GET", "timeline", 200, func() request { return at("/cas/timeline") }},
		{"GET", "csr", 200, func() request { return at("/cas/csr") }},
		{"PUT", "csr", 201, func() request { return request{"/cas/csr", newCSR(t, pkitest.Key(t), "new"), nil} }},
		{"GET", "csr/{id}", 200, func() request { return at("/cas/csr/%d", newPending()) }},
		{"DELETE", "csr/{id}", 204, func() request { return at("/cas/csr/%d", newPending()) }},
		{"PUT", "prove", 201, func() request { return json("/cas/prove", s.proven(provenCSR)) }},
		{"PUT", "invite", 201, func() request { return json("/cas/invite", s.presented("new", s.invitation("cn:new"))) }},
		{"GET", "invite", 200, func() request { return at("/cas/invite") }},
		{"DELETE", "invite/{id}", 204, func() request { return at("/cas/invite/%s", s.invitation("cn:new").ID) }},
		{"GET", "crt/ca.crt.pem", 200, func() request { return at("/cas/crt/ca.crt.pem") }},
		{"GET", "crt/ca.crt.json", 200, func() request { return at("/cas/crt/ca.crt.json") }},
		{"GET", "crt/https-ca.json", 200, func() request { return at("/cas/crt/https-ca.json") }},
		{"GET", "crl/{aki}.crl", 200, func() request { return at("/cas/crl/%s.crl", casAKI) }},
		{"GET", "crt/root.pem", 200, func() request { return at("/cas/crt/root.pem") }},
		{"GET", "crt/parent.json", 200, func() request { return at("/cas/crt/parent.json") }},
		{"GET", "crt/withdrawn.json", 200, func() request { return at("/cas/crt/withdrawn.json") }},
		{"GET", "log/checkpoint", 200, func() request { return at("/cas/log/checkpoint") }},
		{"GET", "log/proof", 200, func() request { return at("/cas/log/proof?digest=%x", logged) }},
		{"GET", "crt/{aki}.crt", 200, func() request { return at("/cas/crt/%s.crt", casAKI) }},
		{"GET", "crt/{id}", 200, func() request { _, id := newIssued(); return at("/cas/crt/%d", id) }},
		{"PUT", "crt/{id}", 204, func() request { return at("/cas/crt/%d", newPending()) }},
		{"PUT", "crt/{id}", 204, func() request {
			return request{fmt.Sprintf("/cas/crt/%d", newPending()), newCSR(t, pkitest.Key(t), "template"), []string{"Content-Type", "application/pkcs10"}}
		}},
		{"GET", "cors", 200, func() request { return at("/cas/cors") }},
		{"DELETE", "cors", 204, func() request { decided(); return at("/cas/cors") }},
		{"GET", "lineage", 200, func() request { newIssued(); return at("/cas/lineage") }},
		{"GET", "lineage/{id}", 200, func() request { _, id := newIssued(); return at("/cas/lineage/%d", id) }},
		{"DELETE", "lineage/{id}", 204, func() request { _, id := newIssued(); return at("/cas/lineage/%d", id) }},
		{"PUT", "crt/renew", 200, func() request { crt, _ := newIssued(); return json("/cas/crt/renew", renewalOf(t, crt)) }},
		{"GET", "recover", 404, func() request { return at("/cas/recover") }},
		{"PUT", "recover", 409, func() request { crt, _ := newIssued(); return json("/cas/recover", recoveryOf(t, crt)) }},
		{"PUT", "crt/holds", 204, func() request {
			crt, _ := newIssued()
			cas, err := s.Services.CACertificates(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return json("/cas/crt/holds", holdingOf(t, crt, cas[0].SubjectKeyId))
		}},
		{"PUT", "crt/revoke", 204, func() request { crt, _ := newIssued(); return json("/cas/crt/revoke", revocationOf(t, crt, true)) }},
		{"PUT", "crt/revoke", 204, func() request { crt, _ := newIssued(); return json("/cas/crt/revoke", revocationOf(t, crt, false)) }},
	}
	// onlyUser reports whether a case above needs a user.
	onlyUser := func(i int) bool {
		c := cases[i]
		switch c.method + " " + c.path {
		case "GET csr", "DELETE csr/{id}", "PUT crt/{id}", "GET invite", "DELETE invite/{id}", "GET cors", "DELETE cors", "GET lineage", "GET lineage/{id}", "DELETE lineage/{id}":
			return true
		}
		return i == len(cases)-1 // the unsigned revocation
	}

	covered := map[string]bool{}
	for i, c := range cases {
		covered[c.method+" "+c.path] = true
		for _, kind := range append(kinds, "user, over HTTP") {
			t.Run(fmt.Sprintf("%s %s %d/%s", c.method, c.path, i, kind), func(t *testing.T) {
				scheme, name := "https", kind
				if strings.HasSuffix(kind, "over HTTP") {
					scheme = "http"
				}
				if scheme == "http" {
					name = "user"
				}
				want := c.status
				if onlyUser(i) && kind != "user" {
					want = http.StatusUnauthorized
				}
				if scheme == "http" && c.method+" "+c.path == "PUT invite" {
					want = http.StatusForbidden // it is a secret
				}
				r := c.request()
				got := s.do(s.client(certificates[name]), c.method, scheme+":"+r.target, r.body, r.headers...)
				if got.StatusCode != want {
					t.Fatalf("status %d, want %d: %s", got.StatusCode, want, got.body)
				}
				if got.Header.Get("Date") == "" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("headers %v", got.Header)
				}
				challenge, cache := got.Header.Get("WWW-Authenticate"), got.Header.Get("Cache-Control")
				if (challenge == "transport") != (want == 401) {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
				if (cache == "private") != (onlyUser(i) && want != 401) {
					t.Errorf("Cache-Control: %q", cache)
				}
			})
		}
	}
	for _, r := range s.front.authorityRoutes() {
		if !covered[r.method+" "+r.path] {
			t.Errorf("%s %s is not in the table", r.method, r.path)
		}
	}
}

// TestRoutesOfRoots makes sure that nobody can ask a root for anything but what is public.
func TestRoutesOfRoots(t *testing.T) {
	s := newSite(t)
	for _, r := range s.front.Routes() {
		if strings.HasPrefix(r.Path, "{"+paramRoot+"}") && (r.Access != server.Anyone || r.Method != http.MethodGet) {
			t.Errorf("%s /%s", r.Method, r.Path)
		}
	}
}

// TestRevokedOnOpenConnection revokes a user between two requests on one connection, for
// both versions of HTTP.
func TestRevokedOnOpenConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			s := newSite(t)
			crt, _ := s.issue(s.Users)
			c := s.client(crt)
			c.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
			if got := s.do(c, "GET", "https:/cas/csr", ""); got.StatusCode != 200 || (got.ProtoMajor == 2) != http2 {
				t.Fatalf("%s %s", got.Proto, got.Status)
			}
			s.revoke(crt)
			if got := s.do(c, "GET", "https:/cas/csr", ""); got.StatusCode != 401 {
				t.Errorf("status %d after revocation", got.StatusCode)
			}
			if got := s.do(c, "GET", "https:/cas/crl", ""); got.StatusCode != 200 {
				t.Errorf("status %d for the public", got.StatusCode)
			}
			if n := strings.Count(s.log.String(), "msg=request"); n != 3 {
				t.Errorf("%d requests logged", n)
			}
		})
	}
}

// TestNoResumption makes sure that no handshake ever stands for an earlier one.
func TestNoResumption(t *testing.T) {
	s := newSite(t)
	crt, _ := s.issue(s.Users)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.client(crt)
		config := c.Transport.(*http.Transport).TLSClientConfig
		config.MinVersion, config.MaxVersion = version, version
		config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		for range 2 {
			got := s.do(c, "GET", "https:/cas/csr", "")
			if got.TLS.Version != version || got.TLS.DidResume {
				t.Errorf("%s, resumed: %v", tls.VersionName(got.TLS.Version), got.TLS.DidResume)
			}
			c.CloseIdleConnections()
		}
	}
	c := s.client(nil)
	c.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	c.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	if _, err := c.Get("https://" + s.httpsAddr + "/"); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}
