package caucase

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"cauase/pkg/ca"
	"cauase/pkg/server"
)

const page = "http://x.example" // a page elsewhere

// decision is a cookie in which the user has decided about origins.
func (s *site) decision(decisions map[string]bool) string {
	s.t.Helper()
	var g grants
	for origin, allowed := range decisions {
		var err error
		if g, err = s.front.decide(s.t.Context(), g, "", origin, allowed); err != nil {
			s.t.Fatal(err)
		}
	}
	return grantCookie + "=" + g.value()
}

// token is a decision signed with a key or a method of the caller's choice.
func token(t *testing.T, method jwt.SigningMethod, key any, origin string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims{Permission: permission{true, origin}}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCrossOrigin is the table of what a page elsewhere may do. The challenges are the
// reference's, byte for byte.
func TestCrossOrigin(t *testing.T) {
	s := newSite(t, func(c *Config) { c.CORSWhitelist = []string{"https://trusted.example"} })
	const (
		plain     = "http://127.0.0.1:8009"
		secure    = "https://127.0.0.1:8010"
		challenge = "cors url=https%3A//127.0.0.1%3A8010/cors%3Forigin%3Dhttp%253A%252F%252Fx.example%7B%26return%7D"
	)
	yes, no := map[string]bool{page: true}, map[string]bool{page: false}
	key, err := s.front.cfg.CORSKeys.signing(t.Context(), s.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	object := func(origin, token string) string {
		return grantCookie + "=" + quoteCookie(`{"`+origin+`": "`+token+`"}`)
	}
	deleted := `__Host-cors=""; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=None`

	tests := []struct {
		name, url, origin, cookie string
		status                    int
		challenge, setCookie      string
		shared                    bool // the page may read the answer
	}{
		{name: "no origin", url: plain + "/cas/crl", status: 200},
		{name: "own origin", url: plain + "/cas/crl", origin: plain, status: 200},
		{name: "own origin over HTTPS", url: secure + "/cas/crl", origin: secure, status: 200},
		{name: "our HTTP page over HTTPS", url: secure + "/cas/crl", origin: plain, status: 401,
			challenge: "cors url=https%3A//127.0.0.1%3A8010/cors%3Forigin%3Dhttp%253A%252F%252F127.0.0.1%253A8009%7B%26return%7D"},
		{name: "HAL", url: plain + "/cau", origin: page, status: 200, shared: true},
		{name: "root", url: secure + "/", origin: page, status: 200, shared: true},
		{name: "HAL for no origin", url: plain + "/cau", origin: "null", status: 200, shared: true},
		{name: "null", url: plain + "/cas/crl", origin: "null", status: 403},
		{name: "null with a cookie", url: plain + "/cas/crl", origin: "null", cookie: s.decision(map[string]bool{"null": true}), status: 403},
		{name: "undecided", url: plain + "/cas/crl", origin: page, status: 401, challenge: challenge},
		{name: "undecided over HTTPS", url: secure + "/cas/crl", origin: page, status: 401, challenge: challenge},
		{name: "undecided before credentials", url: secure + "/cas/csr", origin: page, status: 401, challenge: challenge},
		{name: "unknown path", url: plain + "/nope", origin: page, status: 404},
		{name: "whitelisted", url: plain + "/cas/crl", origin: "https://trusted.example", status: 200, shared: true},
		{name: "prefix of a whitelisted one", url: plain + "/cas/crl", origin: "https://trusted.example.evil.example", status: 401,
			challenge: strings.Replace(challenge, "http%253A%252F%252Fx.example", "https%253A%252F%252Ftrusted.example.evil.example", 1)},
		{name: "granted", url: secure + "/cas/crl", origin: page, cookie: s.decision(yes), status: 200, shared: true},
		{name: "granted, but no user", url: secure + "/cas/csr", origin: page, cookie: s.decision(yes), status: 401, challenge: "transport", shared: true},
		{name: "granted, error", url: secure + "/cas/crt/1", origin: page, cookie: s.decision(yes), status: 404, shared: true},
		{name: "granted beside other cookies", url: secure + "/cas/crl", origin: page, cookie: `a="x;y"; ` + s.decision(yes) + "; b=c", status: 200, shared: true},
		{name: "granted among many", url: secure + "/cas/crl", origin: page, cookie: s.decision(map[string]bool{page: true, "http://y.example": false}), status: 200, shared: true},
		{name: "granted to another", url: secure + "/cas/crl", origin: page, cookie: s.decision(map[string]bool{"http://y.example": true}), status: 401, challenge: challenge},
		{name: "denied", url: secure + "/cas/crl", origin: page, cookie: s.decision(no), status: 403},
		{name: "junk", url: secure + "/cas/crl", origin: page, cookie: "__Host-cors=junk", status: 401, challenge: challenge, setCookie: deleted},
		{name: "empty", url: secure + "/cas/crl", origin: page, cookie: `__Host-cors=""`, status: 401, challenge: challenge},
		{name: "bare JSON", url: secure + "/cas/crl", origin: page, cookie: `__Host-cors={"` + page + `":"abc"}`, status: 401, challenge: challenge, setCookie: deleted},
		{name: "other key", url: secure + "/cas/crl", origin: page, status: 401, challenge: challenge, setCookie: deleted,
			cookie: object(page, token(t, jwt.SigningMethodHS256, make([]byte, 32), page))},
		{name: "other digest", url: secure + "/cas/crl", origin: page, status: 401, challenge: challenge, setCookie: deleted,
			cookie: object(page, token(t, jwt.SigningMethodHS512, key, page))},
		{name: "no signature", url: secure + "/cas/crl", origin: page, status: 401, challenge: challenge, setCookie: deleted,
			cookie: object(page, token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, page))},
		{name: "grant of another origin", url: secure + "/cas/crl", origin: page, status: 401, challenge: challenge, setCookie: deleted,
			cookie: object(page, token(t, jwt.SigningMethodHS256, key, "http://y.example"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			if tt.origin != "" {
				headers = append(headers, "Origin", tt.origin)
			}
			if tt.cookie != "" {
				headers = append(headers, "Cookie", tt.cookie)
			}
			got := s.handle("GET", tt.url, headers...)
			h := got.Header()
			if got.Code != tt.status || h.Get("WWW-Authenticate") != tt.challenge || h.Get("Set-Cookie") != tt.setCookie {
				t.Errorf("%d %v, want %d %q %q", got.Code, h, tt.status, tt.challenge, tt.setCookie)
			}
			if !tt.shared {
				if h.Get("Access-Control-Allow-Origin")+h.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("page may read: %v", h)
				}
				return
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Credentials": "true",
				"Access-Control-Allow-Origin":      tt.origin,
				"Access-Control-Expose-Headers":    "ETag, Location, WWW-Authenticate",
				"Vary":                             "Origin",
			} {
				if h.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, h.Get(name), want)
				}
			}
		})
	}

	r := httptest.NewRequest("GET", plain+"/cas/crl", nil)
	r.Header["Origin"] = []string{plain, plain}
	w := httptest.NewRecorder()
	if s.server.ServeHTTP(w, r); w.Code != 403 {
		t.Errorf("two origins: %d", w.Code)
	}
}

