package sqlstore

import (
	"context"
	"database/sql"
	"testing"
)

func layout7() releasedLayout {
	l := releasedLayout{name: "layout7", tables: layout6().with(map[string]string{"approval": "authority, request, lineage", "delivery": "id", "adoption": "authority, lineage"})}
	l.check = func(t *testing.T, r released, old map[string][]record) {
		t.Helper()
		l.same(t, r, old)
	}
	l.interrupted = map[string]func(*testing.T, released){
		"before the commit": func(t *testing.T, r released) {
			r.in(t, false, func(ctx context.Context, tx *sql.Tx) error { return changeToMerkle(ctx, r.dialect, tx) })
		},
	}
	l.meanwhile = map[string]func(*testing.T, released){
		"beside a daemon": func(t *testing.T, r released) {
			if _, err := r.db.ExecContext(t.Context(), `UPDATE lineage SET address = '192.0.2.99' WHERE subject = 'CN=gateway'`); err != nil {
				t.Fatal(err)
			}
		},
	}
	return l
}
