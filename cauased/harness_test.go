package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/daemon"
	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// jsonPage documents what commands print as JSON.
const jsonPage = "../docs/json.md"

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
	err := cli.Run(t.Context(), app, canonicalArgs(append([]string{tool}, args...)))
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
	return launchLogged(t, cfg, now, slog.New(slog.DiscardHandler))
}

func launchLogged(t *testing.T, cfg serveOptions, now time.Time, log *slog.Logger) running {
	t.Helper()
	clk := clock.NewFake(now)
	d, err := daemon.Start(t.Context(), cfg.Config, clk, log)
	if err != nil {
		t.Fatal(err)
	}
	return running{d, clk, testkit.Background(t, func(ctx context.Context) error {
		return errors.Join(d.Run(ctx, context.Background()), d.Close())
	})}
}

func (r running) httpURL(path string) string {
	return "http://" + r.Listening()[0].String() + path
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
