//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests in this file ask both daemons the same and compare what they answer.

// A question is one request. Both daemons are to answer with the same status and headers, but
// for what they answer differently and why.
type question struct {
	as      string // "" over HTTP, "nobody" and "alice" over HTTPS
	ask     string // method and path
	typ     string
	head    []string // further lines of the header
	body    string
	status  int    // of both
	ours    int    // where it differs
	because string // the line of docs/protocol.md, section 11, that says so
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
	{as: "alice", ask: "DELETE /cas/csr/99999999999999999999", status: 500, ours: 404, because: "reasons"},
	{ask: "DELETE /cas/csr/99999999999999999999", status: 401},
	{ask: "PUT /cas/crt/-1", status: 401},
	{as: "alice", ask: "PUT /cas/crt/-1", status: 404},
	{ask: "GET /cas/csr/99999999999999999999", status: 500, ours: 404, because: "reasons"},
	{ask: "PUT /cas/csr", typ: "application/pkcs10", body: "{csr}", status: 201},
	{ask: "PUT /cas/csr", body: "{csr}", status: 201},
	{ask: "PUT /cas/csr", typ: "application/pkcs10", body: "junk", status: 400},
	{ask: "PUT /cas/csr", body: "{text}\n{csr}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr}{text}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr}{csr}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "\ufeff{csr}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr of 1024 bits}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr of nobody}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr of a network}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr of a malformed URI}", status: 201, ours: 400, because: "requests"},
	{ask: "PUT /cas/csr", body: "{csr that is forged}", status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cau/csr", body: "{csr of alice}", status: 500, ours: 409, because: "reasons"},
	{ask: "PUT /cas/csr", head: []string{"Content-Encoding: gzip"}, body: "{csr}", status: 201, ours: 415, because: "bodies"},
	{ask: "PUT /cas/csr", body: "{11 MiB}", status: 413},
	{ask: "GET /cas/crl", body: "{11 MiB}", status: 200, ours: 413, because: "bodies"},
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
	{as: "alice", ask: "PUT /cas/crt/{pending}", typ: "application/pkcs10", body: "junk", status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cas/crt/{pending}", typ: "application/pkcs10", body: "junk", status: 500, ours: 400, because: "order"},
	{ask: "PUT /cas/crt/{pending}", typ: "application/pkcs10", body: "{text}\n{csr}", status: 401, ours: 400, because: "order"},
	{as: "alice", ask: "PUT /cas/crt/1", typ: "application/pkcs10; charset=utf-8", body: "{csr}", status: 400, ours: 404, because: "charset"},
	{as: "alice", ask: "PUT /cas/crt/1", typ: "APPLICATION/PKCS10", body: "{csr}", status: 400, ours: 404, because: "charset"},
	{as: "alice", ask: "PUT /cas/crt/1", typ: "application/pkcs10; charset=latin1", body: "{csr}", status: 400},
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
		ours: 409, because: "revoked-twice"},

	{ask: "PUT /cas/crt/revoke", typ: "application/json; charset=UTF-8", body: `{"payload": "{\"revoke_serial\": 4711}", "digest": null}`, status: 400, ours: 401, because: "charset"},
	{ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": null, "digest": null}`, status: 401, ours: 400, because: "order"},
	{ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "x", "digest": null}`, status: 401},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "x", "digest": null}`, status: 400},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{}", "digest": null}`, status: 500, ours: 400, because: "reasons"},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 1001}", "digest": null, "signature": "x"}`, status: 204, ours: 400, because: "json"},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 1002}", "digest": null, "more": 1}`, status: 204, ours: 400, because: "json"},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 1003}", "digest": null, "digest": null}`, status: 204, ours: 400, because: "json"},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 1004, \"more\": 1}", "digest": null}`, status: 204, ours: 400, because: "json"},
	{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_serial\": 1005, \"revoke_serial\": 1006}", "digest": null}`, status: 204, ours: 400, because: "json"},
	{ask: "PUT /cas/crt/renew", typ: "application/json", body: `{}`, status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cas/crt/renew", typ: "application/json", body: `[]`, status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cas/crt/renew", typ: "application/json", body: `{"payload": "{}", "digest": "sha256", "signature": ""}`, status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cas/crt/renew", typ: "application/json", body: `{"payload": "{\"crt_pem\": {web}, \"renew_csr_pem\": {new csr}}", "digest": "sha256", "signature": "AAAA"}`, status: 500, ours: 401, because: "reasons"},
	{ask: "PUT /cas/crt/renew", typ: "application/json", body: `{"payload": "{\"crt_pem\": {web}, \"renew_csr_pem\": {new csr}}", "digest": "sha256", "signature": ""}`, status: 500, ours: 400, because: "reasons"},
	{ask: "PUT /cas/crt/revoke", typ: "application/json", body: `{"payload": "{\"revoke_crt_pem\": {web}}", "digest": "sha256", "signature": "AAAA"}`, status: 500, ours: 401, because: "reasons"},

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

	{ask: "GET http://{netloc}/cas/crl", status: 404, ours: 200, because: "absolute"},
	{ask: "GET http://elsewhere.example/cas/crl", status: 404, ours: 200, because: "absolute"},
	{ask: "GET /healthz", status: 404, ours: 200, because: "extensions"},
	{ask: "GET /cas/crt/root.pem", status: 400, ours: 200, because: "extensions"},
	{ask: "GET /cas/crl/{aki}.crl", status: 404, ours: 200, because: "extensions"},
	{as: "nobody", ask: "GET /cas/crl?" + strings.Repeat("x", 30<<10), status: 200, ours: 431, because: "head-size"},
	{as: "nobody", ask: "GET /cas/crl?" + strings.Repeat("x", 70<<10), status: 414, ours: 431, because: "head-size"},
	{as: "nobody", ask: "GET /cas/crl", head: []string{"X: " + strings.Repeat("x", 70<<10)}, status: 431},
	{as: "nobody", ask: "GET /cas/crl", head: []string{"X: " + strings.Repeat("x", 30<<10)}, status: 200, ours: 431, because: "head-size"},
	{ask: "GET /cas/crl", head: slices.Repeat([]string{"X: x"}, 110), status: 431, ours: 200, because: "head-size"},
}

func TestDaemonsAnswerAlike(t *testing.T) {
	needReference(t)
	ours, theirs := newPeer(t, startOurs(t)), newPeer(t, startReference(t))
	for i, q := range questions {
		t.Run(fmt.Sprintf("%d %s %.40s", i, q.as, q.ask), func(t *testing.T) {
			a, b := ours.answer(t, q), theirs.answer(t, q)
			want := q.status
			if q.ours != 0 {
				want = q.ours
			}
			if a.StatusCode != want || b.StatusCode != q.status {
				t.Errorf("ours %d, want %d; theirs %d, want %d", a.StatusCode, want, b.StatusCode, q.status)
			}
			if q.ours == 0 {
				sameHeaders(t, a, b)
				if q.status < http.StatusBadRequest && a.form() != b.form() {
					t.Errorf("ours is %s, theirs %s", a.form(), b.form())
				}
			}
			if a.StatusCode != 431 && a.Header.Get("Date") == "" || b.Header.Get("Date") == "" {
				t.Error("no Date")
			}
			if want == http.StatusCreated {
				for _, r := range []reply{a, b} {
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
func sameHeaders(t *testing.T, ours, theirs reply) {
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
