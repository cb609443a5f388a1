//go:build interop

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The questions of this file are asked in all combinations: of method, path and caller, and of path and header. Both
// daemons answer alike, but for what has a line of docs/protocol.md, section 11, beside it.

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "FOO"}

// paths are those which are asked for, with the line that says why answers to some method may differ, if they may.
var paths = map[string]string{
	"/": "", "*": "", "//": "", "/cau": "", "/cas/": "", "/CAS/crl": "", "/nope": "", "/cas/nope": "", "/http_cas/crl": "", "/favicon.ico": "",
	"/cas/crl": "", "/cas/crl/": "", "///cas//crl": "", "/cas/./crl": "", "/cas/../cas/crl": "", "/cas/%63rl": "", "/%63as/crl": "", "/cas%2Fcrl": "",
	"/cas/%00": "", "/cas/crl%00": "", "/cas/crl?": "", "/cas/crl?x": "", "/cas/crl?a=b&a=c": "", "/cas/crl#fragment": "", "/cas/crl;x=1": "",
	"/cas/crl?%zz": "queries", "/cas/%zz": "malformed", "cas": "malformed", "": "malformed",
	"/cas/crl/{aki}": "", "/cas/crl/{aki}/": "", "/cas/crl/1": "", "/cas/crl/%31": "", "/cas/crl/abc": "", "/cas/crl/1_0": "", "/cas/crl/-1": "",
	"/cas/crl/99999999999999999999999999999999999999999999999999999999999999": "",
	"/cas/csr": "", "/cas/csr/": "", "/cas/csr?x=1": "", "/cas/csr/{pending}": "", "/cas/csr/{signed}": "", "/cas/csr/{pending}/more": "",
	"/cas/csr/{pending}?x=1": "", "/cas/csr/0{pending}": "", "/cas/csr/+{pending}": "", "/cas/csr/%20{pending}": "integers", "/cas/csr/{pending}%20": "integers",
	"/cas/csr/1": "", "/cas/csr/-1": "", "/cas/csr/+1": "", "/cas/csr/abc": "", "/cas/csr/1_0": "integers", "/cas/csr/%201": "integers", "/cas/csr/0x1": "",
	"/cas/csr/1.0": "", "/cas/csr/%D9%A3": "", "/cas/csr/9223372036854775807": "", "/cas/csr/9223372036854775808": "reasons",
	"/cas/crt": "", "/cas/crt/0": "", "/cas/crt/1": "", "/cas/crt/-1": "", "/cas/crt/abc": "", "/cas/crt/{signed}": "", "/cas/crt/+{signed}": "",
	"/cas/crt/{pending}": "", "/cas/crt/ca.crt.pem": "", "/cas/crt/ca.crt.pem/x": "", "/cas/crt/ca.crt%2Epem": "", "/cas/crt/CA.CRT.PEM": "",
	"/cas/crt/ca.crt.json": "", "/cas/crt/renew": "", "/cas/crt/renew/x": "", "/cas/crt/revoke": "", "/cas/crt/99999999999999999999": "reasons",
	"http://elsewhere.example/cas/crl": "absolute", "/healthz": "extensions", "/cors": "cors-redirect", "/cors?return=x": "cors-redirect",
}

// headers are lines that are sent with a question, likewise.
var headers = []struct{ lines, because string }{
	{"Accept: nothing/atall", ""}, {"Accept: */*;q=0", ""}, {"Accept: text/html", ""}, {"Accept: application/json", "extensions"},
	{"Accept-Encoding: gzip", ""}, {"Accept-Charset: latin1", ""}, {"TE: trailers", ""}, {"Max-Forwards: 0", ""}, {"Date: x", ""},
	{"If-None-Match: *", "conditions"}, {`If-Match: "x"`, "conditions"}, {"If-Match: *", ""}, {"Range: bytes=0-1", "conditions"},
	{"If-Modified-Since: Fri, 27 Nov 2099 12:32:10 GMT", ""}, {"If-Unmodified-Since: Fri, 27 Nov 1999 12:32:10 GMT", "conditions"},
	{"Expect: x", "malformed"}, {"Transfer-Encoding: x", "malformed"}, {"Host: other.example", "malformed"}, {"Bad Header: x", "malformed"},
	{"NoColon", "malformed"}, {"X: \x01", "malformed"}, {"X: \xff", ""}, {"X: " + strings.Repeat("x", 8<<10), ""},
	{"Connection: keep-alive", ""}, {"Upgrade: websocket", ""}, {"Upgrade: h2c\r\nHTTP2-Settings: AAAA", ""}, {"Authorization: Basic eDp5", ""},
	{"X-Forwarded-For: 192.0.2.1", ""}, {"X-HTTP-Method-Override: DELETE", ""}, {"Cookie: x", ""}, {"Cookie: cors={}", ""},
	{"Origin: null", ""}, {"Origin: https://e.example", ""}, {"Origin: x y", ""}, {"Origin: https://e.example\r\nAccess-Control-Request-Method: PUT", ""},
}

