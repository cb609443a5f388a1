package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cauase/pkg/audit"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

var postgres = pgtest.Shared(pgtest.Options{})

// laidOut makes databases that have the layout already, for tests that are not about how they get it.
var laidOut = pgtest.Filled(postgres, func(ctx context.Context, dsn string) error {
	db, err := Open(ctx, dsn, Options{})
	if err != nil {
		return err
	}
	return db.Close()
})

// A ledger is what callers were told of their Updates, which checkLedger compares with what is there.
type ledger struct {
	mu                       sync.Mutex
	done, refused, uncertain map[int64]bool
	failed                   map[string]int
}

func newLedger() *ledger {
	return &ledger{done: map[int64]bool{}, refused: map[int64]bool{}, uncertain: map[int64]bool{}, failed: map[string]int{}}
}

func (l *ledger) note(t *testing.T, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.done[n] = true
	case errors.Is(err, store.ErrUncertain):
		l.uncertain[n] = true
	case errors.Is(err, store.ErrUnavailable):
		l.refused[n] = true
	default:
		t.Errorf("operation %d: %v", n, err) // such as ErrExists, of one that was done twice
	}
	if err != nil {
		l.failed[err.Error()]++
	}
}

// load runs Updates side by side, each of which is done once or not at all.
func (l *ledger) load(t *testing.T, db *DB, from int64, workers, each int) {
	t.Helper()
	var group sync.WaitGroup
	for w := range int64(workers) {
		group.Go(func() {
			for i := range int64(each) {
				n := from + w*int64(each) + i
				l.note(t, n, revoke(t.Context(), db, n, ""))
			}
		})
	}
	group.Wait()
}

func (l *ledger) check(t *testing.T, db *DB) {
	t.Helper()
	there := checkPairs(t, db)
	for n := range l.done {
		if !there[n] {
			t.Errorf("%d was acknowledged and is not there", n)
		}
	}
	for n := range l.refused {
		if there[n] {
			t.Errorf("%d was refused and is there", n)
		}
	}
	for n := range there {
		if !l.done[n] && !l.uncertain[n] {
			t.Errorf("%d is there and nobody was told", n)
		}
	}
	t.Logf("%d done, %d refused, %d uncertain; %v", len(l.done), len(l.refused), len(l.uncertain), l.failed)
}

// Connections are lost before, during and after the commit. Whatever happens, callers are told what
// is so, and as every loss passes, all of them succeed in the end.
func TestCommitCut(t *testing.T) {
	for name, f := range map[string]fate{
		"before": cutBefore, "during": cutDuring, "after": cutAfter, "late": cutLate, "vanishes": vanishes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rounds := 40
			if f == vanishes {
				rounds = 3 // each takes as long as a client waits
			}
			server := postgres(t)
			dsn := laidOut(t)
			var commits atomic.Int64
			c := newCutter(t, server.Address(), func() fate {
				if n := commits.Add(1); n%3 == 0 && n <= int64(3*rounds) {
					return f
				}
				return arrives
			})
			db := mustOpen(t, c.through(dsn)+"&statement_timeout=500ms&idle_in_transaction_session_timeout=1s")
			l := newLedger()
			for i := 0; c.cuts[f].Load() < int64(rounds) && i < 200; i++ {
				l.load(t, db, int64(1000*i+1), 8, 5)
			}
			if n := c.cuts[f].Load(); n < int64(rounds) {
				t.Errorf("only %d connections were cut", n)
			}
			if len(l.refused)+len(l.uncertain) > 0 {
				t.Errorf("%d operations were refused, %d are uncertain: %v", len(l.refused), len(l.uncertain), l.failed)
			}
			l.check(t, mustOpen(t, dsn))
		})
	}
}

