package adversaries

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func (d *daemon) dial() net.Conn {
	return must(net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))))
}

func (d *daemon) dialTLS(protocols ...string) *tls.Conn {
	return must(tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port+1)),
		&tls.Config{InsecureSkipVerify: true, NextProtos: protocols})) //nolint:gosec // by its port
}

// raw writes bytes, and says how each answer to them began, and whether the connection was closed then.
func raw(text string) func(*world) answer {
	return func(w *world) answer {
		c := w.daemon.dial()
		defer c.Close()
		go func() { _, _ = io.WriteString(c, text) }() // the daemon may close before it has read all
		return answers(c)
	}
}

// answers reads all answers up to the end of a connection.
func answers(c net.Conn) answer {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var got, texts []string
	for r := bufio.NewReader(c); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		body, _ := io.ReadAll(resp.Body)
		got, texts = append(got, strconv.Itoa(resp.StatusCode)), append(texts, string(body))
		if resp.Close {
			break
		}
	}
	if len(got) == 0 {
		return answer{"closed", ""}
	}
	return answer{strings.Join(got, ", "), strings.Join(texts, "\n")}
}

const last = "Host: a\r\nConnection: close\r\n\r\n"

func framingRows() []row {
	get := func(target string) func(*world) answer { return raw("GET " + target + " HTTP/1.1\r\n" + last) }
	second := "GET /healthz HTTP/1.1\r\n" + last
	post := "PUT /cas/csr HTTP/1.1\r\nHost: a\r\n"
	return []row{
		{class: 20, name: "`Content-Length` and `Transfer-Encoding`, with a second request in the body", try: raw(post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second), want: "400", says: ""},
		{class: 20, name: "two `Content-Length` that differ", try: raw(post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + second), want: "400", says: ""},
		{class: 20, name: "`Content-Length: +5`", try: raw(post + "Content-Length: +5\r\n\r\nhello" + second), want: "400", says: ""},
		{class: 20, name: "`Content-Length: 5, 5`", try: raw(post + "Content-Length: 5, 5\r\n\r\nhello" + second), want: "400", says: ""},
		{class: 20, name: "`Transfer-Encoding: chunked, identity`", try: raw(post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + second), want: "501", says: "encoding"},
		{class: 20, name: "`Transfer-Encoding` with a tab before its colon", try: raw(post + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + second), want: "400", says: ""},
		{class: 20, name: "a chunk that ends with a bare LF (CVE-2025-22871)", try: raw(post + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + second), want: "400", says: ""},
		{class: 20, name: "a chunk of 2^64 bytes", try: raw(post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhello"), want: "400", says: ""},
		{class: 20, name: "chunk extensions of 64 KiB", try: raw(post + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n" + second), want: "400", says: ""},
		{class: 20, name: "`/cas/../cau/csr`", try: get("/cas/../cau/csr"), want: "404", says: "not found"},
		{class: 20, name: "`/cas/%2e%2e/cau/csr`", try: get("/cas/%2e%2e/cau/csr"), want: "404", says: "not found"},
		{class: 20, name: "`//cas///crl`, whose empty parts do not count", try: get("//cas///crl"), want: "200"},
		{class: 20, name: "`/cas%2fcrl`, as the reference has it", try: get("/cas%2fcrl"), want: "200"},
		{class: 20, name: "`/cas/crl%00`", try: get("/cas/crl%00"), want: "404", says: ""},
		{class: 20, name: "`/cas/crl/%ff`", try: get("/cas/crl/%ff"), want: "404", says: ""},
		{class: 20, name: "`/%zz`", try: get("/%zz"), want: "400", says: ""},
		{class: 20, name: "the URL of another host as target (CVE-2026-3605): only its path counts", try: get("http://evil.example/cas/csr"), want: "401", says: "certificate"},
		{class: 20, name: "a target without a slash", try: get("cas/crl"), want: "400", says: ""},
		{class: 20, name: "`CONNECT evil.example:443`", try: raw("CONNECT evil.example:443 HTTP/1.1\r\n" + last), want: "405", says: "not allowed"},
		{class: 20, name: "a method that nobody knows", try: raw("BREW /cas/crl HTTP/1.1\r\n" + last), want: "405", says: "not allowed"},
		{class: 20, name: "a method in lower case", try: raw("get /cas/crl HTTP/1.1\r\n" + last), want: "405", says: "not allowed"},
		{class: 20, name: "`TRACE`, which would show headers", try: raw("TRACE /cas/crl HTTP/1.1\r\nCookie: secret\r\n" + last), want: "405", says: "not allowed"},
		{class: 20, name: "no `Host`", try: raw("GET /cas/crl HTTP/1.1\r\nConnection: close\r\n\r\n"), want: "400", says: "Host"},
		{class: 20, name: "two `Host`", try: raw("GET /cas/crl HTTP/1.1\r\nHost: b\r\n" + last), want: "400", says: "Bad Request"},
		{class: 20, name: "a header that is folded", try: raw("GET /cas/crl HTTP/1.1\r\nX-A: b\r\n c\r\n" + last), want: "200"},
		{class: 20, name: "a NUL in a header", try: raw("GET /cas/crl HTTP/1.1\r\nX-A: b\x00c\r\n" + last), want: "400", says: ""},
		{class: 20, name: "HTTP/0.9", try: raw("GET /cas/crl\r\n\r\n"), want: "400", says: ""},
		{class: 20, name: "HTTP/9.9", try: raw("GET /cas/crl HTTP/9.9\r\n" + last), want: "505", says: "505"},
		{class: 20, name: "TLS at the port of HTTP", try: raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), want: "400", says: ""},
	}
}

// served reports whether others are still answered while do goes on.
func (w *world) served(do func()) answer {
	do()
	status, body := w.get("/cas/crl")
	if status != http.StatusOK {
		return answer{strconv.Itoa(status), body}
	}
	return answer{"others are served", ""}
}

func connectionRows() []row {
	held := func(begin func(w *world) net.Conn) func(*world) answer {
		return func(w *world) answer {
			var conns []net.Conn
			defer func() {
				for _, c := range conns {
					_ = c.Close()
				}
			}()
			return w.served(func() {
				for range 300 { // more than one address may have
					if c := begin(w); c != nil {
						conns = append(conns, c)
					}
				}
			})
		}
	}
	half := func(text string) func(w *world) net.Conn {
		return func(w *world) net.Conn {
			c := w.daemon.dial()
			_, _ = io.WriteString(c, text) // it may be closed already
			return c
		}
	}
	return []row{
		{class: 21, name: "300 connections that say nothing", try: held(half("")), want: "others are served"},
		{class: 21, name: "300 handshakes of which the beginning comes", try: held(func(w *world) net.Conn {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.daemon.port+1)))
			if err != nil {
				return nil
			}
			_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00")
			return c
		}), want: "others are served"},
		{class: 21, name: "300 headers without end", try: held(half("GET /cas/crl HTTP/1.1\r\nHost: a\r\nX-A: ")), want: "others are served"},
		{class: 21, name: "300 bodies of which a byte comes", try: held(half("PUT /cas/csr HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")), want: "others are served"},
		{class: 21, name: "a header of 1 MiB", try: raw("GET /cas/crl HTTP/1.1\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n" + last), want: "431", says: "431"},
		{class: 21, name: "10,000 headers", try: raw("GET /cas/crl HTTP/1.1\r\n" + strings.Repeat("X-A: b\r\n", 10_000) + last), want: "431", says: "431"},
		{class: 21, name: "renegotiation", try: func(w *world) answer {
			c := must(tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.daemon.port+1)),
				&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient})) //nolint:gosec // by its port
			defer c.Close()
			must(c.Write([]byte("GET /healthz HTTP/1.1\r\n" + last)))
			return answers(c)
		}, want: "200"},
		{class: 21, name: "TLS 1.1", try: func(w *world) answer {
			_, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.daemon.port+1)),
				&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // by its port
			return answer{"refused", fmt.Sprint(err)}
		}, want: "refused", says: "version"},
		{class: 21, name: "5,000 streams of HTTP/2 that are opened and reset (CVE-2023-44487)", try: func(w *world) answer {
			return w.served(func() {
				rude(w, func(f *http2.Framer) error {
					for i := range 5000 {
						id := uint32(2*i + 1)
						if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: getHeaders(), EndStream: true, EndHeaders: true}); err != nil {
							return err
						}
						if err := f.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}, want: "others are served"},
		{class: 21, name: "50,000 frames CONTINUATION (CVE-2023-45288)", try: func(w *world) answer {
			return w.served(func() {
				rude(w, func(f *http2.Framer) error {
					if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: getHeaders()}); err != nil {
						return err
					}
					for range 50_000 {
						if err := f.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 100)); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}, want: "others are served"},
		{class: 21, name: "100,000 frames SETTINGS and PING", try: func(w *world) answer {
			return w.served(func() {
				rude(w, func(f *http2.Framer) error {
					for range 50_000 {
						if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}); err != nil {
							return err
						}
						if err := f.WritePing(false, [8]byte{}); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}, want: "others are served"},
	}
}

func getHeaders() []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/cas/crl"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"}} {
		_ = e.WriteField(f) // to memory
	}
	return block.Bytes()
}

// rude speaks HTTP/2 until the daemon has had enough.
func rude(w *world, speak func(*http2.Framer) error) {
	c := w.daemon.dialTLS("h2")
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.Copy(io.Discard, c) }()
	must(io.WriteString(c, http2.ClientPreface))
	f := http2.NewFramer(c, nil)
	if f.WriteSettings() == nil {
		_ = speak(f) // the daemon may end it
	}
}

func bodyRows() []row {
	put := func(path, contentType string, body io.Reader, length int64, header ...string) func(*world) answer {
		return func(w *world) answer {
			req := must(http.NewRequest("PUT", w.daemon.url()+path, body))
			req.ContentLength = length
			req.Header.Set("Content-Type", contentType)
			for i := 0; i < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			resp, err := w.plain.Do(req)
			if err != nil {
				return answer{"closed", err.Error()}
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			return answer{strconv.Itoa(resp.StatusCode), string(text)}
		}
	}
	const tooMuch = 10<<20 + 1
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 4<<20)) // to memory
	_ = z.Close()
	deepJSON := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	return []row{
		{class: 22, name: "10 MiB and one byte, announced", try: func(w *world) answer {
			return raw(fmt.Sprintf("PUT /cas/csr HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", tooMuch))(w)
		}, want: "413", says: "10"},
		{class: 22, name: "chunks without end", try: func(w *world) answer {
			return put("/cas/csr", "application/pkcs10", io.LimitReader(zeros{}, 1<<30), -1)(w)
		}, want: "413", says: "10"},
		{class: 22, name: "gzip that unpacks to more", try: func(w *world) answer {
			return put("/cas/crt/renew", "application/json", bytes.NewReader(bomb.Bytes()), int64(bomb.Len()), "Content-Encoding", "gzip")(w)
		}, want: "415", says: "Encoding"},
		{class: 22, name: "JSON 10,000 levels deep (CVE-2025-6203)", try: func(w *world) answer { return w.envelope("/cas/crt/renew", []byte(deepJSON)) }, want: "400", says: "deeper"},
		{class: 22, name: "a payload 10,000 levels deep", try: func(w *world) answer {
			return w.envelope("/cas/crt/renew", mustJSON(map[string]any{"digest": nil, "payload": deepJSON, "signature": nil}))
		}, want: "400", says: ""},
		{class: 22, name: "JSON of 1 MiB and one byte", try: func(w *world) answer {
			return w.envelope("/cas/crt/renew", bytes.Repeat([]byte(" "), 1<<20+1))
		}, want: "400", says: "bytes"},
		{class: 22, name: "100,000 members", try: func(w *world) answer {
			var b strings.Builder
			for i := range 60_000 {
				fmt.Fprintf(&b, `,"a%d":1`, i)
			}
			return w.envelope("/cas/crt/renew", []byte("{"+b.String()[1:]+"}"))
		}, want: "400", says: "JSON"},
		{class: 22, name: "a body for a route that takes none", try: func(w *world) answer {
			return raw(fmt.Sprintf("GET /cas/crl HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", tooMuch))(w)
		}, want: "413", says: "10"},
		{class: 22, name: "less than was announced", try: func(w *world) answer {
			c := w.daemon.dial()
			defer c.Close()
			must(io.WriteString(c, "PUT /cas/csr HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello"))
			_ = c.(*net.TCPConn).CloseWrite()
			return answers(c)
		}, want: "400", says: ""},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
