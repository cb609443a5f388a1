package sqlstore

import (
	"context"
	"fmt"

	"cauase/pkg/store"
)

// Queries about a database itself, not what we keep in it.
const (
	sqliteVersion = `SELECT 'SQLite ' || sqlite_version()`
	sqliteBytes   = `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`

	postgresVersion = `SELECT 'PostgreSQL ' || current_setting('server_version')`
	postgresBytes   = `
		SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
		WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r'`

	// What acts by itself when rows change: we have none of it.
	sqliteActors   = `SELECT type || ' ' || name || ' on ' || tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name`
	postgresActors = `
		SELECT 'trigger ' || tgname || ' on ' || relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE relnamespace = quote_ident(current_schema())::regnamespace AND NOT tgisinternal
		UNION ALL
		SELECT 'rule ' || rulename || ' on ' || relname FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
		WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r' ORDER BY 1`

	layout = `SELECT max(version_id) FROM goose_db_version`
)

// Describe implements store.Described.
func (db *DB) Describe(ctx context.Context) (d store.Description, err error) {
	version, bytes := sqliteVersion, sqliteBytes
	if db.dialect.name != "sqlite" {
		version, bytes = postgresVersion, postgresBytes
	}
	err = db.View(ctx, func(r store.Reader) (err error) {
		h := r.(reader).handle
		if d.Engine, err = one(ctx, h, scalar[string], version); err != nil {
			return err
		}
		if d.Bytes, err = one(ctx, h, scalar[int64], bytes); err != nil {
			return err
		}
		d.Layout, err = one(ctx, h, scalar[int64], layout)
		return err
	})
	return d, err
}

// Integrity implements store.Described. SQLite reads its whole file for it; PostgreSQL looks after
// itself.
func (db *DB) Integrity(ctx context.Context) (problems []string, err error) {
	err = db.View(ctx, func(r store.Reader) error {
		problems = nil
		h := r.(reader).handle
		h.s.unhurried()
		actors := postgresActors
		if db.dialect.name == "sqlite" {
			actors = sqliteActors
			if err := sqliteIntegrity(ctx, h, &problems); err != nil {
				return err
			}
		}
		err := h.each(ctx, func(row scanner) error {
			name, err := scalar[string](row)
			problems = append(problems, "there is a "+name+", which cauase has not made: it may change or remove what is written")
			return err
		}, actors)
		if err != nil {
			return err
		}
		// The next revocation would get a seq that is taken, or was.
		return h.each(ctx, func(row scanner) error {
			var authority string
			var top, last int64
			if err := row.Scan(&authority, &top, &last); err != nil {
				return err
			}
			problems = append(problems, fmt.Sprintf("the last revocation of %s is %d, and %d is said to have been given out last", authority, top, last))
			return nil
		}, `SELECT r.authority, max(r.seq), coalesce(max(s.last), 0) FROM revocation r
			LEFT JOIN revocation_seq s ON s.authority = r.authority
			GROUP BY r.authority HAVING max(r.seq) > coalesce(max(s.last), 0)`)
	})
	return problems, err
}

func sqliteIntegrity(ctx context.Context, h *handle, problems *[]string) error {
	err := h.each(ctx, func(row scanner) error {
		text, err := scalar[string](row)
		if err == nil && text != "ok" {
			*problems = append(*problems, text)
		}
		return err
	}, `PRAGMA integrity_check(100)`)
	if err != nil {
		return err
	}
	const enough = 100
	return h.each(ctx, func(row scanner) error {
		var table, parent string
		var id *int64
		var key int
		if err := row.Scan(&table, &id, &parent, &key); err != nil {
			return err
		}
		if len(*problems) < enough {
			*problems = append(*problems, fmt.Sprintf("a row of table %s refers to one of %s that is not there", table, parent))
		}
		return nil
	}, `PRAGMA foreign_key_check`)
}
