package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"cauase/pkg/audit"
)

// reading is a front-end with one route, which keeps so many bytes of a body and says how many there were.
func reading(keep int64) *shop {
	return &shop{routes: []Route{{Method: "PUT", Path: "body", Access: Anyone, Origin: noRule, Handler: func(x *Exchange) (Perform, error) {
		data, err := x.Body(keep)
		if err != nil {
			return nil, err
		}
		return func(context.Context, audit.Actor) error { return x.Reply(200, TypeText, fmt.Append(nil, len(data))) }, nil
	}}}}
}

// TestBodyAtItsLimit: a body that is a byte too long is refused, whether or not its end comes along with that byte.
func TestBodyAtItsLimit(t *testing.T) {
	s := newSite(t, func(c *Config) { c.FrontEnds = []FrontEnd{reading(10)} })
	for n, want := range map[int]int{0: 200, 10: 200, 11: 400, 12: 400, 1000: 400} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"apart": func(r io.Reader) io.Reader { return r }, "along": iotest.DataErrReader, "a byte at a time": iotest.OneByteReader,
		} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("PUT", "/body", wrap(strings.NewReader(strings.Repeat("x", n))))
			r.ContentLength = -1
			s.server.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%d bytes, end %s: %d, want %d", n, how, w.Code, want)
			}
		}
	}
}

// TestBodyBeforeSettings: a peer of HTTP/2 may send as much as the RFC lets it take for granted before it has read
// our settings.
func TestBodyBeforeSettings(t *testing.T) {
	s := newSite(t, func(c *Config) { c.FrontEnds = []FrontEnd{reading(1 << 20)} })
	c, err := tls.Dial("tcp", s.httpsAddr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // by its port
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	const assumed = 1<<16 - 1 // RFC 9113 6.9.2
	var block, all bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "PUT"}, {Name: ":path", Value: "/body"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"},
	} {
		_ = e.WriteField(f) // to memory
	}
	all.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&all, c)
	_ = f.WriteSettings() // to memory, like the others
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for sent := 0; sent < assumed; {
		n := min(1<<14, assumed-sent)
		sent += n
		_ = f.WriteData(1, sent == assumed, make([]byte, n))
	}
	if _, err := c.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			t.Fatalf("the stream was reset: %v", frame.ErrCode)
		case *http2.GoAwayFrame:
			t.Fatalf("the connection was ended: %v", frame.ErrCode)
		case *http2.DataFrame:
			if got := string(frame.Data()); got != fmt.Sprint(assumed) {
				t.Errorf("the body had %s bytes", got)
			}
			return
		}
	}
}
