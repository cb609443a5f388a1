package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"testing"
)

func layout5() releasedLayout {
	l := releasedLayout{name: "layout5", tables: layout4().with(map[string]string{"lineage_name": "authority, lineage, kind, name"})}
	l.check = func(t *testing.T, r released, old map[string][]record) {
		t.Helper()
		l.same(t, r, old)
		found := slices.Concat(r.indices(t, "certificate"), r.indices(t, "audit_log"))
		for name, want := range map[string]bool{
			"certificate_request": true, "audit_log_other_lineage": true, "certificate_csr": false, "audit_log_object_lineage": false,
		} {
			if slices.Contains(found, name) != want {
				t.Errorf("index %s: %t; all: %q", name, !want, found)
			}
		}
	}
	l.interrupted = map[string]func(*testing.T, released){
		"with an index that was not completed": func(t *testing.T, r released) {
			r.fail(t, "certificate", "certificate_request", "(method)")
		},
		"before the commit": func(t *testing.T, r released) {
			r.in(t, false, func(ctx context.Context, tx *sql.Tx) error { return changeToRenewals(ctx, r.dialect, tx) })
		},
	}
	l.meanwhile = map[string]func(*testing.T, released){
		"with everything prepared, beside a daemon": func(t *testing.T, r released) {
			if err := prepareRenewalIndices(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.db.ExecContext(t.Context(), `UPDATE lineage SET address = '192.0.2.99' WHERE subject = 'CN=gateway'`); err != nil {
				t.Fatal(err)
			}
		},
	}
	return l
}
