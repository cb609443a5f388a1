package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

func layout3() releasedLayout {
	l := releasedLayout{name: "layout3", tables: layout2().with(map[string]string{"lineage": "authority, id", "invitation": "authority, id"})}
	l.check = func(t *testing.T, r released, old map[string][]record) {
		t.Helper()
		l.same(t, r, old)
		for _, row := range r.records(t, "request", "seq") {
			if want := strings.TrimPrefix(row["submitter"].(string), "anonymous "); row["address"] != want {
				t.Errorf("a request of %v has address %v", row["submitter"], row["address"])
			}
		}
		if names := r.indices(t, "audit_log"); !slices.Contains(names, "audit_log_lineage") || !slices.Contains(names, "audit_log_other_lineage") {
			t.Errorf("indices: %q", names)
		}
		r.checkLogOfLineages(t, old)
	}
	l.interrupted = map[string]func(*testing.T, released){
		"with the column there": func(t *testing.T, r released) {
			r.in(t, true, func(ctx context.Context, tx *sql.Tx) error { return addObjectLineage(ctx, r.dialect, tx) })
		},
		"with an index that was not completed": func(t *testing.T, r released) {
			r.fail(t, "audit_log", "audit_log_lineage", "(action)")
		},
	}
	l.meanwhile = map[string]func(*testing.T, released){
		"with everything prepared, beside a daemon": func(t *testing.T, r released) {
			if err := prepareAuditLineage(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			// To which the column means nothing.
			_, err := r.db.ExecContext(t.Context(), `INSERT INTO audit_log (time, authority, actor_kind, actor_role, address, lineage, action,
				object_kind, object_id, result, detail, request_id) VALUES (1, 'cas', 'holder', '', '', '77', 'crt.renew', 'crt', '7', 'ok', '', '')`)
			if err != nil {
				t.Fatal(err)
			}
		},
	}
	return l
}

// fail begins to make an index, and does not complete it, as if it were interrupted. Rows must not be distinct in what it is on.
func (r released) fail(t *testing.T, table, index, on string) {
	t.Helper()
	if r.dialect.name != "postgres" {
		return // which knows nothing of that kind
	}
	_, err := r.db.ExecContext(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY `+index+` ON `+table+` `+on)
	if err == nil || slices.Contains(r.indices(t, table), index) {
		t.Fatal("the index was completed", err)
	}
}

// indices are the valid ones of a table.
func (r released) indices(t *testing.T, table string) (names []string) {
	t.Helper()
	query := "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = '" + table + "' ORDER BY name"
	if r.dialect.name == "postgres" {
		query = `SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE i.indrelid = '` + table + `'::regclass AND i.indisvalid AND NOT i.indisunique ORDER BY 1`
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

// checkLogOfLineages looks whether the log is found of a lineage of services that has renewals and of one of users.
func (r released) checkLogOfLineages(t *testing.T, old map[string][]record) {
	t.Helper()
	r.view(t, func(ctx context.Context, s store.Reader) error {
		found := map[audit.Action]int{}
		for _, l := range old["lineage"] {
			err := s.Audit(ctx, audit.Filter{Lineage: fmt.Sprint(l["id"])}, func(e audit.Entry) error {
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
		return s.LineageFaults(ctx, time.Now(), func(f store.LineageFault) error { t.Errorf("%+v", f); return nil })
	})
}
