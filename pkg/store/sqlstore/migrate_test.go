package sqlstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"cauase/pkg/store"
)

// released is a database of the layout that was released, with content: see testdata/migration.
type released struct {
	dsn     string
	dialect *dialect
	db      *sql.DB // to look at it, and at what became of it, without a store
}

// migrated calls test with a database of a layout, of each engine, at the same time: daemons that want to
// migrate one database take turns by asking, once a second, whose turn it is.
func migrated(t *testing.T, layout string, test func(*testing.T, released)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "db.sqlite")
		if err := os.WriteFile(path, unzip(t, layout+".sqlite.gz"), 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := openSQLiteURI(sqliteURI(path, sqliteParams(5*time.Second)), 2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		test(t, released{path, sqliteDialect(), db})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dsn := postgres(t).NewDatabase(t)
		cfg, err := parsePostgres(dsn)
		if err != nil {
			t.Fatal(err)
		}
		run(t, dsn, string(unzip(t, layout+".postgres.sql.gz")))
		conn := cfg.config(target{patient: true})
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec // plans do not outlive a layout
		db := stdlib.OpenDB(*conn)
		t.Cleanup(func() { _ = db.Close() })
		test(t, released{dsn, pgDialect(), db})
	})
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../testdata/migration", name))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return data
}

// A record is one row as the database has it, by column.
type record map[string]any

// records returns all rows of a table, in an order of its own.
func (r released) records(t *testing.T, table, order string) (all []record) {
	t.Helper()
	rows, err := r.db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY "+order)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, dest := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		one := record{}
		for i, name := range names {
			one[name] = values[i]
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A releasedLayout is one that was released.
type releasedLayout struct {
	name   string
	tables map[string]string // with an order of their rows
	// check looks whether everything is there that a database of the layout had.
	check func(*testing.T, released, map[string][]record)
	// interrupted is what may have happened to the database before the migration that is to complete.
	interrupted map[string]func(*testing.T, released)
	// meanwhile is likewise, and adds what a daemon of the layout has done before it ends.
	meanwhile map[string]func(*testing.T, released)
}

func layouts() []releasedLayout {
	return []releasedLayout{layout1(), layout2(), layout3(), layout4(), layout5(), layout6(), layout7()}
}

// with adds tables to those of the layout before.
func (l releasedLayout) with(tables map[string]string) map[string]string {
	all := maps.Clone(l.tables)
	maps.Copy(all, tables)
	return all
}

// all returns all rows of the tables of a layout.
func (r released) all(t *testing.T, l releasedLayout) map[string][]record {
	t.Helper()
	found := map[string][]record{}
	for table, order := range l.tables {
		found[table] = r.records(t, table, order)
	}
	return found
}

// What released versions have kept is all there, under the names of today, whether the migration runs at once, by several at the same time, beside a
// daemon, or after one that was killed.
func TestMigration(t *testing.T) {
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			run := func(name string, before func(*testing.T, released), meanwhile bool) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					migrated(t, l.name, func(t *testing.T, r released) { l.migrate(t, r, before, meanwhile) })
				})
			}
			run("as it was", func(*testing.T, released) {}, false)
			for name, before := range l.interrupted {
				run(name, before, false)
			}
			for name, before := range l.meanwhile {
				run(name, before, true)
			}
		})
	}
}

// migrate has several daemons migrate a database of the layout, to which something has happened before.
func (l releasedLayout) migrate(t *testing.T, r released, before func(*testing.T, released), meanwhile bool) {
	old := r.all(t, l)
	for table, rows := range old {
		if len(rows) == 0 {
			t.Errorf("there is nothing in %s to migrate", table)
		}
	}
	before(t, r)
	if meanwhile {
		was := old
		old = r.all(t, l)
		for table, rows := range old {
			for _, row := range rows {
				maps.DeleteFunc(row, func(column string, _ any) bool { _, there := was[table][0][column]; return !there })
			}
		}
	}
	if r.dialect.name == "sqlite" { // as daemons leave it
		if err := useWAL(t.Context(), r.dialect, r.db); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			db, err := Open(t.Context(), r.dsn, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			_ = db.Close()
		})
	}
	group.Wait()
	l.check(t, r, old)
	r.checkNames(t)
	// A second time nothing is left to do.
	steps := len(r.records(t, "goose_db_version", "id"))
	mustOpen(t, r.dsn).Close()
	l.check(t, r, old)
	if after := len(r.records(t, "goose_db_version", "id")); after != steps {
		t.Errorf("%d steps became %d", steps, after)
	}
}

// same looks whether all rows that a database had are there, column by column, for layouts that the later ones only add to.
func (l releasedLayout) same(t *testing.T, r released, old map[string][]record) {
	t.Helper()
	for table, order := range l.tables {
		now := r.records(t, table, order)
		for _, row := range now {
			maps.DeleteFunc(row, func(column string, _ any) bool { _, was := old[table][0][column]; return !was })
		}
		if diff := difference(old[table], now); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
}

// view reads a database that was migrated.
func (r released) view(t *testing.T, fn func(context.Context, store.Reader) error) {
	t.Helper()
	db, err := Open(t.Context(), r.dsn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(t.Context(), func(s store.Reader) error { return fn(t.Context(), s) }); err != nil {
		t.Error(err)
	}
}

// in runs a part of the migration in a transaction of its own, and commits it if commit is true.
func (r released) in(t *testing.T, commit bool, part func(context.Context, *sql.Tx) error) {
	t.Helper()
	tx, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := part(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

// The description of row kinds is that of the tables.
func TestColumns(t *testing.T) {
	// What orders rows, or says how far something has got, and means nothing outside.
	own := map[string]string{"request": "seq", "certificate": "seq", "lineage": "named"}
	for name, dsn := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "db.sqlite"), "postgres": postgres(t).NewDatabase(t)} {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, dsn)
			query := `SELECT name FROM pragma_table_info('%s')`
			if name == "postgres" {
				query = `SELECT column_name::text FROM information_schema.columns WHERE table_name = '%s'`
			}
			for _, kind := range store.Kinds() {
				want := columnNames(kind)
				if column := own[kind.Table]; column != "" {
					want = append(want, column)
				}
				var got []string
				update(t, db, func(ctx context.Context, h tx) (err error) {
					got, err = list(ctx, h.handle, scalar[string], fmt.Sprintf(query, kind.Table))
					return err
				})
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(want, got) {
					t.Errorf("%s: columns %q, described are %q", kind.Name, got, want)
				}
			}
		})
	}
}
