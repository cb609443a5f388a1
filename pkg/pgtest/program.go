package pgtest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Run starts a cluster for a program that is no test, such as a benchmark. It lives until Close, or until the
// program ends.
func Run(ctx context.Context, o Options) (*Cluster, error) {
	c, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return c, nil
}

// Database makes an empty database, and returns its address as NewDatabase does.
func (c *Cluster) Database(ctx context.Context) (dsn string, err error) {
	name, err := c.copy(ctx, "template0")
	return c.DSN(name), err
}

// PID is the process that has started all others of the server.
func (c *Cluster) PID() int { return c.server.Process.Pid }

// Close ends the server and removes its files.
func (c *Cluster) Close() error { return errors.Join(c.stop(syscall.SIGQUIT), c.dog.release()) }
