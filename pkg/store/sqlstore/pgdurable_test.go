package sqlstore

import (
	"log/slog"
	"strings"
	"testing"

	"cauase/pkg/store"
)

// Marks stay until nobody can ask for them any more.
func TestPostgresMarks(t *testing.T) {
	server := postgres(t)
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	count := func() string {
		return server.Query(t, database(t, dsn), "SELECT count(*) FROM commit_mark")
	}
	for n := range int64(2*keptMarks + 5) {
		if err := revoke(t.Context(), db, n+1, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(); len(n) != 4 || n > "1100" {
		t.Errorf("%s marks after %d commits", n, 2*keptMarks)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if n := count(); n != "0" {
		t.Errorf("%s marks after Close", n)
	}
	run(t, dsn, `INSERT INTO commit_mark VALUES ('old', 1, now() - interval '8 days'), ('new', 1, now())`)
	mustOpen(t, dsn)
	if n := count(); n != "1" {
		t.Errorf("%s marks after Open", n)
	}
}

func TestPostgresWarnings(t *testing.T) {
	var log strings.Builder
	info := serverInfo{fsync: "off", durable: "on"}
	cfg, err := parsePostgres("postgres://db.example.org/x?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	warnOf(t.Context(), cfg, info, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, want := range []string{"verify-full", "fsync=off"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s lacks %s", log.String(), want)
		}
	}
}

// Whatever a role or a database is set to, commits are durable and wait for standbys, unless the
// address says otherwise.
func TestCommitsAreDurable(t *testing.T) {
	server := postgres(t)
	for set, want := range map[string]string{"off": "on", "local": "on", "remote_apply": "remote_apply"} {
		dsn := server.NewDatabase(t)
		run(t, dsn, "ALTER DATABASE "+database(t, dsn)+" SET synchronous_commit = "+set)
		if got := commitsOf(t, dsn); got != want {
			t.Errorf("%s becomes %s, want %s", set, got, want)
		}
	}
	dsn := server.NewDatabase(t)
	if got := commitsOf(t, with(t, dsn, "synchronous_commit", "local")); got != "local" {
		t.Errorf("the address says local, and it is %s", got)
	}
}

// commitsOf is synchronous_commit as the session that writes has it.
func commitsOf(t *testing.T, dsn string) (value string) {
	t.Helper()
	err := mustOpen(t, dsn).Update(t.Context(), func(s store.Tx) (err error) {
		value, err = one(t.Context(), s.(tx).handle, scalar[string], `SELECT current_setting('synchronous_commit')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}
