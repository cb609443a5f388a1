package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Bouncer is a running pgbouncer.
type Bouncer struct{ address string }

// PgBouncer starts one in front of the server, with a pool mode ("session", "transaction",
// "statement"). It ends with the test. Where pgbouncer is not installed the test is skipped, or
// fails if CAUASE_REQUIRE_ALL is 1.
func (c *Cluster) PgBouncer(t testing.TB, mode string) *Bouncer {
	t.Helper()
	path, err := findBouncer()
	orSkip(t, err)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("bouncer%d", c.numbers.Add(1))
	file := func(ending string) string { return filepath.Join(c.dir, name+ending) }
	users := fmt.Sprintf("%q %q\n%q %q\n", owner, c.owner, superuser, c.password)
	config := fmt.Sprintf(`[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = %s
pidfile = %s
logfile = %s
max_client_conn = 200
default_pool_size = 50
ignore_startup_parameters = extra_float_digits
`, c.dir, c.port, port, file(".users"), mode, file(".pid"), file(".log"))
	if err := errors.Join(c.write(file(".users"), users), c.write(file(".ini"), config)); err != nil {
		t.Fatal(err)
	}
	cmd := c.command(path, "-q", file(".ini"))
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-exited
	})
	b := &Bouncer{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.address)
		if err == nil {
			_ = conn.Close()
			return b
		}
		select {
		case err = <-exited:
			exited <- err
		case <-ctx.Done():
		case <-time.After(look):
			continue
		}
		said, _ := os.ReadFile(file(".log")) // for the message only
		t.Fatalf("pgbouncer: %v\n%s", err, said)
	}
}

func findBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("pgbouncer is %w (apt-get install pgbouncer)", errMissing)
}

// Through returns the address of a database by way of the bouncer.
func (b *Bouncer) Through(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = b.address
	u.RawQuery = url.Values{"sslmode": {"disable"}}.Encode()
	return u.String()
}
