package sqlstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// A process that dies while it moves the log into the database leaves a file of which the first page
// refers to others that are not there yet. With its log it is whole.
func TestOpenAfterKilledCheckpoint(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "db.sqlite")
	db, err := sqlstore.Open(ctx, path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const entries = 500
	err = db.Update(ctx, func(tx store.Tx) error {
		for i := range entries {
			e := audit.NewEntry(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "cau", audit.Actor{Kind: audit.Operator}, audit.MakeCRL, audit.CRLObject(int64(i)))
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	before, log := read(path), read(path+"-wal")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	after := read(path)
	if len(after) <= len(before) {
		t.Fatalf("the file has not grown: %d bytes, then %d", len(before), len(after))
	}
	const page = 4096
	killed := filepath.Join(dir, "killed.sqlite")
	for name, data := range map[string][]byte{killed: append(after[:page:page], before[page:]...), killed + "-wal": log} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := sqlstore.Open(ctx, killed, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	n := 0
	err = again.View(ctx, func(r store.Reader) error {
		return r.Audit(ctx, audit.Filter{}, func(audit.Entry) error { n++; return nil })
	})
	if n != entries || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	// Without its log it is damaged, and stays as it is.
	if err := os.WriteFile(filepath.Join(dir, "lone.sqlite"), append(after[:page:page], before[page:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.Open(ctx, filepath.Join(dir, "lone.sqlite"), sqlstore.Options{}); err == nil {
		t.Error("half a database is opened")
	}
}
