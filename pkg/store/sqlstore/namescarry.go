package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
)

// Since layout 5 the names of lineages are in a table of their own. There may be millions of lineages, each with certificates that have to be
// read, so that it is filled batch by batch. While that goes on an earlier version can use the database: the table means nothing to it, and a
// lineage that it makes says of itself that its names are not known, by the default of a column. So it is also
// when one goes on after the layout has changed: daemons of this version look for such lineages now and then (ca.Directory).

// nameIndices are indices of lineages that are made in advance.
func nameIndices() []sideIndex {
	return []sideIndex{
		{"lineage_unnamed", "lineage", "(authority, created_at, id) WHERE named = 0"}, // NameLineages
	}
}

// addNameTable makes the table and the column, unless they are there.
func addNameTable(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	err := addColumn(ctx, d, tx, "lineage", "named", map[string]string{ // 0 or 1
		"sqlite":   `INTEGER NOT NULL DEFAULT 0`,
		"postgres": `BIGINT NOT NULL DEFAULT 0`,
	})
	if err != nil {
		return err
	}
	return runStep(ctx, d, tx, "names")
}

// prepareNames finds out the names of lineages, each batch in a transaction of its own.
func prepareNames(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	table := func(tx *sql.Tx) (none struct{}, err error) { return none, addNameTable(ctx, d, tx) }
	if d.name == "postgres" {
		return besideOthers(ctx, db, func(conn *sql.Conn) error {
			if _, err := inTransaction(ctx, conn, table); err != nil {
				return err
			}
			if err := indexBesideOthers(ctx, conn, nameIndices(), log); err != nil {
				return err
			}
			return nameInBatches(ctx, d, conn, log)
		})
	}
	if _, err := inTransaction(ctx, db, table); err != nil {
		return err
	}
	if err := createAll(ctx, db, nameIndices()); err != nil {
		return err
	}
	return nameInBatches(ctx, d, db, log)
}

func nameInBatches(ctx context.Context, d *dialect, db beginner, log *slog.Logger) error {
	const often = 100 // batches
	after, total := place{}, 0
	for n := 1; ; n++ {
		count, err := inTransaction(ctx, db, func(tx *sql.Tx) (count int, err error) {
			if err := holdUpdates(ctx, d, tx); err != nil {
				return 0, err
			}
			after, count, err = nameIn(d, tx).batch(ctx, after, nameBatch)
			return count, err
		})
		if err != nil || count == 0 {
			return err
		}
		if total += count; n%often == 0 {
			log.InfoContext(ctx, "finding out which names certificates have", "lineages", total)
		}
	}
}

// changeToNames changes the layout to that of version 5.
func changeToNames(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := addNameTable(ctx, d, tx); err != nil {
		return err
	}
	if err := createAll(ctx, tx, nameIndices()); err != nil {
		return err
	}
	// Names were found by subjects before. What is left of that would be written at every renewal; an earlier version
	// that goes on does without it, and takes longer to find who has a name.
	if _, err := tx.ExecContext(ctx, "DROP INDEX IF EXISTS lineage_active_subject"); err != nil {
		return err
	}
	// What has been issued meanwhile, by others.
	return nameIn(d, tx).all(ctx)
}

// nameIn is a namer within a transaction of a migration.
func nameIn(d *dialect, tx *sql.Tx) namer {
	own := func(query string) string {
		if d.name == "postgres" {
			return numbered(query)
		}
		return query
	}
	return namer{
		each: func(ctx context.Context, fn func(scanner) error, query string, args ...any) (err error) {
			rows, err := tx.QueryContext(ctx, own(query), args...)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, rows.Close()) }()
			for rows.Next() {
				if err := fn(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		},
		exec: func(ctx context.Context, query string, args ...any) error {
			_, err := tx.ExecContext(ctx, own(query), args...)
			return err
		},
	}
}
