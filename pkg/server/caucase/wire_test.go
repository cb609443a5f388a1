package caucase

import (
	"bufio"
	"bytes"
	"cauase/pkg/pki"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"

	"cauase/pkg/server"
	"cauase/pkg/testkit/pkitest"
)

// raw sends bytes to the plain listener, and returns the status that comes back, 0 if
// the connection is closed without one.
func (s *site) raw(send ...string) (status int, header http.Header) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.httpAddr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for _, part := range send {
			if _, err := io.WriteString(conn, part); err != nil {
				return // the server may well have hung up
			}
		}
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil
	}
	return r.StatusCode, r.Header
}

func TestBodies(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	csr := newCSR(t, pkitest.Key(t), "someone")
	id := s.pending(s.Services, pkitest.Key(t))
	sign := fmt.Sprintf("https:/cas/crt/%d", id)
	const pkcs10, jsonType = "application/pkcs10", "application/json"
	deep := `{"payload":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `,"digest":null}`

	tests := []struct {
		name, method, target, body string
		headers                    []string
		status                     int
	}{
		{"request", "PUT", "http:/cas/csr", csr, []string{"Content-Type", pkcs10}, 201},
		{"request of any type", "PUT", "http:/cas/csr", csr, []string{"Content-Type", "text/plain"}, 201},
		{"request of no type", "PUT", "http:/cas/csr", csr, nil, 201},
		{"request that is none", "PUT", "http:/cas/csr", "junk", nil, 400},
		{"no request", "PUT", "http:/cas/csr", "", nil, 400},
		{"request too long for one", "PUT", "http:/cas/csr", csr + strings.Repeat("\n", 1<<20), nil, 400},
		{"10 MiB", "PUT", "http:/cas/csr", strings.Repeat("\n", server.MaxBody), nil, 400},
		{"10 MiB and a byte", "PUT", "http:/cas/csr", strings.Repeat("\n", server.MaxBody+1), nil, 413},
		{"10 MiB and a byte for a route without a body", "GET", "http:/cas/crl", strings.Repeat("\n", server.MaxBody+1), nil, 413},
		{"10 MiB and a byte of JSON", "PUT", "http:/cas/crt/renew", strings.Repeat("\n", server.MaxBody+1), []string{"Content-Type", jsonType}, 413},
		{"compressed", "PUT", "http:/cas/csr", csr, []string{"Content-Encoding", "gzip"}, 415},
		{"not compressed", "PUT", "http:/cas/csr", csr, []string{"Content-Encoding", "identity"}, 201},

		{"template of wrong type", "PUT", sign, csr, []string{"Content-Type", "text/plain"}, 400},
		{"template of no type", "PUT", sign, csr, nil, 400},
		{"template of two types", "PUT", sign, csr, []string{"Content-Type", pkcs10, "Content-Type", pkcs10}, 400},
		{"template that is none", "PUT", sign, "junk", []string{"Content-Type", pkcs10}, 400},
		{"bad template, unauthenticated", "PUT", strings.Replace(sign, "https", "http", 1), "junk", []string{"Content-Type", pkcs10}, 400},
		{"wrong type, unauthenticated", "PUT", strings.Replace(sign, "https", "http", 1), csr, []string{"Content-Type", "text/plain"}, 400},
		{"good template, unauthenticated", "PUT", strings.Replace(sign, "https", "http", 1), csr, []string{"Content-Type", pkcs10}, 401},
		{"signed without a template, of whatever type", "PUT", sign, "", []string{"Content-Type", "text/plain"}, 204},
		{"signed already", "PUT", sign, "", nil, 404},

		{"JSON of no type", "PUT", "http:/cas/crt/renew", "{}", nil, 400},
		{"JSON of wrong type", "PUT", "http:/cas/crt/renew", "{}", []string{"Content-Type", "text/plain"}, 400},
		{"JSON in another charset", "PUT", "http:/cas/crt/renew", "{}", []string{"Content-Type", jsonType + "; charset=utf-16"}, 400},
		{"no JSON", "PUT", "http:/cas/crt/renew", "{", []string{"Content-Type", jsonType}, 400},
		{"a list", "PUT", "http:/cas/crt/renew", "[]", []string{"Content-Type", jsonType}, 400},
		{"deep", "PUT", "http:/cas/crt/renew", deep, []string{"Content-Type", jsonType}, 400},
		{"renewal without signature", "PUT", "http:/cas/crt/renew", `{"payload":"{}","digest":null}`, []string{"Content-Type", jsonType}, 400},
		{"renewal with MD5", "PUT", "http:/cas/crt/renew", `{"payload":"{}","digest":"md5","signature":"AA=="}`, []string{"Content-Type", jsonType}, 400},

		{"revocation by nobody", "PUT", "http:/cas/crt/revoke", `{"payload":"{\"revoke_serial\":77}","digest":null}`, []string{"Content-Type", jsonType}, 401},
		{"revocation of nothing, by nobody", "PUT", "http:/cas/crt/revoke", `{"payload":"{}","digest":null}`, []string{"Content-Type", jsonType}, 401},
		{"revocation of nothing", "PUT", "https:/cas/crt/revoke", `{"payload":"{}","digest":null}`, []string{"Content-Type", jsonType}, 400},
		{"revocation of a string", "PUT", "https:/cas/crt/revoke", `{"payload":"{\"revoke_serial\":\"12\"}","digest":null}`, []string{"Content-Type", jsonType}, 400},
		{"revocation of 0", "PUT", "https:/cas/crt/revoke", `{"payload":"{\"revoke_serial\":0}","digest":null}`, []string{"Content-Type", jsonType}, 400},
		{"revocation by serial", "PUT", "https:/cas/crt/revoke", `{"payload":"{\"revoke_serial\":77}","digest":null}`, []string{"Content-Type", jsonType + "; charset=UTF-8"}, 204},
		{"revocation by serial again", "PUT", "https:/cas/crt/revoke", `{"payload":"{\"revoke_serial\":77}","digest":null}`, []string{"Content-Type", jsonType}, 409},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(c, tt.method, tt.target, tt.body, tt.headers...)
			if got.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %s", got.StatusCode, tt.status, got.body)
			}
			if tt.status == 201 && (got.body != "" || strings.Trim(got.Header.Get("Location"), "0123456789") != "") {
				t.Errorf("Location %q, body %q", got.Header.Get("Location"), got.body)
			}
		})
	}
}

// TestPendingLimit submits one request too many.
func TestPendingLimit(t *testing.T) {
	s := newSite(t)
	for range 50 {
		s.pending(s.Services, pkitest.Key(t))
	}
	got := s.do(s.client(nil), "PUT", "http:/cas/csr", newCSR(t, pkitest.Key(t), "one more"))
	if got.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("status %d: %s", got.StatusCode, got.body)
	}
}

// TestRequestComesBackAsSent follows a request on its way, byte for byte.
func TestRequestComesBackAsSent(t *testing.T) {
	s := newSite(t)
	c := s.client(nil)
	csr := "\n" + strings.ReplaceAll(newCSR(t, pkitest.Key(t), "someone"), "\n", "\r\n")
	id := s.do(c, "PUT", "http:/cas/csr", csr).Header.Get("Location")
	if got := s.do(c, "GET", "http:/cas/csr/"+id, ""); got.body != csr || got.Header.Get("Content-Type") != "application/pkcs10" {
		t.Errorf("%q, sent %q", got.body, csr)
	}
	user, _ := s.issue(s.Users)
	got := s.do(s.client(user), "GET", "https:/cas/csr", "")
	if !strings.HasPrefix(got.body, `[{"id":"`+id+`","csr":"\n-----BEGIN`) {
		t.Errorf("list: %s", got.body)
	}
	if got := s.do(c, "GET", "http:/cas/crt/"+id, ""); got.StatusCode != 404 {
		t.Errorf("certificate of a pending request: %d", got.StatusCode)
	}
}