// TestPreflight compares with what the reference answers.
func TestPreflight(t *testing.T) {
	s := newSite(t)
	for path, methods := range map[string]string{
		"/":          "GET, OPTIONS",
		"/cau":       "GET, OPTIONS",
		"/nope":      "GET, OPTIONS",
		"/cas/crl":   "GET, OPTIONS",
		"/cas/csr":   "GET, PUT, DELETE, OPTIONS",
		"/cas/crt/1": "GET, PUT, OPTIONS",
	} {
		for _, origin := range []string{page, "null"} {
			got := s.handle("OPTIONS", path, "Origin", origin, "Access-Control-Request-Method", "PUT")
			h := got.Header()
			if got.Code != 204 || h.Get("Access-Control-Allow-Methods") != methods || h.Get("Access-Control-Allow-Origin") != origin ||
				h.Get("Access-Control-Allow-Headers") != "Content-Type, If-Match, User-Agent" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
				t.Errorf("%s from %s: %d %v", path, origin, got.Code, h)
			}
		}
		for name := range s.handle("OPTIONS", path).Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s without origin: %s", path, name)
			}
		}
	}
}

func TestConsentPage(t *testing.T) {
	s := newSite(t)
	const base = "https://127.0.0.1:8010/cors?"
	got := s.handle("GET", base+"origin=http://x.example&return="+url.QueryEscape(`http://x.example/r"><script>`))
	h := got.Header()
	if got.Code != 200 || h.Get("X-Frame-Options") != "DENY" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
		!strings.HasPrefix(h.Get("Content-Type"), "text/html") || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", got.Code, h)
	}
	if body := got.Body.String(); strings.Contains(body, "<script>") || !strings.Contains(body, "<b>http://x.example</b>") {
		t.Error(body)
	}
	redirect := s.handle("GET", "http://127.0.0.1:8009/cors?origin=http://x.example&return=http://x.example/r")
	if want := base + "origin=http://x.example&return=http://x.example/r"; redirect.Code != 302 || redirect.Header().Get("Location") != want {
		t.Errorf("%d %v, want %s", redirect.Code, redirect.Header(), want)
	}
	for _, query := range []string{
		"", "origin=http://x.example", "return=http://x.example/r",
		"origin=null&return=http://x.example/r",
		"origin=http://x.example/path&return=http://x.example/r",
		"origin=http://X.example&return=http://x.example/r",
		"origin=http://a:b@x.example&return=http://x.example/r",
		"origin=http://x.example&origin=http://y.example&return=http://x.example/r",
		"origin=http://x.example&return=javascript:alert(1)",
		"origin=http://x.example&return=/cas",
		"origin=http://x.example&return=http://x.example/%0d%0aSet-Cookie:%20a=b",
		"origin=%zz&return=http://x.example/r",
	} {
		if got := s.handle("GET", base+query); got.Code != 400 {
			t.Errorf("%s: %d", query, got.Code)
		}
	}
}

