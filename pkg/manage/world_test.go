package manage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

// newStore opens an empty database of its own.
func newStore(t testing.TB) *sqlstore.DB {
	t.Helper()
	return openStore(t, sqltest.New(t))
}

var postgres = pgtest.Shared(pgtest.Options{})

// laidOut makes databases that have the layout of a store already.
var laidOut = pgtest.Filled(postgres, func(ctx context.Context, dsn string) error {
	db, err := sqlstore.Open(ctx, dsn, sqlstore.Options{})
	if err != nil {
		return err
	}
	return db.Close()
})

// engines are the kinds of databases that a CA can be in, and how to make an empty one of each.
var engines = []struct {
	name  string
	fresh func(testing.TB) *sqlstore.DB
}{
	{"SQLite", newStore},
	{"PostgreSQL", func(t testing.TB) *sqlstore.DB { return openStore(t, laidOut(t)) }},
}

// openStore does not wait for other processes.
func openStore(t testing.TB, path string) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{BusyTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func spans(a store.AuthorityName) rollover.Spans {
	if a == store.HTTPS {
		return rollover.Spans{Leaf: 93 * day, Life: 40}
	}
	return rollover.Spans{Leaf: 93 * day, Life: 4}
}

func openAuthority(t testing.TB, s store.Store, clk clock.Clock, name store.AuthorityName) *ca.Authority {
	t.Helper()
	cfg := catest.Config{Name: name, Netloc: "ca.example.org:8009", Spans: spans(name), KeyType: pki.KeyECDSAP256,
		Backdate: time.Minute, Retention: 3000 * day, MaxPending: 100}
	if name == store.HTTPS {
		cfg.Host = "ca.example.org"
	}
	row := catest.Row(name)
	row.CreatedAt = clk.Now()
	putAuthority(t, s, row)
	a, err := catest.Open(t.Context(), s, clk, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// putAuthority stores the row of an authority unless there is one, as the daemon does.
func putAuthority(t testing.TB, s store.Store, row store.Authority) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Authority(t.Context(), row.Name); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.PutAuthority(t.Context(), row)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// live lets a CA live for some years, with all that leaves traces in its database, and returns the time after that.
func live(t testing.TB, s store.Store) time.Time {
	t.Helper()
	ctx := t.Context()
	clk := clock.NewFake(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
	user := audit.Actor{Kind: audit.User, KeyID: []byte{1}, Address: "192.0.2.8"}
	operate := func(a *ca.Authority, n int) {
		t.Helper()
		var ids []int64
		for i := range 4 {
			id := must[int64](t)(catest.Wired(a).Submit(ctx, audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7"}, pkitest.HostRequest(t, fmt.Sprintf("host%d-%d.example", n, i)).PEM))
			ids = append(ids, id)
		}
		for _, id := range ids[:3] {
			if err := catest.Wired(a).Sign(ctx, user, id); err != nil {
				t.Fatal(err)
			}
		}
		crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Certificate(ctx, ids[0]))))
		must[ca.Issued](t)(a.Replace(ctx, user, crt, pkitest.HostRequest(t, "moved.example")))
		must[catest.Lists](t)(catest.Wired(a).CRLs(ctx))
		if err := a.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	users, services, https := openAuthority(t, s, clk, store.Users), openAuthority(t, s, clk, store.Services), openAuthority(t, s, clk, store.HTTPS)
	for n := range 8 {
		operate(users, n)
		operate(services, n)
		_, _, err := https.IssueServer(ctx, pkitest.Key(t).Public())
		if err != nil {
			t.Fatal(err)
		}
		clk.Advance(80 * day)
	}
	if err := errors.Join(users.Maintain(ctx), services.Maintain(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := ca.SetNextKeyType(ctx, s, clk, store.Users, pki.KeyEd25519); err != nil {
		t.Fatal(err)
	}
	return clk.Now()
}

func rowsOf(t testing.TB, s store.Store) (rows []store.Row) {
	t.Helper()
	err := s.View(t.Context(), func(r store.Reader) error {
		rows = nil
		return r.Rows(t.Context(), func(row store.Row) error { rows = append(rows, row); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func seq(rows []store.Row) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func load(t testing.TB, s store.Store, rows []store.Row) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Load(t.Context(), seq(rows)) })
	if err != nil {
		t.Fatal(err)
	}
}

func entry() audit.Entry {
	return audit.NewEntry(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), "", audit.Actor{Kind: audit.Operator}, audit.CopyDB, audit.Object{Kind: audit.KindDatabase, ID: "x"})
}