func TestMalformedRequests(t *testing.T) {
	s := newSite(t)
	csr := newCSR(t, pkitest.Key(t), "someone")
	const head = "PUT /cas/csr HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	chunked := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(s), s) }
	endless := make([]string, 0, 700)
	endless = append(endless, head+"Transfer-Encoding: chunked\r\n\r\n")
	for range 700 { // 21 MiB
		endless = append(endless, "7800\r\n"+strings.Repeat("a", 0x7800)+"\r\n")
	}
	tests := []struct {
		name   string
		send   []string
		status int
	}{
		{"chunked", []string{head + "Transfer-Encoding: chunked\r\n\r\n" + chunked(csr)}, 201},
		{"HTTP/1.0", []string{"GET /cas/crl HTTP/1.0\r\n\r\n"}, 200},
		{"absolute form", []string{"GET http://elsewhere.example/cas/crl HTTP/1.1\r\nHost: x\r\n\r\n"}, 200},
		{"unknown expectation", []string{head + "Expect: foo\r\nContent-Length: 0\r\n\r\n"}, 417},
		{"go-ahead not given for too much", []string{head + "Expect: 100-continue\r\nContent-Length: 10485761\r\n\r\n"}, 413},
		{"endless", endless, 413},
		{"length not a number", []string{head + "Content-Length: abc\r\n\r\n"}, 400},
		{"length negative", []string{head + "Content-Length: -1\r\n\r\n"}, 400},
		{"two lengths", []string{head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"}, 400},
		{"length and chunks", []string{head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(csr)}, 400},
		{"two transfer encodings", []string{head + "Transfer-Encoding: gzip\r\n\r\n"}, 501},
		{"chunks that are none", []string{head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"}, 400},
		{"bare LF in a chunk", []string{head + "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n"}, 400},
		{"no host", []string{"GET / HTTP/1.1\r\n\r\n"}, 400},
		{"two hosts", []string{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}, 400},
		{"control character in a header", []string{"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"}, 400},
		{"space in the target", []string{"GET / cas HTTP/1.1\r\nHost: a\r\n\r\n"}, 400},
		{"bad percent encoding", []string{"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"}, 400},
		{"HTTP/3", []string{"GET / HTTP/3.0\r\nHost: a\r\n\r\n"}, 505},
		{"headers too long", []string{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n"}, 431},
		{"not HTTP", []string{"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"}, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if status, _ := s.raw(tt.send...); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
		})
	}
}

// TestHostileText makes sure that what strangers write reaches no terminal as it is.
func TestHostileText(t *testing.T) {
	s := newSite(t)
	s.raw("GET /%1b%5b31m\u202e HTTP/1.1\r\nHost: x\r\nUser-Agent: \u202eagent\u009b\r\nConnection: close\r\n\r\n")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.log.String() {
		if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' {
			t.Fatalf("%q in the log:\n%s", r, s.log)
		}
	}
	if !strings.Contains(s.log.String(), "status=404") {
		t.Errorf("not logged: %s", s.log)
	}
}

// TestDrain stops a server while a request is under way: it is finished, and new ones
// are not accepted.
func TestDrain(t *testing.T) {
	s := newSite(t)
	conn, err := net.Dial("tcp", s.httpAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	csr := newCSR(t, pkitest.Key(t), "someone")
	fmt.Fprintf(conn, "PUT /cas/csr HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(csr))
	in := bufio.NewReader(conn)
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 100 {
		t.Fatalf("%v %v", r, err)
	}
	stopped := make(chan error)
	go func() { stopped <- s.stop() }()
	for {
		c, err := net.Dial("tcp", s.httpAddr)
		if err != nil {
			break // nothing listens any more
		}
		c.Close()
	}
	if _, err := io.WriteString(conn, csr); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 201 {
		t.Errorf("%v %v", r, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestActor looks for who did it in the audit log.
func TestActor(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	id := s.pending(s.Services, pkitest.Key(t))
	got := s.do(s.client(user), "PUT", fmt.Sprintf("https:/cas/crt/%d", id), "", "X-Request-Id", "mine", "X-Forwarded-For", "192.0.2.1")
	if got.StatusCode != 204 {
		t.Fatal(got.Status)
	}
	var found audit.Entry
	err := s.Store.View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{Authority: "cas", Action: audit.Sign}, func(e audit.Entry) error {
			found = e
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	requestID := got.Header.Get("X-Request-Id")
	if !strings.HasPrefix(found.Actor.String(), "user serial="+pki.FormatSerial(user.Leaf.SerialNumber)+" ") || found.Actor.Address != "127.0.0.1" ||
		found.Actor.RequestID != requestID || len(requestID) != 16 {
		t.Errorf("%+v", found)
	}
}

// TestSlotsBeforeKeys: whether there is room for a request, and whether it is there already, is found out before
// anything is computed with its key. Nor is a template of a stranger computed with.
func TestSlotsBeforeKeys(t *testing.T) {
	s := newSite(t)
	forged := func(name string) string {
		der := bytes.Clone(pkitest.ParsedRequest(t, pkitest.SharedKey(t, pki.KeyRSA2048, "stranger"),
			&x509.CertificateRequest{DNSNames: []string{name}}).CSR.Raw)
		der[len(der)-1] ^= 1
		return string(pki.EncodeCSRPEM(der))
	}
	stranger := s.client(nil)
	if got := s.do(stranger, "PUT", "http:/cas/csr", forged("a.example")); got.StatusCode != 400 {
		t.Errorf("a forged signature: %d", got.StatusCode)
	}
	known := newCSR(t, pkitest.Key(t), "known")
	id := s.do(stranger, "PUT", "http:/cas/csr", known).Header.Get("Location")
	for n := range 11 {
		if got := s.do(stranger, "PUT", "http:/cas/csr", newCSR(t, pkitest.Key(t), fmt.Sprint("host", n))); got.StatusCode != 201 {
			t.Fatalf("request %d: %d %s", n, got.StatusCode, got.body)
		}
	}
	if got := s.do(stranger, "PUT", "http:/cas/csr", forged("b.example")); got.StatusCode != 507 {
		t.Errorf("a forged signature while there is no room: %d %s", got.StatusCode, got.body)
	}
	if got := s.do(stranger, "PUT", "http:/cas/csr", known); got.StatusCode != 201 || got.Header.Get("Location") != id {
		t.Errorf("a known one while there is no room: %d, %s, want %s", got.StatusCode, got.Header.Get("Location"), id)
	}
	user, _ := s.issue(s.Users)
	for name, tt := range map[string]struct {
		crt    *tls.Certificate
		body   string
		status int
	}{
		"stranger": {nil, forged("c.example"), 401}, "user": {user, forged("c.example"), 400}, "stranger without form": {nil, "none", 400},
	} {
		got := s.do(s.client(tt.crt), "PUT", "https:/cas/crt/"+id, tt.body, "Content-Type", "application/pkcs10")
		if got.StatusCode != tt.status {
			t.Errorf("a template of a %s: %d %s, want %d", name, got.StatusCode, got.body, tt.status)
		}
	}
}
