package pgtest

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// ask runs a query as the owner of databases and returns its answer as text.
func ask(t *testing.T, dsn, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var answer string
	return answer, conn.QueryRow(ctx, sql).Scan(&answer)
}

func wantAnswer(t *testing.T, dsn, sql, want string) {
	t.Helper()
	if got, err := ask(t, dsn, sql); err != nil || got != want {
		t.Errorf("%s: %q, %v, want %q", sql, got, err, want)
	}
}

func TestLife(t *testing.T) {
	c := Start(t, Options{})
	begun := time.Now()
	dsn := c.NewDatabase(t)
	t.Logf("a database takes %v", time.Since(begun))
	c.Exec(t, "CREATE TABLE x (y int)")
	c.Stop(t)
	if _, err := ask(t, dsn, "SELECT 1::text"); err == nil {
		t.Error("a stopped server answers")
	}
	c.Restart(t)
	wantAnswer(t, dsn, "SELECT current_user::text", owner)
	c.Kill(t)
	if _, err := ask(t, dsn, "SELECT 1::text"); err == nil {
		t.Error("a killed server answers")
	}
	c.Restart(t)
	wantAnswer(t, dsn, "SELECT current_database()::text", "test1")
}

func TestDatabasesOfOneCluster(t *testing.T) {
	shared := Shared(Options{})
	a, b := shared(t).NewDatabase(t), shared(t).NewDatabase(t)
	if a == b {
		t.Fatal("the same database twice")
	}
	if _, err := ask(t, a, "SELECT pg_read_file('postmaster.pid')"); err == nil {
		t.Error("the owner of a database reads the server's files")
	}
}

func TestFilledDatabases(t *testing.T) {
	filled := 0
	fresh := Filled(Shared(Options{}), func(ctx context.Context, dsn string) error {
		filled++
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "CREATE TABLE kept AS SELECT 42 AS answer")
		return errors.Join(err, conn.Close(ctx))
	})
	a, b := fresh(t), fresh(t)
	wantAnswer(t, a, "UPDATE kept SET answer = 43 RETURNING answer::text", "43") // by who owns the copy
	wantAnswer(t, b, "SELECT answer::text FROM kept", "42")
	if filled != 1 {
		t.Errorf("filled %d times", filled)
	}
}

func TestStandbyTakesOver(t *testing.T) {
	primary := Start(t, Options{})
	standby := primary.Standby(t)
	primary.Exec(t, "CREATE TABLE kept AS SELECT 42 AS answer")
	primary.Kill(t)
	standby.Promote(t)
	if got := standby.Query(t, "postgres", "SELECT answer FROM kept"); got != "42" {
		t.Errorf("after the promotion: %q", got)
	}
	standby.Exec(t, "INSERT INTO kept VALUES (43)")
}

func TestTLS(t *testing.T) {
	c := Start(t, Options{TLS: true})
	dsn := c.NewDatabase(t)
	wantAnswer(t, dsn, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "true")
	if _, err := ask(t, strings.Replace(dsn, "verify-full", "disable", 1), "SELECT 1::text"); err == nil {
		t.Error("a connection without TLS is let in")
	}
}

func TestPgBouncer(t *testing.T) {
	c := Start(t, Options{})
	dsn := c.NewDatabase(t)
	for _, mode := range []string{"session", "transaction"} {
		wantAnswer(t, c.PgBouncer(t, mode).Through(t, dsn), "SELECT current_user::text", owner)
	}
}

// TestNothingIsLeft kills a process of tests and looks for its cluster.
func TestNothingIsLeft(t *testing.T) {
	if os.Getenv("CAUASE_PGTEST_VICTIM") != "" {
		c := Start(t, Options{})
		os.Stdout.WriteString("\nstarted " + c.dir + "\n")
		select {}
	}
	if _, err := programs(); err != nil {
		orSkip(t, err)
	}
	victim := exec.Command(os.Args[0], "-test.run", "^TestNothingIsLeft$")
	victim.Env = append(os.Environ(), "CAUASE_PGTEST_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		_, dir, _ = strings.Cut(lines.Text(), "started ")
	}
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	if dir == "" {
		t.Fatal("it has not started a cluster")
	}
	for range patience / look {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		time.Sleep(look) // whoever removes it is another process, which reports to nobody
	}
	t.Errorf("%s is still there", dir)
}

// Connecting is cheap, and takes the password all the same.
func TestPasswords(t *testing.T) {
	c := Start(t, Options{})
	for _, role := range []string{superuser, owner} {
		if got := c.Query(t, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'"); !strings.HasPrefix(got, "SCRAM-SHA-256$1:") {
			t.Errorf("of %s, the server keeps %q", role, got)
		}
	}
	wantAnswer(t, c.SuperuserDSN("postgres"), "SELECT current_user::text", superuser)
	dsn := c.NewDatabase(t)
	wantAnswer(t, dsn, "SELECT current_user::text", owner)
	if _, err := ask(t, strings.Replace(dsn, c.owner, "x"+c.owner, 1), "SELECT 1::text"); err == nil {
		t.Error("another password is let in")
	}
}
