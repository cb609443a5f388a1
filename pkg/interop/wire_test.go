//go:build interop

package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tests in this file ask both daemons the same and compare what they answer.

// A peer is a daemon with a user, one pending and one signed request, to be asked in HTTP.
type peer struct {
	*daemon
	user      *http.Client
	anonymous *http.Client
	words     *strings.Replacer // for {pending} and the like in paths and bodies
}

func newPeer(t *testing.T, d *daemon) *peer {
	t.Helper()
	at := d.desk(t)
	at.enrols("alice")
	at.obtains("alice.pem", "web")
	at.makesRequest("mail")
	at.makesRequest("ftp")
	pending := at.cauase("csr", "send", "mail.csr.pem").ids()["mail.csr.pem"]
	// The same request again has the same id, also when it is signed.
	signed := at.cauase("csr", "send", "web.csr.pem").ids()["web.csr.pem"]
	at.copy("web.pem", "gone.pem")
	at.cauase("crt", "revoke", "gone.pem").ok()

	pair, err := tls.LoadX509KeyPair(at.path("alice.pem"), at.path("alice.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &peer{
		daemon:    d,
		user:      httpsClient(&pair),
		anonymous: httpsClient(nil),
		words: strings.NewReplacer(
			"{pending}", pending, "{signed}", signed,
			"{aki}", akiOf(at.certificate("web.pem").AuthorityKeyId),
			"{csr}", string(at.read("ftp.csr.pem")),
			"{revoked}", inside(string(blocksText(at.read("gone.pem"), "CERTIFICATE"))),
			"{foreign}", inside(string(blocksText(at.read("alice.pem"), "CERTIFICATE"))),
		),
	}
}

// httpsClient shows a certificate, or none, and looks at none.
func httpsClient(pair *tls.Certificate) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true}
	if pair != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A question is one request. Both daemons are to answer with the same status and headers, but
// for what they answer differently and why.
type question struct {
	as      string // "" over HTTP, "nobody" and "alice" over HTTPS
	ask     string // method and path
	typ     string
	body    string
	status  int    // of both
	ours    int    // where it differs
	because string // why it does
}

var questions = []question{
	{ask: "GET /cas/crl", status: 200},
	{ask: "GET /cau/crl", status: 200},
	{ask: "GET //cas///crl/", status: 200},
	{ask: "GET /cas/crl?x=y", status: 200},
	{ask: "GET /cas/crl/{aki}", status: 200},
	{ask: "GET /cas/crl/0{aki}", status: 200},
	{ask: "GET /cau/crl/{aki}", status: 404},
	{ask: "GET /cas/crl/1", status: 404},
	{ask: "GET /cas/crl/-1", status: 404},
	{ask: "GET /cas/crl/abc", status: 404},
	{ask: "GET /cas/crl/{aki}/more", status: 404},

	{ask: "GET /cas/csr", status: 401},
	{as: "nobody", ask: "GET /cas/csr", status: 401},
	{as: "alice", ask: "GET /cas/csr", status: 200},
	{as: "alice", ask: "GET /cau/csr", status: 200},
	{ask: "GET /cas/csr/{pending}", status: 200},
	{ask: "GET /cas/csr/{signed}", status: 200},
	{ask: "GET /cas/csr/1", status: 404},
	{ask: "GET /cas/csr/-1", status: 404},
	{ask: "GET /cas/csr/abc", status: 400},
	{ask: "GET /cas/csr/99999999999999999999", status: 500, ours: 404, because: "no id is that long"},
	{ask: "PUT /cas/csr", typ: "application/pkcs10", body: "{csr}", status: 201},
	{ask: "PUT /cas/csr", body: "{csr}", status: 201},
	{ask: "PUT /cas/csr", typ: "application/pkcs10", body: "junk", status: 400},
	{ask: "PUT /cas/csr", typ: "application/pkcs10", status: 400},
	{ask: "DELETE /cas/csr/{pending}", status: 401},
	{as: "alice", ask: "DELETE /cas/csr/{signed}", status: 404},
	{as: "alice", ask: "DELETE /cas/csr/abc", status: 400},
	{as: "alice", ask: "DELETE /cas/csr", status: 404},

	{ask: "GET /cas/crt/ca.crt.pem", status: 200},
	{ask: "GET /cas/crt/ca.crt.json", status: 200},
	{ask: "GET /cas/crt/{signed}", status: 200},
	{ask: "GET /cas/crt/{pending}", status: 404},
	{ask: "GET /cau/crt/{signed}", status: 404},
	{ask: "GET /cas/crt/abc", status: 400},
	{ask: "GET /cas/crt", status: 404},
	{ask: "PUT /cas/crt/{pending}", status: 401},
	{as: "nobody", ask: "PUT /cas/crt/{pending}", status: 401},
	{ask: "PUT /cas/crt/{pending}", typ: "text/plain", body: "{csr}", status: 400},
	{ask: "PUT /cas/crt/abc", status: 400},
	{as: "alice", ask: "PUT /cas/crt/{pending}", typ: "text/plain", body: "{csr}", status: 400},
	{as: "alice", ask: "PUT /cas/crt/1", status: 404},
	{as: "alice", ask: "PUT /cas/crt/{signed}", status: 404},
	{as: "alice", ask: "PUT /cas/crt/{pending}", status: 204},
	{as: "alice", ask: "PUT /cas/crt/{pending}", status: 404},

	{ask: "PUT /cas/crt/renew", typ: "application/json", body: "junk", status: 400},
	{ask: "PUT /cas/crt/renew", typ: "text/plain", body: "{}", status: 400},
	{ask: "PUT /cas/crt/revoke", typ: "application/json", body: "junk", status: 400},
	{ask: "PUT /cas/crt/revoke", typ: "application/json; charset=utf-8", body: "{}", status: 400},
	{ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 4711}", "digest": null}`, status: 401},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 4711}", "digest": null}`, status: 204},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 4711}", "digest": null}`, status: 409},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_crt_pem\": {foreign}}", "digest": null}`, status: 400},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_crt_pem\": {revoked}}", "digest": null}`, status: 400,
		ours: 409, because: "revoking twice is a conflict, however the certificate is named"},

	{ask: "GET /", status: 200},
	{ask: "GET /cau", status: 200},
	{ask: "GET /cas", status: 200},
	{ask: "GET /nope", status: 404},
	{ask: "GET /cas/nope", status: 404},
	{ask: "GET /cas/../cas/crl", status: 404},
	{ask: "POST /cas/crl", status: 405},
	{ask: "PUT /", status: 405},
	{ask: "DELETE /cas", status: 405},
	{ask: "HEAD /cas/crl", status: 405},
	{ask: "GET /cas/crt/renew", status: 405},
	{ask: "POST /cas/csr", status: 405},
	{ask: "POST /cas/crt/{signed}", status: 405},
	{ask: "DELETE /cas/crt/renew", status: 405},
	{ask: "OPTIONS /cas/crl", status: 204},
	{ask: "OPTIONS /nope", status: 204},
}

