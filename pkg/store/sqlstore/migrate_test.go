package sqlstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// released is a database of the layout that was released, with content: see testdata/migration.
type released struct {
	dsn     string
	dialect *dialect
	db      *sql.DB // to look at it, and at what became of it, without a store
}

// migrated calls test with such a database of layout 1, of each engine.
func migrated(t *testing.T, test func(*testing.T, released)) { migratedFrom(t, "layout1", test) }

func migratedFrom(t *testing.T, layout string, test func(*testing.T, released)) {
	t.Run("sqlite", func(t *testing.T) {
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

// tables are those of the released layout, with an order of their rows.
func tables() map[string]string {
	return map[string]string{
		"ca_certificate": "id", "crl": "ca_id", "request": "seq", "certificate": "seq", "revocation": "authority, seq",
		"revocation_seq": "authority", "counter": "authority, name", "setting": "authority, name", "audit_log": "seq",
	}
}

func (r released) all(t *testing.T) map[string][]record {
	t.Helper()
	found := map[string][]record{}
	for table, order := range tables() {
		found[table] = r.records(t, table, order)
	}
	return found
}

// expected makes of rows of the released layout what they have to be in this one.
func expected(t *testing.T, old map[string][]record) map[string][]record {
	now := time.Now().UnixMicro()
	out := map[string][]record{}
	for table, rows := range old {
		for _, row := range rows {
			one := record{}
			for name, value := range row {
				one[name] = value
			}
			switch table {
			case "ca_certificate":
				delete(one, "private_key")
				one["key_ref"], one["custody"], one["state"] = row["private_key"], "row", "usable"
				one["parent_authority"], one["parent_ca"], one["anchor"], one["parent_link"] = "", int64(0), nil, nil
				if row["private_key"] == nil {
					one["custody"], one["state"] = "", "disowned"
					if row["not_after"].(int64) < now {
						one["state"] = "erased"
					}
				}
			case "request":
				one["profile"], one["address"] = "", strings.TrimPrefix(row["submitter"].(string), "anonymous ")
			case "certificate":
				one["profile"], one["validity"] = "", int64(0)
				one["lineage"] = firstOf(rows, row)
			case "setting":
				if row["authority"] == "cau" && slices.Contains([]any{"cors_keys", "backup_claim", "backup_last"}, row["name"]) {
					one["authority"] = ""
				}
			case "counter":
				if row["authority"] == "cas" && row["name"] == "ping" {
					one["authority"] = ""
				}
			}
			out[table] = append(out[table], one)
		}
	}
	for _, table := range []string{"setting", "counter"} {
		slices.SortFunc(out[table], func(a, b record) int {
			return strings.Compare(fmt.Sprint(a["authority"], "/", a["name"]), fmt.Sprint(b["authority"], "/", b["name"]))
		})
	}
	delete(out, "audit_log")
	return out
}

// firstOf is the id of the first certificate that one descends from.
func firstOf(all []record, crt record) any {
	for _, other := range all {
		renews, _ := crt["renews"].([]byte)
		if renews != nil && other["authority"] == crt["authority"] && bytes.Equal(other["serial"].([]byte), renews) {
			return firstOf(all, other)
		}
	}
	return crt["id"]
}

// checkLineages checks that each first certificate has a lineage, and that it names the newest certificate.
func checkLineages(ctx context.Context, t *testing.T, s store.Reader, certificates []record) {
	t.Helper()
	type key struct {
		authority string
		id        int64
	}
	count, newest := map[key]int64{}, map[key]record{}
	for _, crt := range certificates {
		k := key{crt["authority"].(string), firstOf(certificates, crt).(int64)}
		count[k]++
		newest[k] = crt
	}
	renewed := 0
	for k, n := range count {
		l, err := s.Lineage(ctx, store.AuthorityName(k.authority), k.id)
		if err != nil {
			t.Errorf("%s, lineage %d: %v", k.authority, k.id, err)
			continue
		}
		_, err = s.Revocation(ctx, l.Authority, fromSerial(newest[k]["serial"].([]byte)))
		if ended := l.State != store.LineageActive; ended != (err == nil) || l.Renewals != n-1 || (l.Role != "") != (k.authority == "cau" && !ended) ||
			!bytes.Equal(l.Newest.Bytes(), newest[k]["serial"].([]byte)) {
			t.Errorf("%d certificates, revoked: %v, have lineage %+v", n, err == nil, l)
		}
		if n > 1 {
			renewed++
		}
	}
	if renewed == 0 {
		t.Error("there was nothing that renews another")
	}
	if err := s.LineageFaults(ctx, time.Now(), func(f store.LineageFault) error { t.Errorf("%+v", f); return nil }); err != nil {
		t.Error(err)
	}
}

// inDecimal is an actor or an object as the released versions wrote it, with a decimal serial number.
func inDecimal(v fmt.Stringer) string {
	return regexp.MustCompile(`serial=0x[0-9a-f]+`).ReplaceAllStringFunc(v.String(), func(found string) string {
		serial, _ := new(big.Int).SetString(strings.TrimPrefix(found, "serial=0x"), 16)
		return "serial=" + serial.String()
	})
}

// check looks whether everything is there that the released layout had.
func (r released) check(t *testing.T, old map[string][]record) {
	t.Helper()
	found := r.all(t)
	log := found["audit_log"]
	delete(found, "audit_log")
	if diff := cmp.Diff(expected(t, old), found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(log) != len(old["audit_log"]) || len(log) == 0 {
		t.Fatalf("%d entries, want %d", len(log), len(old["audit_log"]))
	}
	db, err := Open(t.Context(), r.dsn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(t.Context(), func(s store.Reader) error {
		n := 0
		err := s.Audit(t.Context(), audit.Filter{}, func(e audit.Entry) error {
			want := old["audit_log"][n]
			got := record{"seq": e.Seq, "time": e.Time.UnixMicro(), "authority": e.Authority, "actor": inDecimal(e.Actor), "address": e.Actor.Address,
				"action": string(e.Action), "object": inDecimal(e.Object), "result": string(e.Result), "detail": e.Detail, "request_id": e.Actor.RequestID}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entry %d (-want +got):\n%s", n, diff)
			}
			n++
			return nil
		})
		if err != nil || n != len(log) {
			return fmt.Errorf("%d entries: %w", n, err)
		}
		checkLineages(t.Context(), t, s, old["certificate"])
		all, err := s.Authorities(t.Context())
		var want []store.Authority
		for _, name := range []store.AuthorityName{store.Services, store.Users, store.HTTPS} {
			var created time.Time
			for _, ca := range old["ca_certificate"] {
				if at := fromMicros(ca["created_at"].(int64)); ca["authority"] == string(name) && (created.IsZero() || at.Before(created)) {
					created = at
				}
			}
			row, _ := store.Standard(name, created)
			want = append(want, row)
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("authorities (-want +got):\n%s", diff)
		}
		return err
	})
	if err != nil {
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

// What the released version has kept is all there, under the names of today.
func TestMigration(t *testing.T) {
	migrated(t, func(t *testing.T, r released) {
		// What only a daemon on PostgreSQL, with backups, and one whose clock went wrong, leaves behind.
		for _, statement := range []string{
			`INSERT INTO setting (authority, name, value) VALUES ('cau', 'cors_keys', '[]'), ('cau', 'backup_claim', '{}'),
				('cau', 'backup_last', '{}'), ('cas', 'cors_keys', 'not that one')`,
			`UPDATE ca_certificate SET private_key = NULL WHERE id = (SELECT max(id) FROM ca_certificate WHERE authority = 'cas')`,
		} {
			if _, err := r.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		old := r.all(t)
		for table, rows := range old {
			if len(rows) == 0 {
				t.Errorf("there is nothing in %s to migrate", table)
			}
		}
		mustOpen(t, r.dsn).Close()
		r.check(t, old)

		// A second time nothing is left to do.
		before := r.records(t, "goose_db_version", "id")
		mustOpen(t, r.dsn).Close()
		r.check(t, old)
		if after := r.records(t, "goose_db_version", "id"); len(after) != len(before) {
			t.Errorf("%d steps became %d", len(before), len(after))
		}
		// What is written next comes after what was there.
		db := mustOpen(t, r.dsn)
		update(t, db, func(ctx context.Context, h tx) error {
			return h.AppendAudit(ctx, audit.Entry{Time: time.Unix(1, 0), Object: audit.SerialObject(big.NewInt(77))})
		})
		log := r.records(t, "audit_log", "seq")
		if last := log[len(log)-1]["seq"].(int64); last <= old["audit_log"][len(old["audit_log"])-1]["seq"].(int64) {
			t.Errorf("an entry got seq %d", last)
		}
	})
}

// What a later version has kept is all there, too, column by column.
func TestMigrationFromLayout2(t *testing.T) {
	migratedFrom(t, "layout2", func(t *testing.T, r released) {
		tables := tables()
		tables["authority"], tables["signoff"] = "name", "authority, id"
		old := map[string][]record{}
		for table, order := range tables {
			if old[table] = r.records(t, table, order); len(old[table]) == 0 {
				t.Errorf("there is nothing in %s to migrate", table)
			}
		}
		for range 2 { // the second time nothing is left to do
			mustOpen(t, r.dsn).Close()
			for table, order := range tables {
				now := r.records(t, table, order)
				for _, row := range now {
					maps.DeleteFunc(row, func(column string, _ any) bool { _, was := old[table][0][column]; return !was })
				}
				if diff := cmp.Diff(old[table], now); diff != "" {
					t.Errorf("%s (-want +got):\n%s", table, diff)
				}
			}
		}
		db := mustOpen(t, r.dsn)
		err := db.View(t.Context(), func(s store.Reader) error {
			checkLineages(t.Context(), t, s, old["certificate"])
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// ofLayout3 are the tables of layout 3.
func ofLayout3() map[string]string {
	tables := tables()
	tables["authority"], tables["signoff"] = "name", "authority, id"
	tables["lineage"], tables["invitation"] = "authority, id", "authority, id"
	return tables
}

// checkLayout3 looks whether everything is there that a database of layout 3 had, column by column.
func (r released) checkLayout3(t *testing.T, old map[string][]record) {
	t.Helper()
	for table, order := range ofLayout3() {
		now := r.records(t, table, order)
		for _, row := range now {
			if table == "request" {
				if want := strings.TrimPrefix(row["submitter"].(string), "anonymous "); row["address"] != want {
					t.Errorf("a request of %v has address %v", row["submitter"], row["address"])
				}
			}
			maps.DeleteFunc(row, func(column string, _ any) bool { _, was := old[table][0][column]; return !was })
		}
		if diff := cmp.Diff(old[table], now); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
}

func (r released) allOfLayout3(t *testing.T) map[string][]record {
	t.Helper()
	old := map[string][]record{}
	for table, order := range ofLayout3() {
		if old[table] = r.records(t, table, order); len(old[table]) == 0 {
			t.Errorf("there is nothing in %s to migrate", table)
		}
	}
	return old
}

// indices are the valid ones of the audit log.
func (r released) indices(t *testing.T) (names []string) {
	t.Helper()
	query := `SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'audit_log' ORDER BY name`
	if r.dialect.name == "postgres" {
		query = `SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE i.indrelid = 'audit_log'::regclass AND i.indisvalid AND NOT i.indisunique ORDER BY 1`
	}
	rows, err := r.db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// What layout 3 has kept is all there, whether the migration runs at once, by several at the same time, or after one
// that was killed; and what its lineages have done is found in the log.
func TestMigrationFromLayout3(t *testing.T) {
	for name, before := range map[string]func(*testing.T, released){
		"as it was": func(*testing.T, released) {},
		"with the column there": func(t *testing.T, r released) {
			r.in(t, true, func(ctx context.Context, tx *sql.Tx) error { return addObjectLineage(ctx, r.dialect, tx) })
		},
		"with everything prepared": func(t *testing.T, r released) {
			if err := prepareAuditLineage(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			// A daemon of layout 3 goes on meanwhile, to which the column means nothing.
			_, err := r.db.ExecContext(t.Context(), `INSERT INTO audit_log (time, authority, actor_kind, actor_role, address, lineage, action,
				object_kind, object_id, result, detail, request_id) VALUES (1, 'cas', 'holder', '', '', '77', 'crt.renew', 'crt', '7', 'ok', '', '')`)
			if err != nil {
				t.Fatal(err)
			}
		},
		"with an index that was not completed": func(t *testing.T, r released) {
			if r.dialect.name == "postgres" {
				_, err := r.db.ExecContext(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY audit_log_lineage ON audit_log (action)`)
				if err == nil || slices.Contains(r.indices(t), "audit_log_lineage") {
					t.Fatal("the index was completed", err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			migratedFrom(t, "layout3", func(t *testing.T, r released) {
				before(t, r)
				old := r.allOfLayout3(t)
				if r.dialect.name == "sqlite" {
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
				r.checkLayout3(t, old)
				if names := r.indices(t); !slices.Contains(names, "audit_log_lineage") || !slices.Contains(names, "audit_log_object_lineage") {
					t.Errorf("indices: %q", names)
				}
				mustOpen(t, r.dsn).Close() // nothing is left to do
				r.checkLayout3(t, old)
				r.checkLogOfLineages(t, old)
			})
		})
	}
}

// checkLogOfLineages looks whether the log is found of a lineage of services that has renewals and of one of users.
func (r released) checkLogOfLineages(t *testing.T, old map[string][]record) {
	t.Helper()
	db := mustOpen(t, r.dsn)
	defer db.Close()
	err := db.View(t.Context(), func(s store.Reader) error {
		found := map[audit.Action]int{}
		for _, l := range old["lineage"] {
			err := s.Audit(t.Context(), audit.Filter{Lineage: fmt.Sprint(l["id"])}, func(e audit.Entry) error {
				found[e.Action]++
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, action := range []audit.Action{audit.Submit, audit.Sign, audit.Renew, audit.Fork, audit.EndLineage, audit.Revoke} {
			if found[action] == 0 {
				t.Errorf("no entry of %s is found by its lineage: %v", action, found)
			}
		}
		return s.LineageFaults(t.Context(), time.Now(), func(f store.LineageFault) error { t.Errorf("%+v", f); return nil })
	})
	if err != nil {
		t.Error(err)
	}
}

// A migration that is killed within a batch, between two, or during the change of the layout is continued by the next start.
func TestMigrationInterrupted(t *testing.T) {
	const size = 50
	beside := func(t *testing.T, r released) {
		if err := runStep(t.Context(), r.dialect, r.db, "audit_entry"); err != nil {
			t.Fatal(err)
		}
	}
	carry := func(t *testing.T, r released, batches int, commit bool) {
		beside(t, r)
		var last int64
		for range batches {
			r.in(t, commit, func(ctx context.Context, tx *sql.Tx) (err error) {
				if last, err = carryBatch(ctx, r.dialect, tx, last, size); last == 0 {
					t.Fatal("there are not so many entries")
				}
				return err
			})
		}
	}
	for name, interrupt := range map[string]func(*testing.T, released){
		"before the first batch": beside,
		"within a batch":         func(t *testing.T, r released) { carry(t, r, 1, false) },
		"after a batch":          func(t *testing.T, r released) { carry(t, r, 1, true) },
		"after three batches":    func(t *testing.T, r released) { carry(t, r, 3, true) },
		"after the last batch": func(t *testing.T, r released) {
			beside(t, r)
			if err := carryAudit(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
		},
		"after some certificates know their lineage": func(t *testing.T, r released) {
			r.in(t, true, func(ctx context.Context, tx *sql.Tx) error {
				if err := addLineageColumn(ctx, r.dialect, tx); err != nil {
					return err
				}
				last, err := carryIn(tx).batch(ctx, 0, 5)
				if last == 0 {
					t.Error("there are no certificates")
				}
				return err
			})
		},
		"after all certificates know their lineage": func(t *testing.T, r released) {
			if _, err := prepareLineages(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
		},
		"between layouts 2 and 3": func(t *testing.T, r released) {
			beside(t, r)
			p, err := migrations(r.dialect, r.db, new(prepared))
			if err == nil {
				_, err = p.UpTo(t.Context(), layoutRows)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"before the commit": func(t *testing.T, r released) {
			r.in(t, false, func(ctx context.Context, tx *sql.Tx) error { return changeToRows(ctx, r.dialect, tx) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			migrated(t, func(t *testing.T, r released) {
				old := r.all(t)
				interrupt(t, r)
				mustOpen(t, r.dsn).Close()
				r.check(t, old)
			})
		})
	}
}

// What an earlier daemon writes while the log is migrated is not lost.
func TestMigrationBesideADaemon(t *testing.T) {
	migrated(t, func(t *testing.T, r released) {
		old := r.all(t)
		columns := slices.Collect(maps.Keys(old["audit_log"][0]))
		if err := runStep(t.Context(), r.dialect, r.db, "audit_entry"); err != nil {
			t.Fatal(err)
		}
		if err := carryAudit(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		_, err := r.db.ExecContext(t.Context(), `INSERT INTO audit_log (time, authority, actor, address, action, object, result, detail, request_id)
			VALUES (1, 'cas', 'user serial=7 key=0a', '192.0.2.1', 'crt.sign', 'crt 5 serial=6', 'ok', '', ''),
				(2, '', 'somebody else', '', '', '', 'ok', '', ''), (3, '', '', '', '', 'crt serial=007', 'ok', '', '')`)
		if err != nil {
			t.Fatal(err)
		}
		old["audit_log"] = r.records(t, "audit_log", "seq")
		for _, entry := range old["audit_log"] {
			maps.DeleteFunc(entry, func(column string, _ any) bool { return !slices.Contains(columns, column) })
		}
		if _, err := prepareLineages(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		// The newest certificate of each authority is renewed.
		_, err = r.db.ExecContext(t.Context(), `INSERT INTO certificate (authority, id, serial, ca_id, subject, sans, not_before, not_after, key_id, issued_at, issued_by, method, renews, csr, csr_digest, der)
			SELECT authority, id + 1, key_id, ca_id, subject, sans, not_before, not_after, key_id, issued_at, issued_by, 'renewed', serial, csr, csr_digest, der
			FROM certificate WHERE seq IN (SELECT max(seq) FROM certificate GROUP BY authority)`)
		if err != nil {
			t.Fatal(err)
		}
		old["certificate"] = r.records(t, "certificate", "seq")
		for _, crt := range old["certificate"] {
			delete(crt, "lineage")
		}
		mustOpen(t, r.dsn).Close()
		r.check(t, old)
	})
}

// Daemons that start at once wait for the one that does it.
func TestMigrationAtOnce(t *testing.T) {
	migrated(t, func(t *testing.T, r released) {
		old := r.all(t)
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
		r.check(t, old)
	})
}

// The migration leaves no copy of a key behind that nothing erases later.
func TestMigratedKeysAreErased(t *testing.T) {
	migrated(t, func(t *testing.T, r released) {
		if r.dialect.wipe == "" {
			t.Skip("PostgreSQL looks after its files itself")
		}
		keys := r.records(t, "ca_certificate", "id")
		_ = r.db.Close()
		db := mustOpen(t, r.dsn)
		for _, ca := range keys {
			update(t, db, func(ctx context.Context, h tx) error {
				return h.EraseCAKey(ctx, store.AuthorityName(ca["authority"].(string)), ca["id"].(int64), store.CAErased)
			})
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(r.dsn)
		if err != nil {
			t.Fatal(err)
		}
		erased := 0
		for _, ca := range keys {
			key, _ := ca["private_key"].([]byte)
			if len(key) == 0 {
				continue
			}
			erased++
			if bytes.Contains(data, key) || bytes.Contains(data, key[len(key)/2:]) {
				t.Errorf("the key of CA %d is still in the file", ca["id"])
			}
		}
		if erased == 0 {
			t.Error("there were no keys")
		}
	})
}

// The description of row kinds is that of the tables.
func TestColumns(t *testing.T) {
	own := map[string]string{"request": "seq", "certificate": "seq"} // that order rows, and mean nothing outside
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
