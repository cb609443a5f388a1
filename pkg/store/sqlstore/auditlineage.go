package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Since layout 4 an audit entry also says which lineage its object belongs to, and the log is read for one lineage by
// indices. The log may have millions of entries. The column takes no time. Indices are made in advance: in PostgreSQL
// beside daemons of before, which go on writing; in SQLite one after the other, each of which keeps writers waiting for a
// pass over the log.

// An auditIndex is one of the indices that are made in advance.
type auditIndex struct{ name, on string }

func auditIndices(d *dialect) []auditIndex {
	if d.name == "postgres" {
		return []auditIndex{
			{"audit_log_lineage", "audit_log (lineage, seq) WHERE lineage <> ''"},
			{"audit_log_object_lineage", "audit_log (object_lineage, seq) WHERE object_lineage <> ''"},
		}
	}
	return []auditIndex{
		{"audit_log_lineage", "audit_log (lineage) WHERE lineage <> ''"},
		{"audit_log_object_lineage", "audit_log (object_lineage) WHERE object_lineage <> ''"},
	}
}

// prepareAuditLineage makes the column and the indices, unless they are there.
func prepareAuditLineage(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	column := func(tx *sql.Tx) (none struct{}, err error) { return none, addObjectLineage(ctx, d, tx) }
	if d.name == "postgres" {
		return besideOthers(ctx, db, func(conn *sql.Conn) error {
			if _, err := inTransaction(ctx, conn, column); err != nil {
				return err
			}
			return indexBesideOthers(ctx, conn, auditIndices(d), log)
		})
	}
	if _, err := inTransaction(ctx, db, column); err != nil {
		return err
	}
	for _, index := range auditIndices(d) {
		if _, err := db.ExecContext(ctx, index.create("")); err != nil {
			return err
		}
	}
	return nil
}

func (i auditIndex) create(how string) string {
	return "CREATE INDEX " + how + " IF NOT EXISTS " + i.name + " ON " + i.on
}

func addObjectLineage(ctx context.Context, d *dialect, tx *sql.Tx) error {
	return addColumn(ctx, d, tx, "audit_log", "object_lineage", map[string]string{
		"sqlite":   `TEXT NOT NULL DEFAULT ''`,
		"postgres": `TEXT COLLATE "C" NOT NULL DEFAULT ''`,
	})
}

// changeToRejections changes the layout to that of version 4.
func changeToRejections(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	if err := addObjectLineage(ctx, d, tx); err != nil {
		return err
	}
	for _, index := range auditIndices(d) {
		if _, err := tx.ExecContext(ctx, index.create("")); err != nil {
			return err
		}
	}
	return runStep(ctx, d, tx, "rejections")
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

// indexBesideOthers makes indices of a table that others write to meanwhile.
func indexBesideOthers(ctx context.Context, conn *sql.Conn, indices []auditIndex, log *slog.Logger) error {
	var partitioned bool
	err := conn.QueryRowContext(ctx, `SELECT relkind = 'p' FROM pg_class WHERE oid = 'audit_log'::regclass`).Scan(&partitioned)
	if err != nil || partitioned {
		return err // of partitions it cannot be done so; the change of the layout does it
	}
	// It waits for transactions of others, and none of them for it.
	if _, err := conn.ExecContext(ctx, `SELECT set_config('lock_timeout', '0', false)`); err != nil {
		return err
	}
	for _, index := range indices {
		if err := indexBeside(ctx, conn, index, log); err != nil {
			return err
		}
	}
	return nil
}

// indexBeside makes an index, in place of one that was not completed, as its maker was killed.
func indexBeside(ctx context.Context, conn *sql.Conn, index auditIndex, log *slog.Logger) error {
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
	log.InfoContext(ctx, "making an index of the audit log", "index", index.name)
	_, err = conn.ExecContext(ctx, index.create("CONCURRENTLY"))
	if err != nil {
		return fmt.Errorf("index %s: %w", index.name, err)
	}
	return nil
}
