package main

import (
	"bytes"
	"context"
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

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/daemon"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

var postgres = pgtest.Shared(pgtest.Options{})

// parse reads a command line, and nothing else.
func parse(t *testing.T, args ...string) (serveOptions, error) {
	t.Helper()
	var cfg serveOptions
	app := newApp(clock.System(), &bytes.Buffer{}, &bytes.Buffer{})
	read := func(c *urfave.Context) (err error) {
		if c.Args().Present() {
			return fmt.Errorf("unexpected argument %q", c.Args().First())
		}
		cfg, err = readOptions(c)
		return err
	}
	app.Action, app.Commands[0].Action = read, read
	err := app.RunContext(t.Context(), canonicalArgs(append([]string{tool}, args...)))
	return cfg, err
}

// testConfig is the configuration of a daemon in a folder of its own, on a port that the
// system chooses.
func testConfig(t *testing.T, dir string, args ...string) serveOptions {
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
	cfg.Port = 0
	cfg.MaxSkew = 1 << 62 // the clocks of tests are not those of databases
	return cfg
}

// A running daemon, until stop or the end of the test.
type running struct {
	*daemon.Daemon
	clk  *clock.Fake
	stop func() error
}

func launch(t *testing.T, cfg serveOptions, now time.Time) running {
	t.Helper()
	clk := clock.NewFake(now)
	d, err := daemon.Start(t.Context(), cfg.Config, clk, slog.New(slog.DiscardHandler))
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

// authority returns the one of this name.
func (r running) authority(t *testing.T, name store.AuthorityName) *ca.Authority {
	t.Helper()
	a, ok := r.Authority(name)
	if !ok {
		t.Fatalf("there is no authority %s", name)
	}
	return a
}

func (r running) httpURL(path string) string {
	return "http://" + r.Listening()[0].String() + path
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
