package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

// newLane is a way to the server that can be made bad, and dsn by this way.
func newLane(t *testing.T, server *pgtest.Cluster, dsn string) (*toxiproxy.Proxy, string) {
	t.Helper()
	api := quiet(toxiproxy.NewServer, toxiproxy.NewMetricsContainer(nil))
	p := toxiproxy.NewProxy(api, "database", "127.0.0.1:0", server.Address())
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, replace(t, dsn, func(u *url.URL) { u.Host = p.Listen })
}

// quiet makes a proxy's server whose logger, of a package that is none of ours, says nothing.
func quiet[M, L any](newServer func(M, L) *toxiproxy.ApiServer, m M) *toxiproxy.ApiServer {
	var silent L
	return newServer(m, silent)
}

// poison makes a way bad, in both directions.
func poison(t *testing.T, p *toxiproxy.Proxy, kind, attributes string) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(
			fmt.Sprintf(`{"name": "%s", "type": "%s", "stream": "%s", "attributes": %s}`, stream, kind, stream, attributes))); err != nil {
			t.Fatal(err)
		}
	}
}

// A server of which nothing is heard any more: those who ask first wait for as long as it is given,
// nobody waits after that, and all goes on soon after it is back.
func TestPostgresSilence(t *testing.T) {
	server := postgres(t)
	lane, dsn := newLane(t, server, laidOut(t))
	db := mustOpen(t, with(t, with(t, dsn, "statement_timeout", "500ms"), "connect_timeout", "1"))
	ctx := t.Context()
	l := newLedger()
	l.load(t, db, 1, 4, 5)
	if err := look(ctx, db); err != nil {
		t.Fatal(err)
	}
	poison(t, lane, "timeout", `{"timeout": 0}`)
	var group sync.WaitGroup
	for n := range int64(20) {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			l.note(t, 100+n, revoke(ctx, db, 100+n, ""))
			if err := look(ctx, db); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("View: %v", err)
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // for all of them: if each waited, it would be half an hour
	defer cancel()
	for n := range int64(500) {
		l.note(t, 1000+n, revoke(ctx, db, 1000+n, ""))
		if err := look(ctx, db); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("View: %v", err)
		}
	}
	lane.Toxics.ResetToxics(t.Context())
	await(t, db)
	l.load(t, db, 5000, 4, 5)
	l.check(t, db)
}

func await(t *testing.T, db *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := db.Ping(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("it has not recovered: %v", err)
		}
		time.Sleep(time.Millisecond) // a Ping fails at once while the server is known to be away
	}
}

func TestPostgresSlowNetwork(t *testing.T) {
	server := postgres(t)
	lane, dsn := newLane(t, server, laidOut(t))
	db := mustOpen(t, dsn)
	poison(t, lane, "latency", `{"latency": 20, "jitter": 15}`)
	l := newLedger()
	l.load(t, db, 1, 16, 5)
	poison2 := func(kind, attributes string) { lane.Toxics.ResetToxics(t.Context()); poison(t, lane, kind, attributes) }
	poison2("slicer", `{"average_size": 7, "size_variation": 5, "delay": 10}`)
	l.load(t, db, 1000, 16, 5)
	if len(l.done) != 160 {
		t.Errorf("%d were done: %v", len(l.done), l.failed)
	}
	l.check(t, db)
}

// Connections that died while nobody used them are replaced, and nobody is told.
func TestPostgresIdleConnectionsDie(t *testing.T) {
	server := postgres(t)
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	ctx := t.Context()
	for n := range int64(5) {
		var group sync.WaitGroup
		for range maxReaders {
			group.Go(func() {
				if err := look(ctx, db); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if err := revoke(ctx, db, n+1, ""); err != nil {
			t.Error(err)
		}
		server.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '%s'", database(t, dsn)))
	}
}

// The end of a caller's context interrupts what it waits for, and costs no connection.
func TestPostgresViewInterrupted(t *testing.T) {
	db := mustOpen(t, with(t, laidOut(t), "pool_max_conns", "1"))
	var before, after int64
	backend := func(pid *int64) func(store.Reader) error {
		return func(r store.Reader) (err error) {
			*pid, err = one(t.Context(), r.(reader).handle, scalar[int64], "SELECT pg_backend_pid()::bigint")
			return err
		}
	}
	if err := db.View(t.Context(), backend(&before)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := db.View(ctx, func(r store.Reader) error {
		_, err := one(ctx, r.(reader).handle, scalar[string], "SELECT pg_sleep(4)::text")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := db.View(t.Context(), backend(&after)); err != nil || before != after {
		t.Errorf("backend %d, then %d (%v)", before, after, err)
	}
	// With nobody's patience at an end it is the server that stops it.
	err = db.View(t.Context(), func(r store.Reader) error {
		_, err := one(t.Context(), r.(reader).handle, scalar[string], "SELECT pg_sleep(7)::text")
		return err
	})
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
}

// A walk over everything that is given up does not read the rest.
func TestPostgresRowsGivenUp(t *testing.T) {
	db := mustOpen(t, with(t, laidOut(t), "pool_max_conns", "1"))
	l := newLedger()
	l.load(t, db, 1, 16, 50)
	enough := errors.New("enough")
	for range 3 {
		n := 0
		err := db.View(t.Context(), func(r store.Reader) error {
			return r.Rows(t.Context(), func(store.Row) error {
				if n++; n > 10 {
					return enough
				}
				return nil
			})
		})
		if !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
	}
	l.check(t, db)
}

// What was prepared before the layout changed is prepared anew.
func TestPostgresLayoutChanges(t *testing.T) {
	dsn := laidOut(t)
	db := mustOpen(t, with(t, dsn, "pool_max_conns", "1"))
	ctx := t.Context()
	read := func(r store.Reader) error {
		_, err := r.Counter(ctx, "", "n")
		return err
	}
	write := func(tx store.Tx) error {
		_, err := tx.AddCounter(ctx, "", "n", 1)
		return errors.Join(err, read(tx))
	}
	for _, kind := range []string{"NUMERIC", "BIGINT"} {
		if err := errors.Join(db.Update(ctx, write), db.View(ctx, read)); err != nil {
			t.Fatal(err)
		}
		run(t, dsn, "ALTER TABLE counter ALTER COLUMN value TYPE "+kind)
		if err := db.Update(ctx, write); err != nil {
			t.Errorf("Update: %v", err)
		}
		if err := db.View(ctx, read); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("View: %v", err)
		}
		if err := db.View(ctx, read); err != nil {
			t.Errorf("the next View: %v", err)
		}
	}
}

// All connections busy: others wait, but not for ever.
func TestPostgresAllBusy(t *testing.T) {
	db := mustOpen(t, with(t, laidOut(t), "pool_max_conns", "1"))
	db.readers.patience = 100 * time.Millisecond
	err := db.View(t.Context(), func(store.Reader) error { return look(t.Context(), db) })
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("error %v", err)
	}
	if err := look(t.Context(), db); err != nil {
		t.Error(err)
	}
}
