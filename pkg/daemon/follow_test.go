package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

var postgres = pgtest.Shared(pgtest.Options{})

// A deafStore gets no news from other daemons.
type deafStore struct{ store.Watcher }

func (deafStore) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

// launchShared is launch for a daemon with a store that wrap has changed.
func launchShared(t *testing.T, dsn string, clk *clock.Fake, wrap func(store.Store) store.Store) running {
	t.Helper()
	cfg := testConfig(t, t.TempDir(), on(dsn))
	d, err := Start(t.Context(), cfg, clk, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d.store = wrap(d.store)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, context.Background()) }()
	r := running{d, clk, sync.OnceValue(func() error { cancel(); err := <-done; _ = d.Close(); return err })}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// cas is how many user CAs the daemon names in a handshake.
func (r running) cas(t *testing.T) int {
	t.Helper()
	named := 0
	//nolint:gosec // only the names are of interest
	conn, err := tls.Dial("tcp", r.listeners.HTTPS[0].Addr().String(), &tls.Config{InsecureSkipVerify: true,
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			named = len(info.AcceptableCAs)
			return &tls.Certificate{}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return named
}

// eventually waits for a condition, and tells how long it took.
func eventually(t *testing.T, what string, condition func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !condition() {
		if time.Since(begun) > time.Minute {
			t.Fatalf("%s: never", what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// byThemselves is the time after which a daemon might have found out without being told, by the loop that
// runs every minute.
const byThemselves = 30 * time.Second

// TestNews: what one daemon changes reaches the other within a second, lists, CA certificates and
// those that handshakes name, without anybody asking for them. It does so, a little later, when no
// notification arrives.
func TestNews(t *testing.T) {
	for name, wrap := range map[string]func(store.Store) store.Store{
		"notified":           func(s store.Store) store.Store { return s },
		"notifications lost": func(s store.Store) store.Store { return deafStore{s.(store.Watcher)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := postgres(t).NewDatabase(t)
			clk := clock.NewFake(testTime())
			a := launchShared(t, dsn, clk, wrap)
			b := launchShared(t, dsn, clk, wrap)
			stored := func() (number, list int64) {
				err := b.store.View(t.Context(), func(r store.Reader) (err error) {
					if number, err = r.Counter(t.Context(), store.Services, store.CounterCRLNumber); err != nil {
						return err
					}
					cas, err := r.CAs(t.Context(), store.Services)
					if err != nil {
						return err
					}
					crl, err := r.CRL(t.Context(), store.Services, cas[0].ID)
					if list = crl.Number; errors.Is(err, store.ErrNotFound) {
						list, err = -1, nil
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return number, list
			}
			eventually(t, "the first list", func() bool { number, list := stored(); return number == list })
			alice := audit.Actor{Kind: audit.User, Serial: big.NewInt(7)}
			if err := catest.Wired(catest.Named(t, a, store.Services)).RevokeByUser(t.Context(), alice, envelope.Revocation{Serial: big.NewInt(8)}); err != nil {
				t.Fatal(err)
			}
			took := eventually(t, "a list with the revocation", func() bool { number, list := stored(); return number == list })
			t.Logf("%s: the list is there after %v", name, took)
			if took > byThemselves {
				t.Error("too late")
			}

			if n := b.cas(t); n != 1 {
				t.Fatalf("%d user CAs are named", n)
			}
			// a rolls over. The other one's loop would do so only a minute later.
			clk.Advance(2 * 93 * day)
			if err := catest.Named(t, a, store.Users).Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			took = eventually(t, "the handshake names both CAs", func() bool { return b.cas(t) == 2 })
			t.Logf("%s: the new CA is named after %v", name, took)
			if took > byThemselves {
				t.Error("too late")
			}
		})
	}
}

// TestConsentMoves: keys of consent come along from a daemon's file to the shared database, once, and are not
// written to the file any more.
func TestConsentMoves(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	dir := t.TempDir()
	const line = "2126-01-01T00:00:00Z 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
	path := filepath.Join(dir, "cors.key")
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	setting := func(d *Daemon) string {
		text, err := settingVault{d.store}.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := launch(t, testConfig(t, dir, on(dsn)), testTime())
	if got := setting(first.Daemon); got != line {
		t.Errorf("the database has %q", got)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "cors.key"), []byte(strings.Replace(line, "00112233", "44556677", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	second := launch(t, testConfig(t, other, on(dsn)), testTime())
	if got := setting(second.Daemon); got != line {
		t.Errorf("the second daemon has changed it to %q", got)
	}
	if err := os.WriteFile(path, []byte("junk\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Start(t.Context(), testConfig(t, dir, on(dsn)), clock.NewFake(testTime()), discard()); err == nil {
		_ = d.Close()
		t.Error("a damaged file is taken")
	}
}

// TestSharedErrors: a database that is not there does not start, and its password is not shown.
func TestSharedErrors(t *testing.T) {
	cluster := postgres(t)
	dsn := cluster.NewDatabase(t)
	gone := strings.Replace(dsn, cluster.Address(), fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 2)), 1)
	password := strings.Split(strings.Split(dsn, "@")[0], ":")[2]
	for name, dsn := range map[string]string{"no server": gone, "no database": strings.Replace(dsn, "/test", "/none", 1)} {
		dir := t.TempDir()
		_, err := Start(t.Context(), testConfig(t, dir, on(dsn)), clock.NewFake(testTime()), discard())
		if err == nil || !strings.Contains(err.Error(), "db: ") || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
		if left := testkit.Files(t, dir); len(left) > 0 {
			t.Errorf("%s: leaves %v", name, left)
		}
	}
	resp, err := http.Get(launch(t, testConfig(t, t.TempDir(), on(dsn)), testTime()).httpURL("/readyz"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %v %v", resp, err)
	}
}

// TestWrongClock: a daemon whose clock is far from the database's makes nothing, says so, and goes on
// when its clock is right.
func TestWrongClock(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	right := clock.System().Now()
	begin := func(off time.Duration) (running, error) {
		cfg := testConfig(t, t.TempDir(), on(dsn))
		cfg.MaxSkew = time.Hour
		clk := clock.NewFake(right.Add(off))
		d, err := Start(t.Context(), cfg, clk, discard())
		return running{Daemon: d, clk: clk}, err
	}
	for _, off := range []time.Duration{-24 * time.Hour, 24 * time.Hour, 87600 * time.Hour} {
		d, err := begin(off)
		if err == nil {
			_ = d.Close()
			t.Errorf("a daemon that is off by %v starts", off)
		} else if !strings.Contains(err.Error(), "the clock here says") {
			t.Errorf("off by %v: %v", off, err)
		}
	}
	d, err := begin(10 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ready := func() error {
		for _, c := range d.checks() {
			if err := c.Run(t.Context()); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		return nil
	}
	if err := ready(); err != nil {
		t.Error(err)
	}
	if err := d.catchUp(t.Context()); err != nil {
		t.Error(err)
	}
	d.clk.Advance(24 * time.Hour)
	if err := d.catchUp(t.Context()); err != nil || ready() == nil {
		t.Errorf("a clock that jumped: %v, ready", err)
	}
	if _, err := catest.Wired(catest.Named(t, d, store.Services)).CRLs(t.Context()); !errors.Is(err, ca.ErrNoSigner) {
		t.Errorf("lists: %v", err)
	}
	d.clk.Advance(-24 * time.Hour)
	if err := errors.Join(d.catchUp(t.Context()), ready()); err != nil {
		t.Error(err)
	}
}
