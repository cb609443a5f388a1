package archive

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

var epoch = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

// A world is a database with users, and a clock that tests move.
type world struct {
	t     *testing.T
	dir   string
	db    string
	store store.Store
	clock *clock.Fake
	users *ca.Authority
	log   *testkit.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	path := sqltest.New(t)
	st, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w := newWorldOn(t, st)
	w.db = path
	return w
}

func newWorldOn(t *testing.T, st store.Store) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "backups"), clock: clock.NewFake(epoch), log: &testkit.Buffer{}, store: st}
	err := st.Update(t.Context(), func(tx store.Tx) error {
		row := catest.Row(store.Users)
		row.CreatedAt = epoch
		return tx.PutAuthority(t.Context(), row)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.users, err = catest.Open(t.Context(), st, w.clock, catest.Config{
		Name: store.Users, Netloc: "ca.example:80", Spans: rollover.Spans{Leaf: 93 * day, Life: 4},
		KeyType: pki.KeyECDSAP256, MaxPending: 50,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// user makes a user with a key of that type.
func (w *world) user(name string, keyType pki.KeyType) (crypto.Signer, *x509.Certificate) {
	w.t.Helper()
	key := pkitest.KeyOf(w.t, keyType)
	crt, _ := catest.Issue(w.t, w.users, pkitest.NamedRequest(w.t, key, name))
	return key, crt
}

func (w *world) archive(spec string, change func(*Config)) *Archive {
	w.t.Helper()
	schedule, err := ParseSchedule(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		Directory: w.dir, Schedule: schedule, Store: w.store, Clock: w.clock, Software: "test",
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) taker() *taker { return &taker{store: w.store, clock: w.clock, software: "test"} }

// names lists a directory, everything in it.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func (w *world) wantNames(want ...string) {
	w.t.Helper()
	if got := names(w.t, w.dir); !slices.Equal(got, want) {
		w.t.Errorf("in the directory: %q, want %q", got, want)
	}
}

// put places a file of somebody else.
func (w *world) put(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setting(name string) string {
	w.t.Helper()
	var value string
	err := w.store.View(w.t.Context(), func(r store.Reader) (err error) {
		value, err = r.Setting(w.t.Context(), "", name)
		return err
	})
	if err != nil {
		return ""
	}
	return value
}

// open decrypts a backup and returns what its rows are.
func open(t *testing.T, path string, key crypto.PrivateKey) dump.Summary {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	clear, err := backup.Open(f, key)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := dump.Read(clear)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range rows.Rows() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := io.ReadAll(clear); err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes after the rows, %v", len(rest), err)
	}
	return rows.Summary()
}

func (w *world) summary() (s dump.Summary) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(r store.Reader) (err error) {
		s, err = dump.Summarize(context.Background(), r)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) said(text string) bool { return strings.Contains(w.log.String(), text) }
