//go:build interop

package interop

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var wirePins = map[string]pin{
	"serials": func(t *testing.T, ours, _ *peer) {
		// A daemon of its own, as its lists are lost.
		theirs := newPeer(t, startReference(t))
		for i, serial := range []string{`\"77\"`, "-1", "0"} {
			q := question{as: "alice", ask: "PUT /cas/crt/revoke", typ: "application/json",
				body: fmt.Sprintf(`{"payload": "{\"revoke_serial\": %s}", "digest": null}`, serial)}
			both(t, ours, theirs, func(p *peer) string { return status(p, q) }, "400", "204")
			lists := question{ask: "GET /cas/crl"}
			want := "200"
			if i > 0 {
				want = "500"
			}
			both(t, ours, theirs, func(p *peer) string { return status(p, lists) }, "200", want)
		}
	},
	"bad-certificate": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			client := httpsClient(stranger(t))
			var seen []string
			for _, path := range []string{"/cas/csr", "/cas/crl"} {
				response, err := client.Get(p.https + path)
				if err != nil {
					seen = append(seen, "no handshake")
					continue
				}
				response.Body.Close()
				seen = append(seen, fmt.Sprint(response.StatusCode))
			}
			return strings.Join(seen, " ")
		}
		both(t, ours, theirs, see, "401 200", "no handshake no handshake")
	},
	"error-text": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			var seen []string
			for _, ask := range []string{"GET /cas/csr/abc", "GET /cas/csr/1"} {
				r := p.answer(t, question{ask: ask})
				text := string(r.body)
				switch {
				case strings.HasPrefix(text, "b'"):
					text = "Python"
				case text != "":
					text = "text"
				}
				seen = append(seen, text+" "+r.Header.Get("Content-Type"))
			}
			return strings.Join(seen, ", ")
		}
		both(t, ours, theirs, see, "text text/plain; charset=utf-8, text text/plain; charset=utf-8", "Python ,  ")
	},
	"no-length": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			conn, err := net.Dial("tcp", p.netloc)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "PUT /cas/csr HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", p.netloc)
			// Whoever does not answer what has been there for so long waits for more, as closing this side shows.
			if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				t.Fatal(err)
			}
			early := "at once"
			r := bufio.NewReader(conn)
			if _, err := r.Peek(1); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				early = "at the end"
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				r.Reset(conn)
			}
			response, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			return fmt.Sprintf("%d %s", response.StatusCode, early)
		}
		both(t, ours, theirs, see, "400 at once", "400 at the end")
	},
	"http-version": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			r := p.answer(t, question{ask: "GET /cas/crl"})
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: shows(nil), ForceAttemptHTTP2: true}}
			response, err := client.Get(p.https + "/cas/crl")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			client.CloseIdleConnections()
			return r.Proto + " " + response.Proto
		}
		both(t, ours, theirs, see, "HTTP/1.1 HTTP/2.0", "HTTP/1.0 HTTP/1.0")
	},
	"headers": func(t *testing.T, ours, theirs *peer) {
		q := question{ask: "GET /cas/crl"}
		both(t, ours, theirs, func(p *peer) string { return p.answer(t, q).Header.Get("X-Content-Type-Options") }, "nosniff", "")
		page := question{as: "alice", ask: "GET /cors?origin=https://e.example&return=https://e.example/"}
		see := func(p *peer) string {
			h := p.answer(t, page).Header
			return strings.Join([]string{h.Get("Content-Security-Policy"), h.Get("X-Frame-Options"), h.Get("Referrer-Policy")}, "|")
		}
		both(t, ours, theirs, see, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'|DENY|same-origin", "frame-ancestors 'none'|DENY|")
	},
	"https-ca": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(p.https, "https://"), shows(nil))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sent := conn.ConnectionState().PeerCertificates
			return fmt.Sprintf("%d certificates, usages %v, voucher %s", len(sent), sent[0].ExtKeyUsage, status(p, question{ask: "GET /cas/crt/https-ca.json"}))
		}
		both(t, ours, theirs, see, "2 certificates, usages [serverAuth], voucher 200", "1 certificates, usages [], voucher 400")
	},
	"tickets": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			config := shows(nil)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			resumed := false
			for range 2 {
				conn, err := tls.Dial("tcp", strings.TrimPrefix(p.https, "https://"), config)
				if err != nil {
					t.Fatal(err)
				}
				resumed = conn.ConnectionState().DidResume
				fmt.Fprintf(conn, "GET /cas/crl HTTP/1.0\r\nHost: %s\r\n\r\n", p.netloc)
				// Tickets come after the handshake.
				if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				conn.Close()
			}
			return fmt.Sprint("resumed: ", resumed)
		}
		both(t, ours, theirs, see, "resumed: false", "resumed: true")
	},
	"server-key": func(t *testing.T, ours, theirs *peer) {
		see := func(p *peer) string {
			var seen []string
			for _, block := range blocks(readAll(t, filepath.Join(p.cmd.Dir, "server.key.pem")), "") {
				seen = append(seen, block.Type)
			}
			return strings.Join(seen, ", ")
		}
		both(t, ours, theirs, see, "PRIVATE KEY, CERTIFICATE, CERTIFICATE", "RSA PRIVATE KEY, CERTIFICATE")
	},
}

// status is that of an answer.
func status(p *peer, q question) string {
	r, err := p.ask(q)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(r.StatusCode)
}