// postConsent sends the form of the consent page.
func (s *site) postConsent(scheme, form string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", scheme+"://127.0.0.1:8010/cors", strings.NewReader(form))
	r.Header.Set("Content-Type", server.TypeForm)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	return w
}

func TestConsentForm(t *testing.T) {
	s := newSite(t)
	const form = "origin=http%3A%2F%2Fx.example&return_to=http%3A%2F%2Fx.example%2Fr&grant="
	for _, tt := range []struct {
		name, scheme, form string
		headers            []string
		status             int
	}{
		{"over HTTP", "http", form + "1", nil, 404},
		{"from elsewhere", "https", form + "1", []string{"Origin", page}, 403},
		{"from nowhere", "https", form + "1", []string{"Origin", "null"}, 403},
		{"from our HTTP page", "https", form + "1", []string{"Origin", "http://127.0.0.1:8009"}, 403},
		{"other type", "https", form + "1", []string{"Content-Type", "text/plain"}, 400},
		{"no grant", "https", strings.TrimSuffix(form, "&grant="), nil, 400},
		{"strange grant", "https", form + "2", nil, 400},
		{"no return", "https", "origin=http%3A%2F%2Fx.example&grant=1", nil, 400},
		{"no form", "https", "%zz", nil, 400},
		{"script", "https", "origin=http%3A%2F%2Fx.example&return_to=javascript:alert(1)&grant=1", nil, 400},
		{"granted", "https", form + "1", []string{"Origin", "https://127.0.0.1:8010"}, 302},
		{"granted by an old browser", "https", form + "1", nil, 302},
	} {
		if got := s.postConsent(tt.scheme, tt.form, tt.headers...); got.Code != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, got.Code, tt.status, got.Body)
		}
	}
}

// TestConsentJourney grants, uses, denies, and lets 90 days pass.
func TestConsentJourney(t *testing.T) {
	s := newSite(t)
	decide := func(grant, cookie string) string {
		t.Helper()
		got := s.postConsent("https", "origin=http%3A%2F%2Fx.example&return_to=http%3A%2F%2Fx.example%2Fr&grant="+grant, "Cookie", cookie)
		if got.Code != 302 || got.Header().Get("Location") != "http://x.example/r" {
			t.Fatalf("%d %v", got.Code, got.Header())
		}
		cookie, attributes, _ := strings.Cut(got.Header().Get("Set-Cookie"), "; ")
		if attributes != "Max-Age=7776000; Path=/; HttpOnly; Secure; SameSite=None" {
			t.Errorf("attributes: %s", attributes)
		}
		return cookie
	}
	ask := func(cookie string) int {
		return s.handle("GET", "https://127.0.0.1:8010/cas/crl", "Origin", page, "Cookie", cookie).Code
	}
	granted := decide("1", s.decision(map[string]bool{"http://y.example": false}))
	if got := ask(granted); got != 200 {
		t.Errorf("granted: %d", got)
	}
	if got := s.handle("GET", "https://127.0.0.1:8010/cas/crl", "Origin", "http://y.example", "Cookie", granted).Code; got != 403 {
		t.Errorf("the earlier decision about another page is gone: %d", got)
	}
	if got := ask(decide("0", granted)); got != 403 {
		t.Errorf("denied: %d", got)
	}
	s.Clock.Advance(ca.ConsentLife - time.Second)
	if got := ask(granted); got != 200 {
		t.Errorf("just before 90 days: %d", got)
	}
	s.Clock.Advance(time.Second)
	if got := ask(granted); got != http.StatusUnauthorized {
		t.Errorf("after 90 days: %d", got)
	}
}

