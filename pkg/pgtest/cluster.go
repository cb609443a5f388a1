package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "postgres"
	owner     = "cauase" // of the tests' databases; may do nothing else
	patience  = time.Minute
	look      = 10 * time.Millisecond // how often a condition is looked at
)

// A Cluster is a running PostgreSQL. Its methods that change whether it runs are not for use by
// several goroutines at once.
type Cluster struct {
	options  Options
	bin      string              // folder of the server's programs
	who      *syscall.Credential // who runs them; nil: who runs the tests
	dir      string
	name     string // of this server among the cluster's
	password string // of the superuser
	owner    string // password of the role with that name
	dog      *watchdog
	port     int
	server   *exec.Cmd
	exited   chan error
	numbers  atomic.Int64 // of databases and standbys
}

func (c *Cluster) data() string {
	if c.options.Data != "" {
		return filepath.Join(c.options.Data, c.name)
	}
	return filepath.Join(c.dir, c.name)
}

func (c *Cluster) log() string { return filepath.Join(c.dir, c.name+".log") }

// Address is where the server listens, as host:port. It survives Restart.
func (c *Cluster) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// NewDatabase makes an empty database and returns its address, for a role that owns it and may do
// nothing else. It goes with the test.
func (c *Cluster) NewDatabase(t testing.TB) string {
	t.Helper()
	return c.copyOf(t, "template0")
}

// copyOf makes a copy of a database to which nobody is connected, and returns its address. It goes with the test.
func (c *Cluster) copyOf(t testing.TB, template string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name, err := c.copy(ctx, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test may have stopped the server.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.execute(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	return c.DSN(name)
}

// copy makes a copy that stays, and returns its name.
func (c *Cluster) copy(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("test%d", c.numbers.Add(1))
	// Of a small template, copying the files takes a tenth of what logging every page does.
	return name, c.execute(ctx, fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE %s STRATEGY file_copy", name, owner, template))
}

// template makes a database that fill fills, for copies, and returns its name. Nobody connects to it after that.
func (c *Cluster) template(ctx context.Context, fill func(ctx context.Context, dsn string) error) (string, error) {
	name, err := c.copy(ctx, "template0")
	if err != nil {
		return "", err
	}
	if err := fill(ctx, c.DSN(name)); err != nil {
		return "", err
	}
	if err := c.execute(ctx, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false"); err != nil {
		return "", err
	}
	// The server may still be busy with ending a session whose client is gone.
	return name, c.settle(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+name+"'", "0")
}

// DSN is the address of a database for the role that owns databases.
func (c *Cluster) DSN(database string) string {
	return c.dsn(url.UserPassword(owner, c.owner), database)
}

// SuperuserDSN is the address of a database for the role that may do everything.
func (c *Cluster) SuperuserDSN(database string) string {
	return c.dsn(url.UserPassword(superuser, c.password), database)
}

func (c *Cluster) dsn(user *url.Userinfo, database string) string {
	q := url.Values{"sslmode": {"disable"}}
	if c.options.TLS {
		q = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.rootFile()}}
	}
	u := url.URL{Scheme: "postgres", User: user, Host: c.Address(), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// Exec runs statements as the superuser, in the database postgres.
func (c *Cluster) Exec(t testing.TB, sql string) {
	t.Helper()
	c.ExecIn(t, "postgres", sql)
}

// ExecIn runs statements as the superuser, in the given database.
func (c *Cluster) ExecIn(t testing.TB, database, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.executeIn(ctx, database, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Query runs a query as the superuser, in the given database, and returns its first value as text.
func (c *Cluster) Query(t testing.TB, database, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := c.query(ctx, database, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func (c *Cluster) query(ctx context.Context, database, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, c.admin(database))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var answer string
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	if rows.Next() {
		answer = string(rows.RawValues()[0])
	}
	rows.Close()
	return answer, rows.Err()
}

func (c *Cluster) execute(ctx context.Context, sql string) error {
	return c.executeIn(ctx, "postgres", sql)
}

func (c *Cluster) executeIn(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.admin(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// admin is for the tests' own work: over the socket, whatever the tests do to the network.
func (c *Cluster) admin(database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", c.dir, c.port, superuser, database)
}

// launch starts the server and waits until it answers. A port is chosen the first time, and kept:
// clients have it.
func (c *Cluster) launch(ctx context.Context) error {
	var err error
	first := c.port == 0
	for range 10 { // somebody may take the port first
		if c.port == 0 {
			if c.port, err = freePort(); err != nil {
				return err
			}
		}
		err = c.launchOnce(ctx)
		if err == nil || c.server != nil || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
		if first {
			c.port = 0
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return err
}

func (c *Cluster) launchOnce(ctx context.Context) error {
	logFile, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	from, err := logFile.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.data(),
		"-c", "listen_addresses=127.0.0.1", "-c", fmt.Sprintf("port=%d", c.port),
		"-c", "unix_socket_directories="+c.dir, "-c", "cluster_name="+c.name)
	if c.options.Data != "" { // where the watchdog finds it
		cmd.Args = append(cmd.Args, "-c", "external_pid_file="+filepath.Join(c.dir, c.name+".pid"))
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, logFile, logFile
	// Not among the terminal's: interrupting the tests must not stop it before they do.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.who, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case err := <-exited:
			said, _ := os.ReadFile(c.log()) // for the message only
			return fmt.Errorf("postgres: %w\n%s", err, said[min(int(from), len(said)):])
		case <-ctx.Done():
			c.server, c.exited = cmd, exited
			return fmt.Errorf("postgres does not answer: %w", ctx.Err())
		case <-time.After(look):
		}
		if conn, err := pgx.Connect(ctx, c.admin("postgres")); err == nil {
			_ = conn.Close(ctx)
			c.server, c.exited = cmd, exited
			return nil
		}
	}
}

// Stop ends the server as an administrator does who waits for nobody ("fast"). It may be stopped already.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) stop(signal syscall.Signal) error {
	if c.server == nil {
		return nil
	}
	if err := c.server.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.exited:
	case <-time.After(patience):
		_ = c.server.Process.Kill()
		<-c.exited
		return errors.New("postgres does not stop")
	}
	c.server = nil
	return nil
}

// Kill ends the server with SIGKILL, as running out of memory does, and waits until none of its
// processes is left.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	if c.server == nil {
		return
	}
	children := childrenOf(c.server.Process.Pid)
	if err := c.server.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) { // as its disk is gone
		t.Fatal(err)
	}
	<-c.exited
	c.server = nil
	for _, pid := range children {
		if !gone(pid, 5*time.Second) { // those who notice end by themselves
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Restart starts the server again, on the same port, having stopped it if it runs.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.Stop(t)
	if err := c.launch(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// end stops the server and removes its files.
func (c *Cluster) end(t testing.TB) {
	if err := c.stop(syscall.SIGQUIT); err != nil { // nobody wants its data
		t.Error(err)
	}
	c.showLog(t)
	if err := c.dog.release(); err != nil {
		t.Error(err)
	}
}

// showLog adds the end of the server's log to that of a test that failed.
func (c *Cluster) showLog(t testing.TB) {
	if !t.Failed() {
		return
	}
	said, err := os.ReadFile(c.log())
	if err != nil {
		return // gone with the cluster
	}
	t.Logf("PostgreSQL (%s) said at last:\n%s", c.name, said[max(0, len(said)-6000):])
}

// freePort finds a port that nobody has, below those that the system gives to outgoing
// connections, as a server that was stopped wants its own again.
func freePort() (int, error) {
	for range 1000 {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		port := 10000 + (int(b[0])<<8|int(b[1]))%20000
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no port is free")
}
