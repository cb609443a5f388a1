package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"
)

// Since layout 4 an audit entry also says which lineage its object belongs to, and the log is read for one lineage by
// indices. The log may have millions of entries. The column takes no time. Indices are made in advance: in PostgreSQL
// beside daemons of before, which go on writing; in SQLite one after the other, each of which keeps writers waiting for a
// pass over the log.

func auditIndices(d *dialect) []sideIndex {
	seq := ""
	if d.name == "postgres" {
		seq = ", seq"
	}
	return []sideIndex{
		{"audit_log_lineage", "audit_log", "(lineage" + seq + ") WHERE lineage <> ''"},
		{"audit_log_object_lineage", "audit_log", "(object_lineage" + seq + ") WHERE object_lineage <> ''"},
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
	return createAll(ctx, db, auditIndices(d))
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
	if err := createAll(ctx, tx, auditIndices(d)); err != nil {
		return err
	}
	return runStep(ctx, d, tx, "rejections")
}