func TestDaemonsAnswerAlike(t *testing.T) {
	needReference(t)
	ours, theirs := newPeer(t, startOurs(t)), newPeer(t, startReference(t))
	for i, q := range questions {
		t.Run(fmt.Sprintf("%d %s %s", i, q.as, q.ask), func(t *testing.T) {
			a, b := ours.answer(t, q), theirs.answer(t, q)
			want := q.status
			if q.ours != 0 {
				want = q.ours
				t.Logf("ours is %d: %s", q.ours, q.because)
			}
			if a.StatusCode != want || b.StatusCode != q.status {
				t.Errorf("ours %d, want %d; theirs %d, want %d", a.StatusCode, want, b.StatusCode, q.status)
			}
			if q.ours == 0 {
				sameHeaders(t, a, b)
			}
			if a.Header.Get("Date") == "" || b.Header.Get("Date") == "" {
				t.Error("no Date")
			}
			if q.status == http.StatusCreated {
				for _, r := range []*http.Response{a, b} {
					if _, err := strconv.ParseUint(r.Header.Get("Location"), 10, 63); err != nil {
						t.Errorf("Location: %v", err)
					}
				}
			}
		})
	}
}

// sameHeaders compares what clients go by. We say more than the reference: that reasons are
// text, what OPTIONS allows, and that caches have to ask again.
func sameHeaders(t *testing.T, ours, theirs *http.Response) {
	t.Helper()
	names := []string{"WWW-Authenticate"}
	if theirs.StatusCode < http.StatusBadRequest {
		names = append(names, "Content-Type")
	}
	if theirs.StatusCode == http.StatusMethodNotAllowed {
		names = append(names, "Allow")
	}
	if theirs.Header.Get("Cache-Control") != "" {
		names = append(names, "Cache-Control")
	}
	for _, name := range names {
		if x, y := ours.Header.Get(name), theirs.Header.Get(name); x != y {
			t.Errorf("%s: ours %q, theirs %q", name, x, y)
		}
	}
}

func (p *peer) answer(t *testing.T, q question) *http.Response {
	t.Helper()
	method, path, _ := strings.Cut(p.words.Replace(q.ask), " ")
	base, client := p.http, p.anonymous
	switch q.as {
	case "nobody":
		base = p.https
	case "alice":
		base, client = p.https, p.user
	}
	request, err := http.NewRequest(method, base+path, strings.NewReader(p.words.Replace(q.body)))
	if err != nil {
		t.Fatal(err)
	}
	if q.typ != "" {
		request.Header.Set("Content-Type", q.typ)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response
}

// The hypertext that describes the routes is the same, word by word and link by link.
func TestDaemonsDescribeThemselvesAlike(t *testing.T) {
	needReference(t)
	ours, theirs := startOurs(t), startReference(t)
	for _, path := range []string{"/", "/cau", "/cas"} {
		for _, secure := range []bool{false, true} {
			a, b := ours.hypertext(t, path, secure), theirs.hypertext(t, path, secure)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s, HTTPS %t:\nours   %s\ntheirs %s", path, secure, indented(a), indented(b))
			}
		}
	}
}

func (d *daemon) hypertext(t *testing.T, path string, secure bool) any {
	t.Helper()
	base := d.http
	if secure {
		base = d.https
	}
	response, err := httpsClient(nil).Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	body = bytes.ReplaceAll(body, []byte(d.http), []byte("http://netloc"))
	body = bytes.ReplaceAll(body, []byte(d.https), []byte("https://netloc"))
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, body)
	}
	return value
}

func indented(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// inside is text as a JSON string within a JSON string.
func inside(text string) string {
	inner, _ := json.Marshal(text) // a string always has one
	outer, _ := json.Marshal(string(inner))
	return string(outer[1 : len(outer)-1])
}
