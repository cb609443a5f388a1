package caucasedb

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/caucase"
	"cauase/pkg/caucase/caucasetest"
)

// files lists a folder with the sizes and modes of what is in it.
func files(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fs.FormatFileInfo(info))
	}
	return strings.Join(all, "\n")
}

func TestReadingLeavesNoTrace(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, path string){
		"as caucase leaves it": func(*testing.T, string) {},
		"write-ahead mode":     func(t *testing.T, path string) { change(t, path, "PRAGMA journal_mode = WAL") },
		"read-only": func(t *testing.T, path string) {
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
			t.Setenv("TMPDIR", t.TempDir())
			prepare(t, path)
			before := files(t, path)
			db, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			rowsOf(t, db, caucasetest.MadeAt(t, "0.9.17"))
			if after := files(t, path); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			nothingIn(t, os.Getenv("TMPDIR"))
		})
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v %v", dir, entries, err)
	}
}

// killed copies a database with what is beside it, as a process leaves them that is killed while it
// has done what statements say.
func killed(t *testing.T, path string, statements ...string) string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	to := filepath.Join(t.TempDir(), "caucase.sqlite")
	for _, ending := range []string{"", "-journal", "-wal"} {
		data, err := os.ReadFile(path + ending)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+ending, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestWhatAKilledProcessLeaves(t *testing.T) {
	for name, tc := range map[string]struct {
		statements []string
		ending     string
		revoked    int
	}{
		"a change that was committed to the log": {
			[]string{"PRAGMA journal_mode = WAL", "INSERT INTO casrevoked VALUES ('77', 1795272328, 1805959130)"}, "-wal", 4,
		},
		"a change that was under way": {
			[]string{"PRAGMA cache_size = 1", "PRAGMA cache_spill = 1", "BEGIN", "DELETE FROM casrevoked", "DELETE FROM cascrt", "DELETE FROM caucrt",
				"CREATE TABLE large (x)", "INSERT INTO large VALUES (zeroblob(2000000))"}, "-journal", 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := killed(t, caucasetest.Unpack(t, "0.9.17", t.TempDir()), tc.statements...)
			if info, err := os.Stat(path + tc.ending); err != nil || info.Size() == 0 {
				t.Fatalf("nothing is left to recover: %v", err)
			}
			t.Setenv("TMPDIR", t.TempDir())
			before := files(t, path)
			db, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			rowsOf(t, db, caucasetest.MadeAt(t, "0.9.17"))
			if got := db.Report().Authorities[1].Revoked; got != tc.revoked {
				t.Errorf("%d revocations, want %d", got, tc.revoked)
			}
			if after := files(t, path); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			nothingIn(t, os.Getenv("TMPDIR"))
		})
	}
}

func TestSomebodyIsWriting(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a lock")
	}
	path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
}

func TestNotADatabaseOfCaucase(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "text": "hello", "short": "SQLite format 3\x00", "header": "SQLite format 3\x00" + strings.Repeat("x", 5000),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), path); !errors.Is(err, caucase.ErrNotCaucase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(t.Context(), dir); !errors.Is(err, caucase.ErrNotCaucase) {
		t.Errorf("folder: %v", err)
	}
	if _, err := Read(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestHostileDatabases(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  []string
		want string
	}{
		"view":           {[]string{"CREATE VIEW v AS SELECT 1"}, `no view "v"`},
		"view for table": {[]string{"DROP TABLE casrevoked", "CREATE VIEW casrevoked AS SELECT '1' AS serial, 2 AS revocation_date, 3 AS expiration_date"}, `no view "casrevoked"`},
		"trigger":        {[]string{"CREATE TRIGGER tr AFTER INSERT ON casca BEGIN SELECT 1; END"}, `no trigger "tr"`},
		"index":          {[]string{"CREATE INDEX i ON casca (abs(expiration_date))"}, `no index "i"`},
		"table":          {[]string{"CREATE TABLE mine (x)"}, `table "mine"`},
		"virtual table":  {[]string{"CREATE VIRTUAL TABLE mine USING fts5(x)"}, `table "mine"`},
		"column":         {[]string{"ALTER TABLE casca ADD COLUMN x INTEGER"}, "after its columns"},
		"generated":      {[]string{"DROP TABLE casrevoked", "CREATE TABLE casrevoked (serial TEXT PRIMARY KEY, revocation_date INTEGER AS (1), expiration_date INTEGER)"}, "not declared as caucase does it"},
		"missing":        {[]string{"DROP TABLE casrevoked"}, "no table casrevoked"},
		"real":           {[]string{"UPDATE casrevoked SET revocation_date = 2.5"}, "row 1: column revocation_date of casrevoked: is a float64"},
		"text":           {[]string{"UPDATE casrevoked SET revocation_date = 'x'"}, "is text where an integer is expected"},
		"NULL":           {[]string{"UPDATE casca SET key = NULL"}, "column key of casca: is NULL"},
		"NULL serial":    {[]string{"INSERT INTO casrevoked VALUES (NULL, 1, 2)"}, "column serial of casrevoked: is NULL"},
		"huge value":     {[]string{"UPDATE casca SET key = zeroblob(33554433)"}, "is longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
			change(t, path, tc.sql...)
			_, err := Read(t.Context(), path)
			if !errors.Is(err, caucase.ErrNotCaucase) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// Bytes that were lost may be anywhere: either all rows are there or the file is refused.
func TestDamagedDatabases(t *testing.T) {
	whole := caucasetest.Unpack(t, "0.9.17", t.TempDir())
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{4096, len(content) / 2, len(content) - 1, len(content) - 4096} {
		path := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(path, content[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), path); !errors.Is(err, caucase.ErrNotCaucase) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	for page := 1; page < len(content)/4096; page++ {
		path := filepath.Join(t.TempDir(), "zeroed")
		damaged := append([]byte(nil), content...)
		clear(damaged[page*4096 : page*4096+64])
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), path); !errors.Is(err, caucase.ErrNotCaucase) {
			t.Errorf("page %d zeroed: %v", page, err)
		}
	}
}
