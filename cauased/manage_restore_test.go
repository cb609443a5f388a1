package main

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca/catest"
	"cauase/pkg/dump"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// A desk is where somebody works who is a user: a folder with files.
type desk struct {
	t   *testing.T
	dir string
	db  string
}

// newDesk has the database of a daemon that was stopped, and a backup of it, which user.key opens.
func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{t: t, dir: t.TempDir()}
	r := launch(t, testConfig(t, d.dir), time.Now())
	d.key("user.key", catest.FirstUser(t, catest.Named(t, r, store.Users)))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	d.db = d.path("db.sqlite")
	testkit.CheckJSON(t, jsonPage, "backup", manages(t, "backup", "--json", "--db", d.db, d.path("backup")))
	return d
}

func (d desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d desk) write(name string, data []byte) string {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.path(name)
}

func (d desk) key(name string, key crypto.Signer) string {
	d.t.Helper()
	return d.write(name, pkitest.KeyPEM(d.t, key))
}

// request makes a key and a request for it, NAME.key and NAME.csr.
func (d desk) request(name string) string {
	d.t.Helper()
	key := pkitest.Key(d.t)
	d.key(name+".key", key)
	return d.write(name+".csr", pkitest.NamedRequest(d.t, key, name))
}

// A backup taken on one kind of database is restored to the other, and back, each time by the user who
// restored it last; what it holds stays the same but for what a restore changes.
func TestRestoreAcrossDatabases(t *testing.T) {
	t.Setenv("CAUASED_KEY_SECRET", filepath.Join(t.TempDir(), "secret"))
	server := postgres(t)
	d := newDesk(t)
	key, backup := d.path("user.key"), d.path("backup")
	var numbers []int64
	for i, dsn := range []string{server.NewDatabase(t), d.path("again.sqlite"), server.NewDatabase(t)} {
		name := fmt.Sprint("next", i)
		out := manages(t, "restore", "--json", "--db", dsn, backup, key, d.request(name), d.path(name+".crt"))
		testkit.CheckJSON(t, jsonPage, "restored", out)
		var restored struct {
			manage.Restored
			Certificate string
			Lost        []string
		}
		if err := json.Unmarshal([]byte(out), &restored); err != nil {
			t.Fatal(err)
		}
		crt, err := os.ReadFile(d.path(name + ".crt"))
		if err != nil || string(crt) != restored.Certificate || restored.User != "CN=alice" || len(restored.Lost) < 4 || restored.ID == 0 {
			t.Errorf("%s: %s %v", dsn, out, err)
		}
		numbers = append(numbers, restored.CRLNumbers[0].Number)
		manages(t, "check", "--db", dsn)
		before := d.summary(dsn)
		backup, key = d.path(fmt.Sprint("backup", i)), d.path(name+".key")
		manages(t, "backup", "--db", dsn, backup)
		if after := d.summary(dsn); !sameBut(before, after, "audit") {
			t.Errorf("%s: a backup changes the database: %s", dsn, before.Diff(after))
		}
		printsJSON(t, "drilled", "drill", backup, key)
		printsJSON(t, "contents", "restore", "--dry-run", backup, key)
	}
	if numbers[1]-numbers[0] < 1<<40 || numbers[2]-numbers[1] < 1<<40 {
		t.Errorf("numbers of revocation lists: %d", numbers)
	}
}

