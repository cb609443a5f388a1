package manage

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/store"
)

// What SQLite once took for a text does not keep a CA where it is.
func TestBadTexts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	from := openStore(t, path)
	err := from.Update(t.Context(), func(tx store.Tx) error { return tx.AppendAudit(t.Context(), entry()) })
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.ExecContext(t.Context(), `UPDATE audit_log SET detail = CAST(x'61ff620063' AS TEXT)`)
	if err = errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	found, _ := check(t, from, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	if len(found) != 2 || found[1] != "error: audit 1: entry 1 (leaf 0) was changed: it is not what its hash was made of" || !strings.HasPrefix(found[0], "warning: audit 1: a text in it holds a NUL or is not UTF-8") {
		t.Errorf("%q", found)
	}
	to := newStore(t)
	if _, err := Copy(t.Context(), from, to, entry(), nil); err != nil {
		t.Fatal(err)
	}
	if detail := rowsOf(t, to)[1].(store.AuditEntry).Detail; detail != "a\ufffdb\ufffdc" {
		t.Errorf("%q", detail)
	}
}
