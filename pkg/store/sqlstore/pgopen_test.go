package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cauase/pkg/pgtest"
	"cauase/pkg/store"
)

// database is the name of the database in a DSN.
func database(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// run runs statements as the role of dsn.
func run(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func refuse(t *testing.T, dsn, want string, is error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	db, err := Open(ctx, dsn, Options{})
	if err == nil {
		_ = db.Close()
		t.Fatalf("%s was opened", dsn)
	}
	if !strings.Contains(err.Error(), want) || is != nil && !errors.Is(err, is) {
		t.Errorf("error %v, want …%s… (%v)", err, want, is)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %v", err)
	}
	if strings.Contains(err.Error(), "secret-word") {
		t.Errorf("the error shows the password: %v", err)
	}
	if u, e := url.Parse(dsn); e == nil {
		if password, set := u.User.Password(); set && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func replace(t *testing.T, dsn string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// with adds a parameter to a DSN.
func with(t *testing.T, dsn, name, value string) string {
	t.Helper()
	return replace(t, dsn, func(u *url.URL) {
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // as libpq reads it
	})
}

func TestPostgresOpenRefuses(t *testing.T) {
	server := postgres(t)
	dsn := server.NewDatabase(t)
	server.Exec(t, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE latin") })
	refuse(t, replace(t, dsn, func(u *url.URL) { u.User = url.UserPassword("cauase", "wrong-word") }), "password", store.ErrUnavailable)
	refuse(t, replace(t, dsn, func(u *url.URL) { u.Path = "/nowhere" }), "no such database", store.ErrUnavailable)
	refuse(t, server.DSN("latin"), "LATIN1", nil)
	refuse(t, with(t, dsn, "search_path", "nowhere"), "search_path", nil)
	refuse(t, with(t, dsn, "pool_max_conns", "0"), "pool_max_conns", nil)
	refuse(t, with(t, dsn, "sslmode", "what"), "sslmode", nil)
	refuse(t, with(t, dsn, "no_such_setting", "1"), "no_such_setting", nil)
	refuse(t, "postgres://u:secret-word@[::1/d", "cannot be understood", nil)
	refuse(t, "postgres://u:secret-word%zz@h/d", "cannot be understood", nil)
	refuse(t, "postgres://u:se@secret-word@127.0.0.1:1/d", "cannot be understood", nil)
	refuse(t, "host=127.0.0.1 dbname=d password=secret-word", "is a URL", nil)
	refuse(t, "postgres:u:secret-word@127.0.0.1:1/d", "is a URL", nil)
	refuse(t, "postgres://u:secret-word@127.0.0.1:1/d", "refused", store.ErrUnavailable)

	silent := listenSilently(t)
	refuse(t, replace(t, dsn, func(u *url.URL) { u.Host = silent }), "", store.ErrUnavailable)
}

func TestRedact(t *testing.T) {
	for dsn, want := range map[string]string{
		"/var/lib/a.sqlite":                         "/var/lib/a.sqlite",
		"/var/lib/user=me/a b.sqlite":               "/var/lib/user=me/a b.sqlite",
		"host=h dbname=d password=a://b":            "…",
		"postgres:u:p@h/d":                          "…",
		"postgres://u:p@h:1/d":                      "postgres://u@h:1/d",
		"postgresql://u:p%40x@h,i/d?sslmode=q":      "postgresql://u@h,i/d?sslmode=q",
		"postgres://h/d?user=u&password=p&sslkey=k": "postgres://h/d?sslkey=k&user=u",
		"postgres://h/d?sslpassword=p&passfile=f":   "postgres://h/d?passfile=f",
		"postgres://h/d?search_path=a%20b%2Bc+d":    "postgres://h/d?search_path=a%20b%2Bc%2Bd",
		"postgres://u:p@h/d#f":                      "postgres://u@h/d",
		"postgres://u:p@[::1/d":                     "postgres://…",
		"postgres://u:p%zz@h/d":                     "postgres://…",
		"postgres://u:p;q@h/d?a=%zz":                "postgres://…",
		"postgres://u:12/34@h/d":                    "postgres://…",
		"postgres://u:p@x@h/d":                      "postgres://…",
		"postgres://u:12?34@h/d":                    "postgres://…",
		"postgres://u:12#34@h/d":                    "postgres://…",
	} {
		if got := Redact(dsn); got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}

// However a URL is garbled, no message shows its password.
func FuzzRedact(f *testing.F) {
	for _, seed := range [][2]string{{"u", ""}, {"u", "/x"}, {"u", "?x"}, {"u", "#"}, {"u", "@x"}, {"u", "%zz"}, {"[::1]", ""}, {"h/d?user=u", "&a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRETWORD"
		dsn := "postgres://" + before + ":" + secret + after + "@127.0.0.1:1/d"
		if got := Redact(dsn); strings.Contains(got, secret) {
			t.Errorf("%q is shown as %q", dsn, got)
		}
		if _, err := parsePostgres(dsn); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", dsn, err)
		}
	})
}

func TestPostgresManyStartAtOnce(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	dbs := make([]*DB, 10)
	var group sync.WaitGroup
	for i := range dbs {
		group.Go(func() {
			db, err := Open(t.Context(), with(t, dsn, "pool_max_conns", "2"), Options{})
			if err != nil {
				t.Error(err)
				return
			}
			dbs[i] = db
			if err := revoke(t.Context(), db, int64(i+1), ""); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, db := range dbs {
		if db != nil {
			if there := checkPairs(t, db); len(there) != len(dbs) {
				t.Errorf("%d are there", len(there))
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPostgresNewerSchema(t *testing.T) {
	server := postgres(t)
	dsn := server.NewDatabase(t)
	mustOpen(t, dsn).Close()
	run(t, dsn, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)")
	before := server.Query(t, database(t, dsn), "SELECT count(*) || ' ' || max(oid) FROM pg_class")
	refuse(t, dsn, "its layout is 999", store.ErrNewerSchema)
	if after := server.Query(t, database(t, dsn), "SELECT count(*) || ' ' || max(oid) FROM pg_class"); after != before {
		t.Errorf("changed: %s, %s", before, after)
	}
}

// A role that may use what is there, and nothing else, is enough, except to make the layout.
func TestPostgresLeastPrivilege(t *testing.T) {
	server := postgres(t)
	dsn := server.NewDatabase(t)
	name := database(t, dsn)
	least := replace(t, dsn, func(u *url.URL) { u.User = url.UserPassword("least_"+name, "word") })
	server.Exec(t, fmt.Sprintf("CREATE ROLE least_%s LOGIN PASSWORD 'word'", name))
	refuse(t, least, "our role may not change it", store.ErrUnavailable)
	mustOpen(t, dsn).Close()
	refuse(t, least, "privilege", store.ErrUnavailable)
	run(t, dsn, fmt.Sprintf(`
		GRANT USAGE ON SCHEMA public TO least_%[1]s;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO least_%[1]s;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO least_%[1]s`, name))
	source := mustOpen(t, filepath.Join(t.TempDir(), "db.sqlite"))
	ctx := t.Context()
	l := newLedger()
	l.load(t, source, 1, 1, 50)
	if err := source.Update(ctx, func(tx store.Tx) error {
		_, err := tx.AddCA(ctx, store.CA{Authority: store.Users})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, least)
	err := source.View(ctx, func(r store.Reader) error {
		return db.Update(ctx, func(tx store.Tx) error {
			return tx.Load(ctx, func(yield func(store.Row, error) bool) {
				_ = r.Rows(ctx, func(row store.Row) error {
					if !yield(row, nil) {
						return errors.New("enough")
					}
					return nil
				})
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	l.load(t, db, 1000, 4, 10)
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := db.Update(ctx, func(tx store.Tx) error {
		id, err := tx.AddCA(ctx, store.CA{Authority: store.Users})
		if id != 2 {
			t.Errorf("the next CA is %d", id)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	l.check(t, db)
}

func TestPostgresSchemas(t *testing.T) {
	server := postgres(t)
	dsn := server.NewDatabase(t)
	run(t, dsn, `CREATE SCHEMA one; CREATE SCHEMA "Two, ""2""";`)
	var group sync.WaitGroup
	dbs := map[string]*DB{}
	var mu sync.Mutex
	for _, path := range []string{"one", `"Two, ""2""", one`, "public"} {
		group.Go(func() {
			db, err := Open(t.Context(), with(t, dsn, "search_path", path), Options{})
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			t.Cleanup(func() { _ = db.Close() })
			newLedger().load(t, db, int64(len(path)), 4, 10)
			mu.Lock()
			dbs[path] = db
			mu.Unlock()
		})
	}
	group.Wait()
	for path, db := range dbs {
		if d, err := db.Describe(t.Context()); err != nil || d.Bytes == 0 {
			t.Errorf("%s: %+v, %v", path, d, err)
		}
		if problems, err := db.Integrity(t.Context()); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", path, problems, err)
		}
		if there := checkPairs(t, db); len(there) != 40 || !there[int64(len(path))] {
			t.Errorf("%s: %d", path, len(there))
		}
	}
}

func TestPostgresTLS(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TLS: true})
	dsn := server.NewDatabase(t)
	db := mustOpen(t, dsn)
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	refuse(t, with(t, dsn, "sslmode", "disable"), "no encryption", store.ErrUnavailable)
	refuse(t, replace(t, dsn, func(u *url.URL) {
		q := u.Query()
		q.Del("sslrootcert")
		u.RawQuery = q.Encode()
	}), "certificate", store.ErrUnavailable)
}

func TestPostgresBouncer(t *testing.T) {
	server := postgres(t)
	dsn := server.NewDatabase(t)
	run(t, dsn, "CREATE SCHEMA other")
	session := server.PgBouncer(t, "session")
	transaction := server.PgBouncer(t, "transaction")
	statement := server.PgBouncer(t, "statement")
	db := mustOpen(t, with(t, session.Through(t, dsn), "search_path", "other"))
	l := newLedger()
	l.load(t, db, 1, 8, 20)
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	l.check(t, db)
	if n := server.Query(t, database(t, dsn), "SELECT count(*) FROM other.revocation"); n != "160" {
		t.Errorf("%s are there", n)
	}
	refuse(t, transaction.Through(t, dsn), "pool_mode = session", nil)
	refuse(t, statement.Through(t, dsn), "", nil)
}

func TestPostgresStandby(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	dsn := primary.NewDatabase(t)
	db := mustOpen(t, dsn)
	standby := primary.Standby(t)
	away := standby.DSN(database(t, dsn))
	refuse(t, away, "read-only", store.ErrUnavailable)
	l := newLedger()
	l.load(t, db, 1, 4, 10)

	both := replace(t, dsn, func(u *url.URL) {
		s, _ := url.Parse(away)
		u.Host = s.Host + "," + u.Host
	})
	follower := mustOpen(t, both)
	l.load(t, follower, 100, 4, 10)
	var group sync.WaitGroup
	group.Go(func() { l.load(t, follower, 1000, 8, 20) })
	primary.Kill(t)
	standby.Promote(t)
	group.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for follower.Ping(ctx) != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond) // a Ping fails at once while the server is known to be away
	}
	l.load(t, follower, 5000, 4, 10)
	l.check(t, mustOpen(t, away))
	if len(l.done) < 120 {
		t.Errorf("only %d were done: %v", len(l.done), l.failed)
	}
}

// With all connections of the server taken, those that we have go on working.
func TestPostgresTooManyConnections(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Config: []string{"max_connections = 12", "superuser_reserved_connections = 3"}})
	dsn := server.NewDatabase(t)
	db := mustOpen(t, dsn)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			break
		}
		defer conn.Close(context.Background())
	}
	refuse(t, dsn, "too many connections", store.ErrUnavailable)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				if err := look(t.Context(), db); err != nil && !strings.Contains(err.Error(), "too many connections") {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPostgresPasswordFile(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	dsn := server.NewDatabase(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(file, []byte("127.0.0.1:*:*:cauase:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, fmt.Appendf(nil, "[ca]\nhost=%s\nport=%s\ndbname=%s\nuser=cauase\n", u.Hostname(), u.Port(), u.Path[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", file)
	t.Setenv("PGSERVICEFILE", services)
	for _, dsn := range []string{replace(t, dsn, func(u *url.URL) { u.User = url.User("cauase") }), "postgres://?service=ca&sslmode=disable"} {
		db := mustOpen(t, dsn)
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
		// A password that changes is read anew.
		server.Exec(t, "ALTER ROLE cauase PASSWORD 'another'")
		end := fmt.Sprintf("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '%s'", u.Path[1:])
		server.Exec(t, end)
		if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "password") {
			t.Errorf("with an old password: %v", err)
		}
		if err := os.WriteFile(file, []byte("127.0.0.1:*:*:cauase:another\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		await(t, db)
		server.Exec(t, fmt.Sprintf("ALTER ROLE cauase PASSWORD '%s'", password))
		if err := os.WriteFile(file, []byte("127.0.0.1:*:*:cauase:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
