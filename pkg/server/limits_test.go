package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSlowClients waits for the server to lose its patience, at each stage.
func TestSlowClients(t *testing.T) {
	const patience = 200 * time.Millisecond
	s := newSite(t, func(c *Config) {
		c.timeouts = timeouts{header: patience, read: 2 * patience, write: time.Minute, idle: patience}
	})
	for name, tt := range map[string]struct{ address, send string }{
		"nothing":       {s.httpAddr, ""},
		"TLS handshake": {s.httpsAddr, "\x16\x03\x01"},
		"header":        {s.httpAddr, "GET / HTTP/1.1\r\nHost: x\r\nX-"},
		"body":          {s.httpAddr, "PUT /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n---"},
		"next request":  {s.httpAddr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.send); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn) // until it hangs up
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal(err)
			}
			if name == "body" && !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	for _, tt := range []struct {
		files     uint64
		listeners int
		want      int
	}{
		{64, 2, 12}, {1024, 2, 492}, {1024, 4, 246}, {10, 2, minConnections}, {1 << 20, 2, maxConnections}, {1<<64 - 1, 2, maxConnections}, {1024, 0, 984},
	} {
		if got := connectionLimit(tt.files, tt.listeners); got != tt.want {
			t.Errorf("%d files, %d listeners: %d, want %d", tt.files, tt.listeners, got, tt.want)
		}
	}
}

// TestLongBodiesTakeTurns makes sure that strangers cannot fill the memory with long bodies that they
// send slowly, and that those do not keep out anybody else.
func TestLongBodiesTakeTurns(t *testing.T) {
	s := newSite(t)
	put := func(size int) int {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, "PUT", "/orders", strings.NewReader(strings.Repeat("\n", size)))
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		return w.Code
	}
	for range maxLarge {
		s.server.large <- struct{}{}
	}
	if got := put(smallBody - 1); got != http.StatusOK {
		t.Errorf("short body: %d", got)
	}
	if got := put(smallBody); got != http.StatusServiceUnavailable {
		t.Errorf("long body while there are too many: %d", got)
	}
	<-s.server.large
	for range 3 { // each gives its turn back
		if got := put(1 << 20); got != http.StatusOK {
			t.Errorf("long body in its turn: %d", got)
		}
	}
	if got := len(s.server.large); got != maxLarge-1 {
		t.Errorf("%d turns taken, want %d", got, maxLarge-1)
	}
}