// TestReferenceCookie reads a cookie as the reference writes it.
func TestReferenceCookie(t *testing.T) {
	const header = `__Host-cors="{\"http://y.example\": \"eyJ\"\054 \"http://z.example\": \"\303\251\"}"; other="a;b"`
	got, ok := cookieValue([]string{"first=1", header})
	if want := `{"http://y.example": "eyJ", "http://z.example": "é"}`; !ok || got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, s := range []string{"", `"`, `"\`, `"\"`, `"\1"`, `"\377\400\\"`, "plain"} {
		unquoteCookie(s) // does not panic
	}
	for _, s := range []string{"", `a"b\c`, "a,b;c d\x00\x7f\xff"} {
		if got := unquoteCookie(quoteCookie(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

// TestManyGrants keeps the newest decisions within what a browser keeps.
func TestManyGrants(t *testing.T) {
	s := newSite(t)
	var g grants
	for i := range 100 {
		var err error
		if g, err = s.front.decide(t.Context(), g, "", "https://"+strings.Repeat("a", i+1)+".example", true); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.value()) > maxCookie || len(g) < 5 {
		t.Errorf("%d grants in %d bytes", len(g), len(g.value()))
	}
	if _, ok := g.of("https://" + strings.Repeat("a", 100) + ".example"); !ok {
		t.Error("the newest is gone")
	}
}

// What one user has decided is nobody else's, whoever uses the browser, and can be taken back from anywhere.
func TestConsentIsBoundToTheLineage(t *testing.T) {
	s := newSite(t)
	alice, _ := s.issue(s.Users)
	bob, _ := s.issue(s.Users)
	const form = "origin=http%3A%2F%2Fx.example&return_to=http%3A%2F%2Fx.example%2Fr&grant="
	decide := func(by *tls.Certificate, grant string) string {
		t.Helper()
		client := s.client(by)
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		got := s.do(client, "POST", "https:/cors", form+grant, "Content-Type", "application/x-www-form-urlencoded")
		cookie, _, _ := strings.Cut(got.Header.Get("Set-Cookie"), "; ")
		if got.StatusCode != 302 || !strings.HasPrefix(cookie, "__Host-cors=") {
			t.Fatalf("%d %v", got.StatusCode, got.Header)
		}
		return cookie
	}
	ask := func(as *tls.Certificate, cookie string) int {
		t.Helper()
		return s.do(s.client(as), "GET", "https:/cas/csr", "", "Origin", page, "Cookie", cookie).StatusCode
	}
	granted := decide(alice, "1")
	if got := ask(alice, granted); got != 200 {
		t.Errorf("alice: %d", got)
	}
	if got := ask(bob, granted); got != 401 {
		t.Errorf("with alice's cookie bob gets %d", got)
	}
	nobodys := decide(nil, "1")
	if got := ask(alice, nobodys); got != 401 {
		t.Errorf("with a decision of nobody alice gets %d", got)
	}
	if got := s.do(s.client(nil), "GET", "https:/cas/crl", "", "Origin", page, "Cookie", nobodys).StatusCode; got != 200 {
		t.Errorf("what is public: %d", got)
	}
	list := func() string { return string(s.do(s.client(alice), "GET", "https:/cau/cors", "").body) }
	if got := list(); !strings.Contains(got, `"origin":"`+page+`","allowed":true`) {
		t.Errorf("decisions: %s", got)
	}
	if got := s.do(s.client(bob), "DELETE", "https:/cau/cors?origin="+page, "").StatusCode; got != 404 {
		t.Errorf("bob withdraws what alice has granted: %d", got)
	}
	if got := s.do(s.client(alice), "DELETE", "https:/cas/cors?origin="+page, "").StatusCode; got != 204 || list() != "[]" {
		t.Errorf("withdrawn: %d, %s are left", got, list())
	}
	if got := ask(alice, granted); got != 401 {
		t.Errorf("withdrawn: alice gets %d", got)
	}
	denied := decide(alice, "0")
	if got := ask(alice, denied); got != 403 {
		t.Errorf("denied: %d", got)
	}
	if got := ask(alice, granted); got != 403 {
		t.Errorf("denied elsewhere: %d", got)
	}
}
