package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// tree lists what is below dir, with modes and contents, to compare before and after.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		found[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found[path] += string(content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sameTree(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, content := range after {
		if was, ok := before[path]; !ok {
			t.Errorf("%s was created", path)
		} else if was != content {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			t.Errorf("%s was deleted", path)
		}
	}
}

// rawDB runs statements on a SQLite file, past everything that sqlstore sees to.
func rawDB(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func closedDB(t *testing.T, path string) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T, path string) (dsn string)
		want string // part of the error
		is   error
	}{
		{"empty name", func(*testing.T, string) string { return "" }, "is empty", nil},
		{"PostgreSQL", func(*testing.T, string) string { return "postgres://u:secret@127.0.0.1:1/d" }, "connection refused", store.ErrUnavailable},
		{"another scheme", func(*testing.T, string) string { return "mysql://h/d" }, "mysql:// are not supported", nil},
		{"directory", func(t *testing.T, path string) string {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return path
		}, "it is a directory", nil},
		{"no such folder", func(_ *testing.T, path string) string { return filepath.Join(path, "db") },
			"no such file or directory", fs.ErrNotExist},
		{"below a file", func(t *testing.T, path string) string {
			write(t, path, "x")
			return filepath.Join(path, "db")
		}, "not a directory", syscall.ENOTDIR},
		{"named pipe", func(t *testing.T, path string) string {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "not a regular file", nil},
		{"text file", func(t *testing.T, path string) string {
			write(t, path, strings.Repeat("not a database\n", 1000))
			return path
		}, "it is not a SQLite database", nil},
		{"short file", func(t *testing.T, path string) string { write(t, path, "x"); return path },
			"it is not a", nil},
		{"empty file", func(t *testing.T, path string) string { write(t, path, ""); return path },
			"it is an empty file", nil},
		{"another application's", func(t *testing.T, path string) string {
			rawDB(t, path, "PRAGMA application_id = 7", "CREATE TABLE x (y)")
			return path
		}, "it is not a database of cauase", nil},
		{"another application's, with a log", func(t *testing.T, path string) string {
			rawDB(t, path, "PRAGMA journal_mode = WAL", "CREATE TABLE x (y)")
			return path
		}, "it is not a database of cauase", nil},
		{"newer version's", func(t *testing.T, path string) string {
			closedDB(t, path)
			rawDB(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
			return path
		}, "newer version", store.ErrNewerSchema},
		{"dangling link", func(t *testing.T, path string) string {
			if err := os.Symlink(path+".gone", path); err != nil {
				t.Fatal(err)
			}
			return path
		}, "link", nil},
		{"log of a lost one", func(t *testing.T, path string) string { write(t, path+"-wal", "x"); return path },
			"db.sqlite-wal is left of a database that is gone", nil},
		{"journal of a lost one", func(t *testing.T, path string) string { write(t, path+"-journal", "x"); return path },
			"db.sqlite-journal is left", nil},
		{"name too long", func(t *testing.T, path string) string { return path + strings.Repeat("x", 300) },
			"too long", syscall.ENAMETOOLONG},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			dsn := test.make(t, filepath.Join(dir, "db.sqlite"))
			before := tree(t, dir)
			db, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q, want …%s…", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %s", err)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
			sameTree(t, before, tree(t, dir))
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWithEndedContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlstore.Open(ctx, filepath.Join(dir, "db.sqlite"), sqlstore.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPathsOfAllKinds(t *testing.T) {
	for _, name := range []string{
		"plain", "with space", "q?mode=memory", "a#b", "100%", "%41", "a&b=c", "ünï", ":memory:", "file:x", "semi;colon", `"'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // relative names, too
			db := open(t, name)
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				return tx.PutSetting(t.Context(), "", "name", name)
			}); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(".")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if suffix, ok := strings.CutPrefix(e.Name(), name); !ok || suffix != "" && suffix != "-wal" && suffix != "-shm" {
					t.Errorf("there is a file %q", e.Name())
				}
			}
		})
	}
}

func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "db.sqlite"))
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutSetting(t.Context(), "", "x", "y")
	}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("%d files, want the database, its log and the log's index", len(entries))
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v (%v)", e.Name(), info.Mode(), err)
		}
	}
}

// After Close the database is one file, ready to be copied.
func TestCloseLeavesOneFile(t *testing.T) {
	dir := t.TempDir()
	closedDB(t, filepath.Join(dir, "db.sqlite"))
	if left := tree(t, dir); len(left) != 2 {
		t.Errorf("%d files", len(left)-1)
	}
}

func TestManyOpenAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db.sqlite")
	opened := make(chan *sqlstore.DB)
	const count = 8
	for range count {
		go func() {
			db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{BusyTimeout: time.Minute})
			if err == nil {
				err = db.Update(t.Context(), func(tx store.Tx) error {
					_, err := tx.AddCounter(t.Context(), "", "opened", 1)
					return err
				})
			}
			if err != nil {
				t.Error(err)
			}
			opened <- db
		}()
	}
	var dbs []*sqlstore.DB
	for range count {
		if db := <-opened; db != nil {
			dbs = append(dbs, db)
		}
	}
	for i, db := range dbs {
		if i == 0 {
			if err := db.View(t.Context(), func(r store.Reader) error {
				n, err := r.Counter(t.Context(), "", "opened")
				if n != count {
					t.Errorf("%d of %d writes arrived", n, count)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := tree(t, dir); len(left) != 2 {
		t.Errorf("%d files are left, want the database only", len(left)-1)
	}
}

func TestPingNoticesALostFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	db := open(t, path)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	write(t, path, "something else")
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Another process, such as one that works offline on a daemon's database, keeps the lock.
func TestLockedByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{BusyTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other := open(t, path)
	write := func(tx store.Tx) error { return tx.PutSetting(t.Context(), "", "x", "y") }
	if err := other.Update(t.Context(), func(tx store.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		if err := db.Update(t.Context(), write); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Update: %v", err)
		}
		if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Ping: %v", err)
		}
		// Reading goes on.
		return db.View(t.Context(), func(r store.Reader) error {
			_, err := r.Counter(t.Context(), "", "x")
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), write); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
