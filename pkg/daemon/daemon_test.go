package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// TestRestart finds everything again after a restart.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(t, dir)
	seen := map[string]string{}
	for i, now := range []time.Time{testTime(), testTime().Add(day)} {
		d := launch(t, cfg, now)
		for _, path := range []string{"/cau/crt/ca.crt.pem", "/cas/crt/ca.crt.pem", "/cau/crl", "/cas/crl"} {
			status, body := testkit.Get(t, d.httpURL(path))
			if status != 200 || i > 0 && body != seen[path] {
				t.Errorf("%s after restart %d: %d %s", path, i, status, body)
			}
			seen[path] = body
		}
		if serial := d.shown(t); i > 0 && serial != seen["https"] {
			t.Error("another HTTPS certificate after a restart")
		} else {
			seen["https"] = serial
		}
		if status, body := testkit.Get(t, d.httpURL("/readyz")); status != 200 || body != "database ok\ncau ok\ncas ok\nhttps ok\n" {
			t.Errorf("%d %s", status, body)
		}
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if got := testkit.Files(t, dir); !slices.Equal(got, []string{"db.sqlite", "server.key.pem"}) {
		t.Errorf("files: %v", got)
	}
}

// TestLoop lets time pass and waits for the daemon to notice.
func TestLoop(t *testing.T) {
	// A span of ten seconds has the loop look ten times a second.
	d := launch(t, testConfig(t, t.TempDir(), func(c *Config) { c.Services.Validity = 10 * time.Second }), testTime())
	before := d.shown(t)
	d.clk.Advance(6 * time.Second)
	for d.shown(t) == before {
		if t.Context().Err() != nil {
			t.Fatal("the HTTPS certificate is not renewed")
		}
	}
}

// TestLoopOutlivesFailure: what fails once is tried again, and the rest goes on.
func TestLoopOutlivesFailure(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	d := launch(t, cfg, testTime())
	before := d.shown(t)
	if err := os.Remove(cfg.ServerKey); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(cfg.ServerKey, 0o700); err != nil {
		t.Fatal(err)
	}
	d.maintain(t.Context())
	if d.shown(t) != before {
		t.Error("something else is shown")
	}
	if err := os.Remove(cfg.ServerKey); err != nil {
		t.Fatal(err)
	}
	d.maintain(t.Context())
	if d.shown(t) == before {
		t.Error("not renewed once it was possible")
	}
}

// TestSecondSignal does not wait for a request that never ends.
func TestSecondSignal(t *testing.T) {
	d, err := Start(t.Context(), testConfig(t, t.TempDir()), fixed{}, discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	force, cut := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx, force) }()
	conn, err := net.Dial("tcp", d.listeners.HTTP[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The go-ahead shows that the request is being handled.
	fmt.Fprint(conn, "PUT /cas/csr HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	cut()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, conn); err == nil {
		t.Log("the connection was closed in good order")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
