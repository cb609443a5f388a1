package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// What is put off may fail when another job runs already: it takes back the job that wrote it, which is
// told, and no other.
func TestPutOffFails(t *testing.T) {
	server := postgres(t)
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	server.ExecIn(t, database(t, dsn), `
		CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.detail = 'b' THEN RAISE EXCEPTION 'injected' USING ERRCODE = '23514'; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER fault BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fault()`)
	ctx := t.Context()
	names := []string{"a", "b", "c", "d"}
	errs := make([]error, len(names))
	var running sync.WaitGroup
	queued := false
	err := db.Update(ctx, func(store.Tx) error { // all that queues meanwhile is one group
		if queued {
			return nil // it is run again
		}
		queued = true
		for i, name := range names {
			running.Go(func() {
				errs[i] = db.Update(ctx, func(tx store.Tx) error {
					if _, err := tx.AddCounter(ctx, store.Users, name, 1); err != nil {
						return err
					}
					return tx.AppendAudit(ctx, audit.Entry{Detail: name})
				})
			})
			for len(db.writer.jobs) <= i {
				runtime.Gosched()
			}
		}
		return nil
	})
	running.Wait()
	if err != nil {
		t.Error(err)
	}
	for i, name := range names {
		there := server.Query(t, database(t, dsn), "SELECT count(*) FROM counter WHERE name = '"+name+"'") == "1"
		if want := name != "b"; there != want || (errs[i] == nil) != want {
			t.Errorf("%s: error %v, there: %v", name, errs[i], there)
		}
	}
}

// A transaction that needs no answer before its end, and that the network delivers when it was given up long
// ago, must not be there twice.
func TestCommitArrivesLate(t *testing.T) {
	t.Parallel()
	server := postgres(t)
	dsn := laidOut(t)
	var commits atomic.Int64
	c := newCutter(t, server.Address(), func() fate {
		if commits.Add(1) == 2 {
			return cutLate
		}
		return arrives
	})
	c.late = 3 * time.Second
	db := mustOpen(t, c.through(dsn)+"&statement_timeout=500ms&idle_in_transaction_session_timeout=1s")
	for range 2 {
		err := db.Update(t.Context(), func(tx store.Tx) error { return tx.AppendAudit(t.Context(), audit.Entry{}) })
		if err != nil && !errors.Is(err, store.ErrUncertain) {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	for c.arrived.Load() == 0 {
		runtime.Gosched()
	}
	waits(t, server, "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+database(t, dsn)+"' AND application_name = 'cauased'", "0")
	if n := server.Query(t, database(t, dsn), "SELECT count(*) FROM audit_log"); n != "2" {
		t.Errorf("%s entries, want 2", n)
	}
}

// A connection that is lost in the middle takes what was done on it along: all of it is done again, or none.
func TestConnectionLostWithin(t *testing.T) {
	t.Parallel()
	server := postgres(t)
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	if err := db.Ping(t.Context()); err != nil { // the connection is there, and not new
		t.Fatal(err)
	}
	end := func() {
		server.Exec(t, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+database(t, dsn)+"' AND application_name = 'cauased'")
	}
	runs := 0
	err := db.Update(t.Context(), func(tx store.Tx) error {
		runs++
		for i, name := range []string{"first", "second"} {
			if i == 1 && runs == 1 {
				end()
			}
			if _, err := tx.AddCounter(t.Context(), store.Users, name, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("Update: %v, after %d runs", err, runs)
	}
	if got := server.Query(t, database(t, dsn), "SELECT string_agg(value::text, ' ') FROM counter WHERE name IN ('first', 'second')"); got != "1 1" {
		t.Errorf("the counters are %q", got)
	}
	err = db.View(t.Context(), func(r store.Reader) error {
		if _, err := r.Counter(t.Context(), store.Users, "first"); err != nil {
			return err
		}
		end()
		_, err := r.Counter(t.Context(), store.Users, "second") // on another connection it would be of another snapshot
		return err
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("View: %v", err)
	}
}

// Only an error that leaves the connection alive says that nothing was committed.
func TestCertain(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"refused by the server", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "40001"}, true},
		{"rolled back", fmt.Errorf("%w: the transaction was rolled back", store.ErrUnavailable), true},
		{"the server process ends", &pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, false},
		{"the server crashes", &pgconn.PgError{SeverityUnlocalized: "PANIC", Code: "53100"}, false},
		{"cut", io.ErrUnexpectedEOF, false},
		{"no answer in time", context.DeadlineExceeded, false},
	} {
		if got := certain(test.err); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
