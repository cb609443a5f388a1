package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/testkit"
)

const day = 24 * time.Hour

// testTime is when tests begin.
func testTime() time.Time { return time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC) }

// testConfig is the configuration of a daemon in a folder of its own, on a port that the
// system chooses.
func testConfig(t *testing.T, dir string, change ...func(*Config)) Config {
	t.Helper()
	netloc, err := server.ParseNetloc("127.0.0.1:8009")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Database: filepath.Join(dir, "db.sqlite"), ServerKey: filepath.Join(dir, "server.key.pem"), CORSKeys: filepath.Join(dir, "cors.key"),
		Netloc: netloc, Bind: []string{netloc.Host}, KeyType: pki.DefaultKeyType,
		Users:     Limits{Validity: 93 * day, MaxPending: 50, AutoApprove: 1},
		Services:  Limits{Validity: 93 * day, MaxPending: 50},
		Threshold: 31 * day, Backdate: time.Minute, Retention: 30 * day, ChainRetention: 3650 * day,
		MaxSkew: 1 << 62, // the clocks of tests are not those of databases
		Version: "v0",
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// on puts the daemon on another database.
func on(dsn string) func(*Config) { return func(c *Config) { c.Database = dsn } }

// A running daemon, until stop or the end of the test.
type running struct {
	*Daemon
	clk  *clock.Fake
	stop func() error
}

func launch(t *testing.T, cfg Config, now time.Time) running {
	t.Helper()
	return launchLogged(t, cfg, now, io.Discard)
}

// launchLogged is launch for a daemon whose log is read.
func launchLogged(t *testing.T, cfg Config, now time.Time, log io.Writer) running {
	t.Helper()
	clk := clock.NewFake(now)
	d, err := Start(t.Context(), cfg, clk, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return running{d, clk, testkit.Background(t, func(ctx context.Context) error {
		return errors.Join(d.Run(ctx, context.Background()), d.Close())
	})}
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

// fixed is a clock that stands still.
type fixed struct{}

func (fixed) Now() time.Time { return testTime() }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// waitFor looks again and again until what it waits for is there.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	expired := time.After(time.Minute)
	for !there() {
		select {
		case <-expired:
			t.Fatalf("waited in vain: %s", what)
		default:
		}
	}
}
