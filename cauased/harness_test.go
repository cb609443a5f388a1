package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/clock"
)

// parse reads a command line, and nothing else.
func parse(t *testing.T, args ...string) (config, error) {
	t.Helper()
	var cfg config
	app := newApp(clock.System(), &bytes.Buffer{}, &bytes.Buffer{})
	read := func(c *urfave.Context) (err error) {
		if c.Args().Present() {
			return fmt.Errorf("unexpected argument %q", c.Args().First())
		}
		cfg, err = readConfig(c)
		return err
	}
	app.Action, app.Commands[0].Action = read, read
	err := app.RunContext(t.Context(), canonicalArgs(append([]string{tool}, args...)))
	return cfg, err
}

// testConfig is the configuration of a daemon in a folder of its own, on a port that the
// system chooses.
func testConfig(t *testing.T, dir string, args ...string) config {
	t.Helper()
	cfg, err := parse(t, append([]string{
		"--netloc", "127.0.0.1:8009",
		"--db", filepath.Join(dir, "db.sqlite"),
		"--server-key", filepath.Join(dir, "server.key.pem"),
		"--cors-key-store", filepath.Join(dir, "cors.key"),
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	cfg.port = 0
	cfg.maxSkew = 1 << 62 // the clocks of tests are not those of databases
	return cfg
}

// A running daemon, until stop or the end of the test.
type running struct {
	*daemon
	clk  *clock.Fake
	stop func() error
}

func launch(t *testing.T, cfg config, now time.Time) running {
	t.Helper()
	clk := clock.NewFake(now)
	d, err := start(t.Context(), cfg, clk, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, context.Background()) }()
	r := running{d, clk, sync.OnceValue(func() error {
		cancel()
		err := <-done
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
		return err
	})}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r running) httpURL(path string) string {
	return "http://" + r.listeners.HTTP[0].Addr().String() + path
}

// shown returns the serial number of the certificate that a new connection meets.
func (r running) shown(t *testing.T) string {
	t.Helper()
	//nolint:gosec // Only the certificate is of interest, and the clock is not the system's.
	conn, err := tls.Dial("tcp", r.listeners.HTTPS[0].Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url) //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, body.String()
}

// files lists what is in a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// A lineBuffer is a writer whose lines can be waited for.
type lineBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	waiters map[string]chan struct{}
}

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	for text, ch := range b.waiters {
		if strings.Contains(b.buf.String(), text) {
			close(ch)
			delete(b.waiters, text)
		}
	}
	return len(p), nil
}

func (b *lineBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// contains returns a channel that is closed once text has been written.
func (b *lineBuffer) contains(text string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan struct{})
	if strings.Contains(b.buf.String(), text) {
		close(ch)
		return ch
	}
	if b.waiters == nil {
		b.waiters = make(map[string]chan struct{})
	}
	b.waiters[text] = ch
	return ch
}

// fixed is a clock that stands still.
type fixed struct{}

func (fixed) Now() time.Time { return testTime() }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestMain makes the tests independent of the environment they are started in, in which somebody may
// have a daemon of their own.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "CAUASED_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}