func (d desk) summary(dsn string) (sum dump.Summary) {
	d.t.Helper()
	db := openDB(d.t, dsn)
	defer db.Close()
	err := db.View(d.t.Context(), func(r store.Reader) (err error) {
		sum, err = dump.Summarize(d.t.Context(), r)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return sum
}

func sameBut(a, b dump.Summary, kind string) bool {
	diff := strings.TrimPrefix(a.Diff(b), "log: as many rows, but not the same, ") // whose head each entry moves
	return diff == "" || strings.HasPrefix(diff, kind+": ") && !strings.Contains(diff, ", ")
}

// Wrong command lines and files: an error with a hint where there is one, and nothing new.
func TestRestoreCommandRefuses(t *testing.T) {
	d := newDesk(t)
	backup, key, csr := d.path("backup"), d.path("user.key"), d.request("next")
	crt := d.path("next.crt")
	fresh := []string{"restore", "--db", d.path("new.sqlite")}
	for _, ending := range []string{"-wal", "-shm", "-journal"} {
		d.write("lost"+ending+".sqlite"+ending, []byte("of a database that is gone"))
	}
	before := testkit.Files(t, d.dir)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no arguments":          {fresh, "BACKUP, KEY, CSR and CRT are needed"},
		"too many":              {append(fresh, backup, key, csr, crt, "x"), "are needed"},
		"dry run, three":        {append(fresh, "--dry-run", backup, key, csr), "needs BACKUP and KEY"},
		"drill, one":            {[]string{"drill", backup}, "BACKUP and KEY are needed"},
		"drill, not there":      {[]string{"drill", backup + "x", key}, "no such file"},
		"drill, nowhere":        {[]string{"drill", "--directory", d.path("no"), backup, key}, "no such file"},
		"backup, none":          {[]string{"backup", "--db", d.db}, "one directory or file"},
		"backup, no database":   {[]string{"backup", "--db", d.path("no.sqlite"), d.path("b")}, "no such file"},
		"backup is a directory": {append(fresh, d.dir, key, csr, crt), "not a regular file"},
		"key is none":           {append(fresh, backup, csr, csr, crt), "there is no private key"},
		"csr is none":           {append(fresh, backup, key, key, crt), "CSR: "},
		"csr is not there":      {append(fresh, backup, key, d.path("no"), crt), "no such file"},
		"crt is there":          {append(fresh, backup, key, csr, csr), "the new certificate replaces nothing"},
		"crt is a directory":    {append(fresh, backup, key, csr, d.dir), "replaces nothing"},
		"validity of nothing":   {append(fresh, "--user-crt-validity", "0", backup, key, csr, crt), "--user-crt-validity"},
		"validity of ages":      {append(fresh, "--user-crt-validity", "1e9", backup, key, csr, crt), "--user-crt-validity"},
		"database in use":       {[]string{"restore", "--db", d.db, backup, key, csr, crt}, "into an empty database"},
		"database without name": {[]string{"restore", "--db", "", backup, key, csr, crt}, "is empty"},
		"database nowhere":      {[]string{"restore", "--db", d.path("no/db"), backup, key, csr, crt}, "no such file"},
		"log of a lost one":     {[]string{"restore", "--db", d.path("lost-wal.sqlite"), backup, key, csr, crt}, "-wal is left of"},
		"index of a lost one":   {[]string{"restore", "--db", d.path("lost-shm.sqlite"), backup, key, csr, crt}, "-shm is left of"},
		"journal of a lost one": {[]string{"restore", "--db", d.path("lost-journal.sqlite"), backup, key, csr, crt}, "-journal is left of"},
		"copy beside a log":     {[]string{"copy", "--db", d.db, "--to", d.path("lost-wal.sqlite")}, "-wal is left of"},
		"a backup as database":  {[]string{"restore", "--db", backup, backup, key, csr, crt}, "not a SQLite database"},
	} {
		stdout, stderr, code := manageCommand(t.Context(), c.args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "cauased: error: ") || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %s%s, want %s", name, code, stdout, stderr, c.want)
		}
		if after := testkit.Files(t, d.dir); strings.Join(after, " ") != strings.Join(before, " ") {
			t.Fatalf("%s: %q, then %q", name, before, after)
		}
	}
}

// A database that somebody else has made meanwhile is not replaced.
func TestFillNewReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	c := urfave.NewContext(nil, nil, &urfave.Context{Context: t.Context()})
	err := fillNew(c, flagDB, path, func(store.Store) error { return os.WriteFile(path, []byte("theirs"), 0o600) })
	if !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "theirs" || len(testkit.Files(t, filepath.Dir(path))) != 1 {
		t.Errorf("%q %v, %q", data, err, testkit.Files(t, filepath.Dir(path)))
	}
}

// Of the private directories of drills, those that somebody uses stay, and so do others'.
func TestScratch(t *testing.T) {
	dir := t.TempDir()
	used, err := openScratch(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(dir, scratchPrefix+"orphan")
	for path, mode := range map[string]os.FileMode{orphan: 0o700, filepath.Join(dir, scratchPrefix+"open"): 0o755, filepath.Join(dir, "else"): 0o700} {
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(orphan, "db"), []byte("keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := openScratch(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the orphan is there: %v", err)
	}
	for _, s := range []*scratch{used, next} {
		if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", info, err)
		}
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	}
	if got := testkit.Files(t, dir); len(got) != 2 {
		t.Errorf("left: %q", got)
	}
}