// withHeaders are the questions that each of the headers is sent with.
var withHeaders = []string{
	"GET /", "GET /cas/crl", "GET /cas/csr", "GET /cas/csr/{pending}", "GET /cas/crt/{signed}", "GET /cas/crt/ca.crt.json",
	"OPTIONS /cas/crl", "OPTIONS /", "GET /nope", "DELETE /cas/csr/1", "PUT /cas/crt/renew",
}

// crossed are all of them. Some lines are for a sort of path or header, of which at least one question has to differ.
func crossed() []question {
	var all []question
	for path, because := range paths {
		for _, method := range methods {
			for _, as := range []string{"", "nobody", "alice"} {
				// These would change what the others ask for.
				decides := as == "alice" && strings.Contains(path, "{pending}") && (method == "DELETE" || method == "PUT")
				if !decides {
					all = append(all, question{as: as, ask: method + " " + path, because: because})
				}
			}
		}
	}
	for _, header := range headers {
		for _, ask := range withHeaders {
			for _, as := range []string{"", "alice"} {
				all = append(all, question{as: as, ask: ask, head: strings.Split(header.lines, "\r\n"), because: header.because})
			}
		}
	}
	return all
}

func TestDaemonsAnswerAlikeWhateverIsCombined(t *testing.T) {
	needReference(t)
	ours := newPeer(t, startOurs(t, "--write-rate", "0", "--handshake-rate", "0"))
	theirs := newPeer(t, startReference(t))
	differs := map[string]bool{}
	questions := crossed()
	for _, q := range questions {
		a, b := ours.gist(q), theirs.gist(q)
		// One sort: what is said of a path, whatever the method, and of a header, wherever it is sent.
		_, path, _ := strings.Cut(q.ask, " ")
		sort := path + "\n" + strings.Join(q.head, "\n")
		if len(q.head) > 0 {
			sort = strings.Join(q.head, "\n")
		}
		if q.because != "" {
			differs[sort] = differs[sort] || a != b
		} else if a != b {
			t.Errorf("%s %s %.100q:\nours   %s\ntheirs %s", q.as, q.ask, q.head, a, b)
		}
	}
	for sort, so := range differs {
		if !so {
			t.Errorf("%q: both answer alike now: its line in docs/protocol.md, section 11, is not true", sort)
		}
	}
	t.Logf("%d questions", len(questions))
}

// gist is what counts of an answer: what clients go by, and of what kind the body is.
func (p *peer) gist(q question) string {
	r, err := p.ask(q)
	if err != nil {
		return "no answer"
	}
	parts := []string{fmt.Sprint(r.StatusCode), p.foreign(r.Header.Get("WWW-Authenticate")), p.foreign(r.Header.Get("Location"))}
	switch {
	case r.StatusCode < 300:
		parts = append(parts, r.Header.Get("Content-Type"), r.form(), r.Header.Get("Access-Control-Allow-Origin"))
	case r.StatusCode == 405:
		allowed := strings.Split(r.Header.Get("Allow"), ", ")
		slices.Sort(allowed)
		parts = append(parts, strings.Join(allowed, " "))
	}
	return strings.Join(parts, "|")
}

// foreign takes out of a text what is of one daemon only.
func (p *peer) foreign(text string) string {
	escape := strings.NewReplacer(":", "%3A").Replace
	return strings.NewReplacer(p.https, "HTTPS", p.http, "HTTP", escape(p.https), "HTTPS", escape(p.http), "HTTP").Replace(text)
}
