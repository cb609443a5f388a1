package main

import (
	"context"
	"path/filepath"

	"cauase/pkg/pgtest"
)

// Engines that keep the data.
const (
	sqliteEngine   = "sqlite"
	postgresEngine = "postgresql"
	badgerEngine   = "badger"
)

// A database is where one daemon keeps its data.
type database struct {
	engine string
	dsn    string
	server *process // nil where the daemon has the engine in itself
	secret string   // the file that opens the private keys in it
}

func (d database) servers() []*process {
	if d.server == nil {
		return nil
	}
	return []*process{d.server}
}

// A cluster is a private PostgreSQL that flushes to disk, started when it is first needed.
type cluster struct{ running *pgtest.Cluster }

func (c *cluster) newDatabase(ctx context.Context) (database, error) {
	if c.running == nil {
		var err error
		if c.running, err = pgtest.Run(ctx, pgtest.Options{Durable: true}); err != nil {
			return database{}, err
		}
	}
	dsn, err := c.running.Database(ctx)
	server := &process{name: postgresEngine, pid: c.running.PID(), tree: true}
	return database{engine: postgresEngine, dsn: dsn, server: server}, err
}

func (c *cluster) close() error {
	if c.running == nil {
		return nil
	}
	return c.running.Close()
}

// newDatabase makes an empty one. That of an engine without a server is a file in dir.
func (b *bench) newDatabase(ctx context.Context, engine, dir string) (database, error) {
	if engine == postgresEngine {
		return b.postgres.newDatabase(ctx)
	}
	return database{engine: engine, dsn: filepath.Join(dir, "cauase.sqlite")}, nil
}
