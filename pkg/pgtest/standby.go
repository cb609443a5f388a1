package pgtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// Standby starts a copy of the server that follows it. From when it returns, what the server
// acknowledges as committed is on the standby's disk, too (synchronous_standby_names). It ends
// with the test.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	s := &Cluster{options: c.options, bin: c.bin, who: c.who, dir: c.dir, dog: c.dog,
		password: c.password, owner: c.owner, name: fmt.Sprintf("standby%d", c.numbers.Add(1))}
	from := fmt.Sprintf("%s application_name=%s", c.admin("postgres"), s.name)
	if err := c.program("pg_basebackup", "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "-d", from).Run(); err != nil {
		t.Fatal(err)
	}
	if err := s.launch(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.showLog(t); s.Stop(t) })
	c.AwaitCommits(t, s.name)
	c.await(t, "the standby to be synchronous", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1")
	return s
}

// AwaitCommits has commits from now on wait until the standby of this name has them, for none with "".
func (c *Cluster) AwaitCommits(t testing.TB, standby string) {
	t.Helper()
	c.Exec(t, fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = '%s'", standby))
	c.Exec(t, "SELECT pg_reload_conf()")
	c.await(t, "the setting", "SHOW synchronous_standby_names", standby)
	// Sessions know it now. Whether commits wait at all is for the checkpointer to say, which reads its settings
	// before a checkpoint; the first may have begun just before it was told to read them.
	c.Exec(t, "CHECKPOINT")
	c.Exec(t, "CHECKPOINT")
}

// Promote makes a standby a server that can be written to, and waits until it is one.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.Exec(t, "SELECT pg_promote(wait => false)")
	c.await(t, "the promotion", "SELECT pg_is_in_recovery()", "f")
}

// await waits until a query gives an answer, and ends the test if that does not happen.
func (c *Cluster) await(t testing.TB, what, sql, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.settle(ctx, sql, want); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// settle waits until a query gives an answer.
func (c *Cluster) settle(ctx context.Context, sql, want string) error {
	for {
		got, err := c.query(ctx, "postgres", sql)
		if err == nil && got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: %q, want %q", sql, got, want), err)
		case <-time.After(look):
		}
	}
}

// rootFile is the certificate of the CA that the server's own is of.
func (c *Cluster) rootFile() string { return filepath.Join(c.dir, "root.crt") }
