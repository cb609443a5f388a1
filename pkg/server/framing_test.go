package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/audit"
)

// TestLengthWithChunks sends requests with both a length and chunks, which two readers can take for different ones,
// in whatever way they are cut and wherever they stand on a connection, in the clear and over TLS.
func TestLengthWithChunks(t *testing.T) {
	s := newSite(t)
	const (
		put   = "PUT /orders HTTP/1.1\r\nHost: a\r\n"
		end   = "\r\n"
		chunk = "3\r\nabc\r\n0\r\n\r\n"
	)
	for name, tt := range map[string]struct {
		send string
		last int // status of the last answer
	}{
		"chunks":                 {put + "Transfer-Encoding: chunked\r\n" + end + chunk, 200},
		"length":                 {put + "Content-Length: 3\r\n" + end + "abc", 200},
		"both":                   {put + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + end + chunk, 400},
		"the other way round":    {put + "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 3\r\n" + end + chunk, 400},
		"in other letters":       {put + "transfer-encoding:chunked\r\ncONTENT-lENGTH:0\r\n" + end + chunk, 400},
		"with bare line ends":    {"PUT /orders HTTP/1.1\nHost: a\nContent-Length: 3\nTransfer-Encoding: chunked\n\n" + chunk, 400},
		"HTTP/1.0":               {"PUT /orders HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" + end + "abc", 400},
		"a GET":                  {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", 400},
		"after another":          {put + "Content-Length: 3\r\n" + end + "abc" + put + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + end + chunk, 400},
		"after a body like one":  {put + "Content-Length: 6\r\n" + end + "abc\r\n\n" + put + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" + end + chunk, 400},
		"one of each":            {put + "Content-Length: 3\r\n" + end + "abc" + put + "Transfer-Encoding: chunked\r\n" + end + chunk, 200},
		"on an unknown path":     {"PUT /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" + end + chunk, 400},
		"long field before them": {put + "X: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" + end + chunk, 400},
	} {
		for where, dial := range map[string]func() (net.Conn, error){
			"HTTP": func() (net.Conn, error) { return net.Dial("tcp", s.httpAddr) },
			"TLS": func() (net.Conn, error) {
				config := s.TLS(t, nil)
				config.NextProtos = []string{"http/1.1"}
				return tls.Dial("tcp", s.httpsAddr, config)
			},
		} {
			for _, size := range []int{1, 7, len(tt.send)} {
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					for rest := tt.send; rest != ""; {
						n := min(size, len(rest))
						if _, err := io.WriteString(c, rest[:n]); err != nil {
							return // refused before the end
						}
						rest = rest[n:]
					}
				}()
				last, closed := answers(c, strings.Count(tt.send, " HTTP/1"))
				if last != tt.last || closed != (tt.last == 400) {
					t.Errorf("%s over %s, %d bytes at a time: status %d, closed %v, want %d", name, where, size, last, closed, tt.last)
				}
				c.Close()
			}
		}
	}
}

// answers reads so many answers, or until the connection is closed, and returns the status of the last one and
// whether it says that the connection ends.
func answers(c net.Conn, count int) (last int, closed bool) {
	r := bufio.NewReader(c)
	for range count {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return last, closed
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		last, closed = response.StatusCode, response.Close
		if closed {
			return last, closed
		}
	}
	return last, closed
}

// TestHTTP1OverTLSKnowsItsPeer makes sure that the certificate shown on a connection of HTTP/1 counts as on one of HTTP/2.
func TestHTTP1OverTLSKnowsItsPeer(t *testing.T) {
	shop := &shop{routes: []Route{{Method: "GET", Path: "secret", Access: User, Origin: noRule, Handler: func(x *Exchange) (Perform, error) {
		return func(context.Context, audit.Actor) error { return x.Reply(200, TypeText, []byte(x.Request.Proto)) }, nil
	}}}}
	s := newSite(t, func(c *Config) { c.FrontEnds = []FrontEnd{shop} })
	user, _ := s.Issue(t, s.Users)
	shop.allow(user.Leaf)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := s.Client(t, user)
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "HTTP/2.0"
		response, err := client.Get("https://" + s.httpsAddr + "/secret")
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || string(got) != protocol {
			t.Errorf("%s: %d %q", protocol, response.StatusCode, got)
		}
	}
}

func TestHTTPOnTheSecurePort(t *testing.T) {
	s := newSite(t)
	c, err := net.Dial("tcp", s.httpsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c); !strings.Contains(string(got), "HTTPS server") {
		t.Errorf("%q", got)
	}
}

// TestLongHandshake: who sends more than a handshake takes is cut off before it is in memory.
func TestLongHandshake(t *testing.T) {
	s := newSite(t)
	c, err := net.Dial("tcp", s.httpsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A client hello in records of its own, each of them whole: 64 KiB of it are what the standard library takes.
	record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 1<<14)...)
	copy(record[5:], []byte{1, 0, 0xff, 0xff})
	sent := 0
	for range 10 {
		n, err := c.Write(record)
		sent += n
		if err != nil {
			break
		}
		record = append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 1<<14)...)
	}
	_, _ = io.ReadAll(c) // until it hangs up
	if got := s.server.ledger.connections(); got != 0 {
		t.Errorf("%d connections", got)
	}
}
