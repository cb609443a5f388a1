package sqlstore_test

import (
	"database/sql"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

func TestDescribe(t *testing.T) {
	d, err := open(t, filepath.Join(t.TempDir(), "db.sqlite")).Describe(t.Context())
	if err != nil || !strings.HasPrefix(d.Engine, "SQLite 3.") || d.Layout < 1 || d.Bytes < 4096 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestIntegrity(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage string // statement
		want   string // part of a problem, empty for none
	}{
		{"whole", `SELECT 1`, ""},
		{"a CA is missing", `DELETE FROM ca_certificate`, "a row of table crl refers to one of ca_certificate"},
		{"seqs went back", `UPDATE revocation_seq SET last = 1`, "the last revocation of cas is 2, and 1 is said"},
		{"seqs are missing", `DELETE FROM revocation_seq`, "the last revocation of cas is 2, and 0 is said"},
		{"a trigger", `CREATE TRIGGER forget AFTER INSERT ON revocation BEGIN DELETE FROM revocation; END`, "trigger forget on revocation"},
		{"an index lacks a row", `PRAGMA writable_schema = ON;
			UPDATE sqlite_schema SET sql = replace(sql, 'reason = 1', 'reason = 4') WHERE name = 'revocation_compromise'`, "revocation_compromise"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db.sqlite")
			fillForDamage(t, path)
			raw, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = raw.ExecContext(t.Context(), test.damage)
			if err = errors.Join(err, raw.Close()); err != nil {
				t.Fatal(err)
			}
			problems, err := open(t, path).Integrity(t.Context())
			found := strings.Join(problems, "\n")
			if err != nil || (test.want == "") != (len(problems) == 0) || !strings.Contains(found, test.want) {
				t.Errorf("%q, %v; want %q", problems, err, test.want)
			}
		})
	}
}

// A page that holds something else is found, one way or the other.
func TestIntegrityDamagedPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	fillForDamage(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(strings.Repeat("damage", 600)), info.Size()-4096*3)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	problems, err := open(t, path).Integrity(t.Context())
	if len(problems) == 0 && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%q, %v", problems, err)
	}
}

// fillForDamage leaves behind a closed database with something in it.
func fillForDamage(t *testing.T, path string) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	err = db.Update(ctx, func(tx store.Tx) error {
		id, err := tx.AddCA(ctx, store.CA{Authority: store.Services})
		if err != nil {
			return err
		}
		_, first := tx.AddRevocation(ctx, store.Revocation{Authority: store.Services, Serial: big.NewInt(1), KeyID: []byte{1}, Reason: 4})
		_, second := tx.AddRevocation(ctx, store.Revocation{Authority: store.Services, Serial: big.NewInt(2)})
		return errors.Join(first, second, tx.PutCRL(ctx, store.CRL{Authority: store.Services, CAID: id}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
