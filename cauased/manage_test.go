package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

// manageCommand runs a command of cauased manage, and returns what it prints and exits with.
func manageCommand(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{tool, "manage"}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

// manages fails the test unless the command succeeds.
func manages(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := manageCommand(t.Context(), args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// managesNot fails the test unless the command is refused, and returns what it says.
func managesNot(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := manageCommand(t.Context(), args...)
	if code == 0 || stdout != "" {
		t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stderr
}

// lived is the database of a daemon that has run for a moment and had its first user.
func lived(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	r := launch(t, testConfig(t, dir), time.Now())
	catest.FirstUser(t, catest.Named(t, r, store.Users))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "db.sqlite")
}

func openDB(t *testing.T, dsn string) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{BusyTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestManageCopy(t *testing.T) {
	db := lived(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "to.sqlite")
	var first, second copyJSON
	copied := manages(t, "copy", "--db", db, "--to", to, "--json")
	testkit.CheckJSON(t, jsonPage, "copied", copied)
	if err := json.Unmarshal([]byte(copied), &first); err != nil {
		t.Fatal(err)
	}
	if first.From != db || first.To != to || first.Rows.Rows() < 10 {
		t.Errorf("%+v", first)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if names := testkit.Files(t, dir); !slices.Equal(names, []string{"to.sqlite"}) {
		t.Errorf("%q", names)
	}
	manages(t, "check", "--db", to)
	log := manages(t, "audit", "--db", to, "--newest", "--limit", "1")
	if !strings.Contains(log, "database.copy") || !strings.Contains(log, "copied from "+db) || !strings.Contains(log, "by operator") {
		t.Error(log)
	}
	// The same again, into an empty database that is there.
	third := filepath.Join(dir, "third.sqlite")
	if err := openDB(t, third).Close(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(manages(t, "copy", "--db", db, "--to", third, "--json")), &second); err != nil {
		t.Fatal(err)
	}
	if diff := first.Rows.Diff(second.Rows); diff != "" {
		t.Error(diff)
	}
	text := manages(t, "copy", "--db", to, "--to", filepath.Join(dir, "fourth.sqlite"))
	for _, want := range []string{"certificate ", "read back and compared", "What to do next", "Never start one with the original again"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

func TestManageCopyRefuses(t *testing.T) {
	db := lived(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	for name, err := range map[string]error{
		"symlink": os.Symlink(db, path("symlink")), "hardlink": os.Link(db, path("hardlink")),
		"dangling": os.Symlink(path("nowhere/at/all"), path("dangling")),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	manages(t, "copy", "--db", db, "--to", path("full.sqlite"))
	held, err := os.ReadFile(path("full.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before := testkit.Files(t, dir)
	for _, test := range []struct {
		name string
		ctx  context.Context
		args []string
		want string
	}{
		{"no target", t.Context(), []string{"--db", db}, "--to is required"},
		{"an argument", t.Context(), []string{"--db", db, "--to", path("a"), "b"}, "unexpected argument: b"},
		{"no original", t.Context(), []string{"--db", path("no"), "--to", path("a")}, "--db: stat"},
		{"itself", t.Context(), []string{"--db", db, "--to", db}, "are the same database"},
		{"itself by another path", t.Context(), []string{"--db", db, "--to", filepath.Dir(db) + "/./" + filepath.Base(db)}, "are the same database"},
		{"itself by a symlink", t.Context(), []string{"--db", db, "--to", path("symlink")}, "are the same database"},
		{"itself by a hard link", t.Context(), []string{"--db", db, "--to", path("hardlink")}, "are the same database"},
		{"not empty", t.Context(), []string{"--db", db, "--to", path("full.sqlite")}, "--to: the database to copy to is not empty"},
		{"something else", t.Context(), []string{"--db", db, "--to", write("text", "hello")}, "is not a"},
		{"a directory", t.Context(), []string{"--db", db, "--to", dir}, "directory"},
		{"nowhere", t.Context(), []string{"--db", db, "--to", path("no/where")}, "no such file"},
		{"a dangling link", t.Context(), []string{"--db", db, "--to", path("dangling")}, ""},
		{"an original that is none", t.Context(), []string{"--db", write("text", "hello"), "--to", path("a")}, "is not a"},
		{"another kind of database", t.Context(), []string{"--db", db, "--to", "mysql://root:secret@localhost/x"}, "mysql:// are not supported"},
		{"a server that is not there", t.Context(), []string{"--db", db, "--to", "postgres://u:secret@127.0.0.1:1/x?connect_timeout=1"}, "postgres://u@127.0.0.1:1/x"},
		{"interrupted", ended, []string{"--db", db, "--to", path("a")}, "canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, code := manageCommand(test.ctx, append([]string{"copy"}, test.args...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, "cauased: error: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, %q, want %q", code, stderr, test.want)
			}
			if strings.Contains(stdout+stderr, "secret") {
				t.Error("a password is shown: ", stderr)
			}
		})
	}
	after := testkit.Files(t, dir)
	after = slices.DeleteFunc(after, func(name string) bool { return name == "text" })
	if !slices.Equal(after, before) {
		t.Errorf("left behind: %q, before %q", after, before)
	}
	if now, err := os.ReadFile(path("full.sqlite")); err != nil || !bytes.Equal(now, held) {
		t.Error("a database that was refused has changed", err)
	}
}

// While a copy is under way, a daemon does not write what would be lost; afterwards it goes on.
func TestManageCopyBesideDaemon(t *testing.T) {
	dir := t.TempDir()
	r := launch(t, testConfig(t, dir), time.Now())
	catest.FirstUser(t, catest.Named(t, r, store.Users))
	manages(t, "copy", "--db", filepath.Join(dir, "db.sqlite"), "--to", filepath.Join(dir, "to.sqlite"))
	if status, body := testkit.Get(t, r.httpURL("/cas/crl")); status != 200 {
		t.Error(status, body)
	}
}

func TestManageCopyPostgres(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	db, dsn, other := lived(t), server.NewDatabase(t), server.NewDatabase(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	back := filepath.Join(t.TempDir(), "back.sqlite")
	var sums []copyJSON
	for _, step := range [][2]string{{db, dsn}, {dsn, other}, {other, back}} {
		out := manages(t, "copy", "--db", step[0], "--to", step[1], "--json")
		var c copyJSON
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, c)
		for _, name := range []string{"check", "status"} {
			out += manages(t, name, "--db", step[1])
		}
		out += manages(t, "audit", "--db", step[1], "--json")
		if secret != "" && strings.Contains(out, secret) {
			t.Error("a password is shown: ", out)
		}
	}
	for _, c := range sums[1:] {
		if diff := c.Rows.Diff(sums[0].Rows); !strings.HasPrefix(diff, "log: as many rows, but not the same, audit: ") {
			t.Errorf("from %s: %s", c.From, diff)
		}
	}
	for _, args := range [][]string{{"--db", db, "--to", dsn}, {"--db", dsn, "--to", dsn}} {
		if _, stderr, code := manageCommand(t.Context(), append([]string{"copy"}, args...)...); code != 1 || secret != "" && strings.Contains(stderr, secret) {
			t.Error(code, stderr)
		}
	}
}

func TestManageCheck(t *testing.T) {
	db := lived(t)
	var got checkJSON
	check := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := manageCommand(t.Context(), append([]string{"check"}, args...)...)
		if code != want {
			t.Errorf("%q: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout + stderr
	}
	if out := check(0, "--db", db); !strings.Contains(out, "0 errors, 0 warnings") {
		t.Error(out)
	}
	s := openDB(t, db)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.AddCounter(t.Context(), store.Services, store.CounterCA, -1)
		return errors.Join(err, tx.PutSetting(t.Context(), store.Users, "x", "y"))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	out := check(1, "--db", db)
	for _, want := range []string{"error: authority cas: counter ca is 0, and there are 1 CAs", "warning: setting cau x: this version does not know it",
		"1 errors, 1 warnings", "cauased: error: check: 1 errors were found", "cauased: hint: "} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	stdout, _, code := manageCommand(t.Context(), "check", "--db", db, "--json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 {
		t.Fatal(code, err)
	}
	testkit.CheckJSON(t, jsonPage, "check", stdout)
	if !got.Complete || got.Errors != 1 || got.Warnings != 1 || len(got.Findings) != 2 || got.Rows.Rows() == 0 {
		t.Errorf("%+v", got)
	}
	for _, args := range [][]string{{"--db", db + "x"}, {"--db", db, "more"}, {"--what"}, {"--db", t.TempDir()}} {
		if out := check(2, args...); !strings.HasPrefix(out, "cauased: error: ") {
			t.Error(out)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if out, errs, code := manageCommand(ended, "check", "--db", db, "--json"); code != 2 || strings.Contains(out, `"complete":true`) {
		t.Error(code, out, errs)
	}
}

func TestManageStatus(t *testing.T) {
	db := lived(t)
	for _, step := range []struct {
		name  string
		wants []string
	}{
		{"fresh", []string{"SQLite 3.", "last backup: none is recorded", "cau: 1 certificates, 1 of them valid", "active", "next CA: due at ", "(in 185 days)",
			"automatic approval: not locked; 1 requests", "https: 1 certificates"}},
		{"chosen", []string{"next CA key: ed25519, as chosen", "automatic approval: locked at the first 3"}},
	} {
		if step.name == "chosen" {
			manages(t, "next-key-type", "--db", db, "--authority", "cau", "ed25519")
			s := openDB(t, db)
			err := s.Update(t.Context(), func(tx store.Tx) error {
				return tx.PutSetting(t.Context(), store.Users, store.SettingAutoApprove, "3")
			})
			if err = errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
		}
		out := manages(t, "status", "--db", db)
		for _, want := range step.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", step.name, want, out)
			}
		}
	}
	var got statusJSON
	asJSON := manages(t, "status", "--db", db, "--json", "--user-crt-validity", "186")
	testkit.CheckJSON(t, jsonPage, "database", asJSON)
	if err := json.Unmarshal([]byte(asJSON), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Authorities) != 3 || got.Place != db || got.Database.Layout == 0 || got.Authorities[0].Total != 1 || *got.Authorities[0].Locked != 3 {
		t.Errorf("%+v", got)
	}
	// A CA that has two spans left, of spans twice as long.
	if next := got.Authorities[0].NextCA; next == nil || time.Until(*next).Abs() > time.Hour {
		t.Errorf("next CA at %v", next)
	}
	t.Setenv("CAUASED_SERVICE_CRT_VALIDITY", "-1")
	if _, stderr, code := manageCommand(t.Context(), "status", "--db", db); code != 1 || !strings.Contains(stderr, "CAUASED_SERVICE_CRT_VALIDITY") {
		t.Error(code, stderr)
	}
}

func TestRowMeter(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal bool
		want     string
	}{
		{"log", false, "copying: 2560 rows, 512/s, at kind audit\ncopying: 5120 rows, 512/s, at kind audit\n"},
		{"terminal", true, "\r\x1b[Kcopying: 512 rows, 512/s, at kind audit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			clk := clock.NewFake(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
			m := newRowMeter(clk, &out)
			m.terminal = test.terminal
			for n := range int64(10_000) {
				if (n+1)%lookEvery == 0 {
					clk.Advance(time.Second)
				}
				m.rows("copying", "audit", n+1)
			}
			m.clear()
			if !strings.HasPrefix(out.String(), test.want) {
				t.Errorf("%q", out.String())
			}
			if test.terminal && !strings.HasSuffix(out.String(), "\r\x1b[K") {
				t.Errorf("something stays on the line: %q", out.String())
			}
		})
	}
}
