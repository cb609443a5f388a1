// Package pgtest starts private PostgreSQL clusters for tests: in a temporary folder, on a socket
// and a loopback port of their own, as an unprivileged user when the tests run as root. They end
// with the test, also when the test's process is killed.
//
// Passwords are made up for each cluster; nothing here is meant to hold data that matters.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Options say what a cluster is like. The zero value is a fast one that forgets its data with the
// machine, though not with its processes.
type Options struct {
	Durable bool     // flush to disk: for measuring, and for tests that copy files away
	TLS     bool     // only connections over TLS; DSNs name the CA and verify the server
	Data    string   // a folder, open to everybody, to have the cluster's data in
	Config  []string // lines of postgresql.conf, such as "max_connections = 20"
}

// errMissing means that a program is not there.
var errMissing = errors.New("not installed")

// Start starts a cluster that lives until the test ends. Where PostgreSQL is not installed the
// test is skipped, or fails if CAUASE_REQUIRE_ALL is 1.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := start(t.Context(), o)
	orSkip(t, err)
	t.Cleanup(func() { c.end(t) })
	return c
}

// Shared returns a function that starts a cluster when it is first called, and returns the same
// one from then on. It lives until the process of the tests ends. It is for tests that need a
// database each, not a cluster:
//
//	var postgres = pgtest.Shared(pgtest.Options{})
//
//	func TestX(t *testing.T) { dsn := postgres(t).NewDatabase(t) … }
func Shared(o Options) func(t testing.TB) *Cluster {
	once := sync.OnceValues(func() (*Cluster, error) { return start(context.Background(), o) })
	return func(t testing.TB) *Cluster {
		t.Helper()
		c, err := once()
		orSkip(t, err)
		t.Cleanup(func() { c.showLog(t) })
		return c
	}
}

// Filled returns a function that makes a database as NewDatabase does, but a copy of one that fill was
// given, empty, when the first was asked for. It is for tests that begin with the layout of a store and are not about how
// that is made: copying it takes a fraction of the time. fill leaves nobody connected.
func Filled(cluster func(testing.TB) *Cluster, fill func(ctx context.Context, dsn string) error) func(testing.TB) string {
	var once sync.Once
	var template string
	var err error
	return func(t testing.TB) string {
		t.Helper()
		c := cluster(t)
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			template, err = c.template(ctx, fill)
		})
		if err != nil {
			t.Fatal(err)
		}
		return c.copyOf(t, template)
	}
}

func orSkip(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case !errors.Is(err, errMissing):
		t.Fatal(err)
	case os.Getenv("CAUASE_REQUIRE_ALL") == "1":
		t.Fatalf("CAUASE_REQUIRE_ALL is set, but %v", err)
	default:
		t.Skipf("NOT TESTED: %v", err)
	}
}

// programs finds the folder of the server's programs: the newest of Debian's, or what pg_config
// in PATH says.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // no number: the oldest
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	out, err := exec.Command("pg_config", "--bindir").Output()
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is %w (apt-get install postgresql)", errMissing)
	}
	dir := strings.TrimSpace(string(out))
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return "", fmt.Errorf("PostgreSQL's server is %w (apt-get install postgresql)", errMissing)
	}
	return dir, nil
}

// start makes a cluster and waits until it answers.
func start(ctx context.Context, o Options) (*Cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := temporary(who)
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: o, bin: bin, who: who, dir: dir, name: "primary", password: rand.Text(), owner: rand.Text()}
	if c.dog, err = watch(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(err, c.dog.release())
	}
	return c, nil
}

// create makes the cluster's files, starts it and adds the role that owns the tests' databases.
func (c *Cluster) create(ctx context.Context) error {
	passwords := filepath.Join(c.dir, "password")
	if err := c.write(passwords, c.password+"\n"); err != nil {
		return err
	}
	if err := c.program("initdb", "-D", c.data(), "-U", superuser, "--pwfile", passwords, "-N",
		"--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C").Run(); err != nil {
		return err
	}
	// A test ends sooner than any of these would pay.
	config := "max_connections = 200\nautovacuum_naptime = 10s\nlog_line_prefix = '%m [%p] %a '\n" +
		"shared_buffers = 64MB\nmax_wal_size = 2GB\n"
	if !c.options.Durable {
		config += "fsync = off\nfull_page_writes = off\n"
	}
	if c.options.TLS {
		if err := c.certificates(); err != nil {
			return err
		}
		config += "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"
		access := "local all all trust\nlocal replication all trust\nhostssl all all samehost scram-sha-256\n"
		if err := c.write(filepath.Join(c.data(), "pg_hba.conf"), access); err != nil {
			return err
		}
	}
	for _, line := range c.options.Config {
		config += line + "\n"
	}
	if err := c.extend(filepath.Join(c.data(), "postgresql.conf"), config); err != nil {
		return err
	}
	if err := c.launch(ctx); err != nil {
		return err
	}
	mine, err1 := scramSecret(c.password, rand.Text())
	theirs, err2 := scramSecret(c.owner, rand.Text())
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return c.execute(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'; CREATE ROLE %s LOGIN PASSWORD '%s'", superuser, mine, owner, theirs))
}