// When the outcome cannot be found out in time, nobody is told that it succeeded, nor that it did not.
func TestCommitUncertain(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn := server.NewDatabase(t)
	var well atomic.Bool
	c := newCutter(t, server.Address(), func() fate {
		if well.Load() {
			return arrives
		}
		return cutDuring
	})
	db := mustOpen(t, c.through(dsn))
	// Whoever looks it up is cut off, too: the lookup commits something of its own.
	err := revoke(t.Context(), db, 1, "")
	if !errors.Is(err, store.ErrUncertain) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if there := checkPairs(t, mustOpen(t, dsn)); !there[1] {
		t.Error("it has not happened")
	}
	well.Store(true)
	if err := revoke(t.Context(), db, 2, ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A server that restarts under load costs nobody more than a refusal.
func TestServerRestart(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	db := mustOpen(t, server.NewDatabase(t))
	l := newLedger()
	var group sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var next atomic.Int64
	for range 8 {
		group.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				l.note(t, n, revoke(t.Context(), db, n, ""))
				if err := look(t.Context(), db); err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		server.Restart(t)
		before := len(l.succeeded())
		for len(l.succeeded()) < before+100 && !t.Failed() {
			// It recovers by itself.
			runtime.Gosched()
		}
	}
	server.Kill(t)
	server.Restart(t)
	for from := len(l.succeeded()); len(l.succeeded()) < from+100 && !t.Failed(); {
		runtime.Gosched()
	}
	stop()
	group.Wait()
	l.check(t, db)
}

func look(ctx context.Context, db *DB) error {
	return db.View(ctx, func(r store.Reader) error {
		_, err := r.Counter(ctx, store.Services, store.CounterCA)
		return err
	})
}

// While the server is away everybody is refused at once, and soon after it is back nobody is.
func TestServerAway(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	db := mustOpen(t, server.NewDatabase(t))
	if err := errors.Join(revoke(t.Context(), db, 1, ""), look(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	for n := range int64(200) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := revoke(ctx, db, n+2, ""); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Update: %v", err)
		}
		if err := look(ctx, db); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("View: %v", err)
		}
		if err := db.Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Ping: %v", err)
		}
		cancel()
	}
	server.Restart(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for db.Ping(ctx) != nil && ctx.Err() == nil {
		runtime.Gosched()
	}
	if err := errors.Join(revoke(ctx, db, 1000, ""), look(ctx, db)); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// inject makes the next writes to the audit log fail with a SQLSTATE, as often as times says.
func inject(t *testing.T, server *pgtest.Cluster, dsn, state string, times int) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.SuperuserDSN(strings.TrimPrefix(u.Path, "/")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.PgConn().Exec(t.Context(), fmt.Sprintf(`
		CREATE SEQUENCE IF NOT EXISTS faults;
		GRANT USAGE ON SEQUENCE faults TO PUBLIC;
		ALTER SEQUENCE faults RESTART;
		CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('faults') <= %d THEN RAISE EXCEPTION 'injected' USING ERRCODE = '%s'; END IF;
			RETURN NEW;
		END $$;
		CREATE OR REPLACE TRIGGER fault BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fault()`,
		times, state)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRetries(t *testing.T) {
	for _, test := range []struct {
		name, state string
		times       int
		want        error
	}{
		{"serialization failure", "40001", 2, nil},
		{"deadlock", "40P01", 2, nil},
		{"deadlocks without end", "40P01", 1000, store.ErrUnavailable},
		{"disk full", "53100", 1, store.ErrUnavailable},
		{"out of memory", "53200", 1, store.ErrUnavailable},
		{"read-only", "25006", 1, store.ErrUnavailable},
		{"statement timeout", "57014", 1, store.ErrUnavailable},
		{"lock timeout", "55P03", 1, store.ErrUnavailable},
		{"I/O error", "58030", 1, store.ErrUnavailable},
		{"damage", "XX001", 1, store.ErrUnavailable},
		{"no privilege", "42501", 1, store.ErrUnavailable},
		{"something else", "22012", 1, store.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := postgres(t)
			dsn := laidOut(t)
			db := mustOpen(t, dsn)
			inject(t, server, dsn, test.state, test.times)
			l := newLedger()
			err := revoke(t.Context(), db, 1, "")
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			l.note(t, 1, err)
			inject(t, server, dsn, test.state, 0)
			l.load(t, db, 10, 4, 5)
			if len(l.done) < 20 {
				t.Errorf("afterwards: %v", l.failed)
			}
			l.check(t, db)
		})
	}
}

// succeeded returns what was acknowledged so far.
func (l *ledger) succeeded() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.done))
}

// A real deadlock with another session: one of the two is ended by the server, and ours is run again.
func TestDeadlock(t *testing.T) {
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	other, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if err := db.Ping(t.Context()); err != nil { // so that the counter is there
		t.Fatal(err)
	}
	var group sync.WaitGroup
	runs := 0
	err = db.Update(t.Context(), func(tx store.Tx) error {
		runs++
		if runs > 1 {
			return tx.AppendAudit(t.Context(), audit.Entry{Detail: "second"})
		}
		if _, err := tx.AddCounter(t.Context(), "", "a", 1); err != nil {
			return err
		}
		started := make(chan struct{})
		group.Go(func() {
			_, err := other.Exec(t.Context(), "BEGIN; UPDATE counter SET value = 0 WHERE name = 'ping'")
			close(started)
			if err == nil {
				_, _ = other.Exec(t.Context(), "INSERT INTO counter VALUES ('', 'a', 1)") // one of us fails
				_, _ = other.Exec(t.Context(), "ROLLBACK")
			}
		})
		<-started
		_, err := tx.AddCounter(t.Context(), store.Services, counterPing, 1)
		return err
	})
	group.Wait()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d runs", runs)
}
