package server

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSlowClients waits for the server to lose its patience, at each stage.
func TestSlowClients(t *testing.T) {
	const patience = 200 * time.Millisecond
	s := newSite(t, func(c *Config) {
		c.timeouts = timeouts{header: patience, idle: patience, exchange: time.Minute,
			body:  pace{grace: 2 * patience, stall: 2 * patience, rate: 1000},
			reply: pace{grace: time.Minute, stall: time.Minute, rate: 1000}}
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
		limits Limits
		files  uint64
		want   ceiling
	}{
		{Limits{}, 1 << 20, ceiling{DefaultConnections, DefaultConnections / 4}},
		{Limits{}, 1024, ceiling{DefaultConnections, DefaultConnections / 4}},
		{Limits{}, 64, ceiling{24, 6}},
		{Limits{}, 10, ceiling{minConnections, 1}},
		{Limits{Connections: 5000}, 1024, ceiling{984, 246}},
		{Limits{Connections: 5000}, 1<<64 - 1, ceiling{5000, 1250}},
		{Limits{Connections: 5000, PerAddress: 5000}, 1024, ceiling{984, 984}},
		{Limits{Connections: 100, PerAddress: 3}, 1024, ceiling{100, 3}},
	} {
		if got := tt.limits.ceilings(tt.files)[ofConnections]; got != tt.want {
			t.Errorf("%+v, %d files: %v, want %v", tt.limits, tt.files, got, tt.want)
		}
	}
}
