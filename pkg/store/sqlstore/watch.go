package sqlstore

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"cauase/pkg/store"
)

// listenCheck is how long a connection may be silent before it is looked after.
const listenCheck = 15 * time.Second

// A sharedDB is a DB that other processes change, too.
type sharedDB struct {
	*DB
	watcher watcher
}

var _ store.Watcher = sharedDB{}

// Watch implements store.Watcher. It also calls changed whenever it has a new connection, as it may
// have missed something.
func (db sharedDB) Watch(ctx context.Context, changed func()) { db.watcher.watch(ctx, changed) }

// Now implements store.Watcher.
func (db sharedDB) Now(ctx context.Context) (now time.Time, err error) {
	err = db.View(ctx, func(r store.Reader) error {
		micros, err := one(ctx, r.(reader).handle, scalar[int64], `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
		now = time.UnixMicro(micros).UTC()
		return err
	})
	return now, err
}

// Store returns db as what it can do: a store.Watcher if it is on PostgreSQL.
func (db *DB) Store() store.Store {
	if db.watcher == nil {
		return db
	}
	return sharedDB{db, *db.watcher}
}

// A watcher listens on a connection of its own.
type watcher struct {
	connect func(context.Context) (*pgx.Conn, error)
	channel string
}

func (w *watcher) watch(ctx context.Context, changed func()) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstLook, lastLook
	for {
		if conn, err := w.connect(ctx); err == nil {
			delays.Reset()
			_ = w.listen(ctx, conn, changed) // whatever it is, a new connection mends it
		}
		timer := time.NewTimer(delays.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// listen returns when the connection is lost, or ctx ends.
func (w *watcher) listen(ctx context.Context, conn *pgx.Conn, changed func()) error {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackBound)
		defer cancel()
		_ = conn.Close(ctx) // it is lost, or of no use any more
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{w.channel}.Sanitize()); err != nil {
		return err
	}
	changed() // somebody may have announced something before we listened
	for {
		wait, cancel := context.WithTimeout(ctx, listenCheck)
		_, err := conn.WaitForNotification(wait)
		silent := wait.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			changed()
		case !silent || conn.IsClosed():
			return err
		default:
			if err := w.alive(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// alive makes sure that the server is still there: one that has vanished says nothing.
func (w *watcher) alive(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return conn.Ping(ctx)
}
