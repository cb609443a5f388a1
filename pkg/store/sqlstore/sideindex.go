package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A sideIndex is an index of a table that may be large, and is made before the layout changes.
type sideIndex struct{ name, table, on string }

func (i sideIndex) create(how string) string {
	return "CREATE INDEX " + how + " IF NOT EXISTS " + i.name + " ON " + i.table + " " + i.on
}

// createAll makes indices, unless they are there.
func createAll(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, indices []sideIndex) error {
	for _, index := range indices {
		if _, err := db.ExecContext(ctx, index.create("")); err != nil {
			return err
		}
	}
	return nil
}

// indexLock is the advisory lock of whoever makes indices in PostgreSQL.
const indexLock = 0x6361756173650004

// besideOthers calls prepare in one process at a time. The others do not wait in a transaction, since that is what making
// an index waits for.
func besideOthers(ctx context.Context, db *sql.DB, prepare func(*sql.Conn) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for held := false; !held; {
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(indexLock)).Scan(&held); err != nil {
			return err
		}
		if held {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	defer func() {
		_, e := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(indexLock))
		err = errors.Join(err, e)
	}()
	return prepare(conn)
}

// indexBesideOthers makes indices of tables that others write to meanwhile.
func indexBesideOthers(ctx context.Context, conn *sql.Conn, indices []sideIndex, log *slog.Logger) error {
	// It waits for transactions of others, and none of them for it.
	if _, err := conn.ExecContext(ctx, `SELECT set_config('lock_timeout', '0', false)`); err != nil {
		return err
	}
	for _, index := range indices {
		var partitioned bool
		err := conn.QueryRowContext(ctx, `SELECT relkind = 'p' FROM pg_class WHERE oid = $1::text::regclass`, index.table).Scan(&partitioned)
		if err != nil {
			return err
		}
		if partitioned {
			continue // of partitions it cannot be done so; the change of the layout does it
		}
		if err := indexBeside(ctx, conn, index, log); err != nil {
			return err
		}
	}
	return nil
}

// indexBeside makes an index, in place of one that was not completed, as its maker was killed.
func indexBeside(ctx context.Context, conn *sql.Conn, index sideIndex, log *slog.Logger) error {
	var valid sql.NullBool
	err := conn.QueryRowContext(ctx, `SELECT (SELECT indisvalid FROM pg_index
		WHERE indexrelid = to_regclass(quote_ident(current_schema()) || '.' || $1))`, index.name).Scan(&valid)
	if err != nil || valid.Bool {
		return err
	}
	if valid.Valid {
		if _, err := conn.ExecContext(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+index.name); err != nil {
			return err
		}
	}
	log.InfoContext(ctx, "making an index", "index", index.name, "table", index.table)
	_, err = conn.ExecContext(ctx, index.create("CONCURRENTLY"))
	if err != nil {
		return fmt.Errorf("index %s: %w", index.name, err)
	}
	return nil
}
