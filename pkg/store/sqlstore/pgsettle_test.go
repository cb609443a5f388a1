package sqlstore

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

// waits waits until a query gives an answer.
func waits(t *testing.T, server *pgtest.Cluster, sql, want string) {
	t.Helper()
	for server.Query(t, "postgres", sql) != want {
		if t.Context().Err() != nil {
			t.Fatal("it never came")
		}
		runtime.Gosched()
	}
}

// A commit that waits for a standby and whose wait is ended by an administrator counts on this server
// only. Nobody is told of success before a standby has it.
func TestCommitWithoutStandby(t *testing.T) {
	for _, returns := range []bool{true, false} {
		t.Run(fmt.Sprintf("standby returns: %v", returns), func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t, pgtest.Options{})
			dsn := server.NewDatabase(t)
			db := mustOpen(t, with(t, with(t, dsn, "statement_timeout", "1s"), "client_min_messages", "error"))
			if err := revoke(t.Context(), db, 1, ""); err != nil {
				t.Fatal(err)
			}
			server.AwaitCommits(t, "nobody")
			told := make(chan error, 1)
			go func() { told <- revoke(t.Context(), db, 2, "") }()
			const waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'cauased'"
			waits(t, server, waiting, "1")
			if returns {
				server.AwaitCommits(t, "")
			}
			server.Exec(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			err := <-told
			if returns && err != nil || !returns && !errors.Is(err, store.ErrUncertain) {
				t.Errorf("error %v", err)
			}
			server.AwaitCommits(t, "")
			await(t, db)
			if there := checkPairs(t, db); !there[1] || !there[2] {
				t.Errorf("there are %v", there)
			}
		})
	}
}

// Operations that fail after they have written, among others that do not, while connections are lost.
func TestUndoAmongCuts(t *testing.T) {
	server := postgres(t)
	dsn := laidOut(t)
	var commits atomic.Int64
	c := newCutter(t, server.Address(), func() fate {
		return []fate{arrives, arrives, cutBefore, arrives, cutDuring, arrives, cutAfter}[commits.Add(1)%7]
	})
	db := mustOpen(t, c.through(dsn))
	mine := errors.New("mine")
	l := newLedger()
	var group sync.WaitGroup
	ctx := t.Context()
	for w := range int64(16) {
		group.Go(func() {
			for i := range int64(40) {
				n := 1 + w*40 + i
				if n%3 != 0 {
					l.note(t, n, revoke(ctx, db, n, ""))
					continue
				}
				ended := make(chan error, 1)
				go func() {
					defer close(ended)
					ended <- db.Update(ctx, func(tx store.Tx) error {
						for range 3 {
							if err := tx.AppendAudit(ctx, audit.Entry{Detail: "to be undone"}); err != nil {
								return err
							}
							if _, err := tx.AddCounter(ctx, "", "undone", 1); err != nil {
								return err
							}
						}
						switch n % 4 {
						case 0:
							panic("oops")
						case 1:
							runtime.Goexit()
						case 2:
							return tx.PutCRL(ctx, store.CRL{Authority: store.Users, CAID: 99}) // of no CA
						}
						return mine
					})
				}()
				if err, answered := <-ended; answered && err == nil {
					t.Errorf("%d succeeded", n)
				}
			}
		})
	}
	group.Wait()
	if len(l.refused)+len(l.uncertain) > 0 {
		t.Errorf("%v", l.failed)
	}
	l.check(t, mustOpen(t, dsn))
	for _, sql := range []string{"SELECT count(*) FROM counter WHERE name = 'undone'", "SELECT count(*) FROM crl"} {
		if n := server.Query(t, database(t, dsn), sql); n != "0" {
			t.Errorf("%s: %s", sql, n)
		}
	}
}
