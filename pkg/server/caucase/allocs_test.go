package caucase

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// A wire is a kept connection whose client allocates nothing: what is counted is the server's.
type wire struct {
	t      testing.TB
	conn   net.Conn
	answer [64 << 10]byte
}

func dialWire(t testing.TB, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, conn: c}
}

// ask sends a request, and returns all of the answer.
func (w *wire) ask(request []byte) []byte {
	if _, err := w.conn.Write(request); err != nil {
		w.t.Fatal(err)
	}
	got, want := 0, -1
	for want < 0 || got < want {
		n, err := w.conn.Read(w.answer[got:])
		if err != nil {
			w.t.Fatalf("%v after %q", err, w.answer[:got])
		}
		got += n
		if end := bytes.Index(w.answer[:got], []byte("\r\n\r\n")); want < 0 && end >= 0 {
			want = end + len("\r\n\r\n") + bodyLength(w.t, w.answer[:end])
		}
	}
	return w.answer[:got]
}

func bodyLength(t testing.TB, header []byte) (n int) {
	const field = "\r\nContent-Length: "
	at := bytes.Index(header, []byte(field))
	if at < 0 {
		return 0
	}
	for _, c := range header[at+len(field):] {
		if c < '0' || c > '9' {
			return n
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// allocations is how many there are for one answer, and the answer.
func (w *wire) allocations(runs int, next func() []byte) (float64, string) {
	w.t.Helper()
	answer := string(w.ask(next())) // connections, caches and pools exist afterwards
	return testing.AllocsPerRun(runs, func() { w.ask(next()) }), answer
}

// bare is how many allocations net/http itself takes for a request, and an answer with so many header fields and a body.
func bare(t *testing.T, request []byte, answer string) float64 {
	t.Helper()
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	status, err := strconv.Atoi(strings.Fields(lines[0])[1])
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	payload := []byte(body)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var buf [4 << 10]byte
		for {
			if _, err := r.Body.Read(buf[:]); err != nil {
				break
			}
		}
		h := w.Header()
		for name, value := range header {
			h[name] = value
		}
		w.WriteHeader(status)
		_, _ = w.Write(payload)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	n, _ := dialWire(t, l.Addr().String()).allocations(200, func() []byte { return request })
	return n
}

// TestAllocations pins what requests cost beyond what net/http takes for the same request and the same answer: unchanged lists and their 304
// next to nothing, renewals what is parsed, signed and recorded.
func TestAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	s := newSite(t)
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	engine, err := server.New(server.Config{Clock: s.Clock, Log: log, FrontEnds: []server.FrontEnd{s.front}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen(t.Context(), log, []string{"127.0.0.1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	address := l.HTTP[0].Addr().String()
	testkit.Background(t, func(ctx context.Context) error { return engine.Serve(ctx, context.Background(), l, s.handshake) })

	request := func(method, path, body string, fields ...string) []byte {
		if method != http.MethodGet {
			fields = append(fields, "Content-Length: "+strconv.Itoa(len(body)))
		}
		fields = append([]string{method + " " + path + " HTTP/1.1", "Host: ca.test", "User-Agent: wire"}, fields...)
		return []byte(strings.Join(fields, "\r\n") + "\r\n\r\n" + body)
	}
	w := dialWire(t, address)

	lists, err := s.Services.CRLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	getAll := request("GET", "/cas/crl", "")
	_, all := w.allocations(1, func() []byte { return getAll })
	tag := fieldOf(t, all, "Etag")
	der := fmt.Sprintf("/cas/crl/%d.crl", new(big.Int).SetBytes(lists[0].KeyID))
	asking := testing.AllocsPerRun(200, func() { _, _ = s.Services.CRLs(t.Context()) })
	for _, c := range []struct {
		what    string
		request []byte
		of      float64 // the authority that is asked
		most    float64
	}{
		{"all lists", getAll, asking, 12},
		{"304 for all lists", request("GET", "/cas/crl", "", "If-None-Match: "+tag), asking, 12},
		{"a list in DER", request("GET", der, ""), asking, 16},
		{"CA certificate", request("GET", "/cas/crt/ca.crt.pem", ""), 0, 22},
	} {
		got, answer := w.allocations(200, func() []byte { return c.request })
		net := got - bare(t, c.request, answer) - c.of
		t.Logf("%s: %.0f allocations beyond those of net/http and of the authority, of %.0f", c.what, net, got)
		if net > c.most {
			t.Errorf("%s: %.0f allocations, where %.0f are enough\n%s", c.what, net, c.most, answer)
		}
	}

	const renewals = 20
	var requests [][]byte
	for range renewals + 2 {
		crt, _ := s.issue(s.Services)
		requests = append(requests, request("PUT", "/cas/crt/renew", renewalOf(t, crt), "Content-Type: application/json"))
	}
	first := requests[0]
	got, answer := w.allocations(renewals, func() []byte {
		next := requests[0]
		requests = requests[1:]
		return next
	})
	_, text, _ := strings.Cut(answer, "\r\n\r\n")
	if _, err := pki.ParseCertificatePEM([]byte(text)); err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
	const most = 800 // with all that is parsed, signed and recorded
	net := got - bare(t, first, answer)
	t.Logf("a renewal: %.0f allocations beyond those of net/http, of %.0f", net, got)
	if net > most {
		t.Errorf("a renewal: %.0f allocations, where %d are enough", net, most)
	}
}

// TestEnrolmentAllocations pins what an authority allocates for a submission, its approval and the fetching of the certificate, with all that
// is parsed, linted, signed and recorded.
func TestEnrolmentAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	s := newSite(t)
	user := audit.Actor{Kind: audit.User, Serial: big.NewInt(7), Address: "192.0.2.8"}
	const enrolments = 20
	var requests [][]byte
	for range enrolments + 2 {
		requests = append(requests, pkitest.NamedRequest(t, pkitest.Key(t), "web", "web.example"))
	}
	enrol := func() {
		text := requests[0]
		requests = requests[1:]
		done, err := s.front.submit(t.Context(), s.Services, audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7"}, submitting{text: text})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Services.Approve(t.Context(), user, done.ID, ca.Approval{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Services.Certificate(t.Context(), done.ID); err != nil {
			t.Fatal(err)
		}
	}
	enrol()
	const most = 2300
	got := testing.AllocsPerRun(enrolments, enrol)
	t.Logf("an enrolment: %.0f allocations", got)
	if got > most {
		t.Errorf("an enrolment: %.0f allocations, where %d are enough", got, most)
	}
}

func fieldOf(t testing.TB, answer, name string) string {
	t.Helper()
	for line := range strings.SplitSeq(answer, "\r\n") {
		if value, found := strings.CutPrefix(line, name+": "); found {
			return value
		}
	}
	t.Fatalf("no %s in %s", name, answer)
	return ""
}
