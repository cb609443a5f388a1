// Package sqlstore keeps an authority's rows in a SQL database: SQLite, embedded, or PostgreSQL.
//
// Writers do not wait for each other's flush to disk: whatever has queued is committed as one
// group (see groupWriter). Readers have connections of their own and see the last commit.
//
// Several processes may use one SQLite file at once, such as a daemon and someone reading its
// audit log. SQLite's own locks keep them apart, and a writer waits for Options.BusyTimeout.
//
// Many daemons may use one PostgreSQL database. A group of Updates begins by taking a lock on a
// table that is there for this alone, so that no two daemons' Updates overlap.
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// Options of Open. The zero value is good.
type Options struct {
	// Log takes what no caller can be told, such as the stack of a panic. nil: nothing is logged.
	Log *slog.Logger
	// BusyTimeout is how long to wait for another process's write lock. 0: 5 seconds.
	BusyTimeout time.Duration
	// AsIs leaves the layout as it is: a database of an earlier version is refused, with store.ErrOlderSchema.
	AsIs bool
}

// How many Views may run at once; others wait. Each holds a connection and its cache.
const maxReaders = 8

// DB is a store.Store in a SQL database. It is safe for concurrent use.
type DB struct {
	dialect *dialect
	log     *slog.Logger
	writer  *groupWriter
	readers *pool
	glance  func(context.Context, func(store.Reader) error) error
	inspect func() error // what Ping looks at besides; may be nil
	release func() error // what is left to close in the end
	scrub   func(context.Context) error
	watcher *watcher // nil where there is nothing to watch

	mu      sync.RWMutex   // guards closed, and running.Add against running.Wait
	running sync.WaitGroup // operations
	closed  bool
}

var (
	_ store.Store     = (*DB)(nil)
	_ store.OneViewer = (*DB)(nil)
	_ store.Glancer   = (*DB)(nil)
)

// Open opens the database that dsn names and brings its layout up to date: the path of a SQLite
// file, or a postgres:// or postgresql:// URL. Errors name it without its password.
//
// A file that is not there is created, readable by its owner only. When Open fails it has created
// nothing, nor changed a file that is not a database of cauase or that is of a newer version of
// it (store.ErrNewerSchema).
func Open(ctx context.Context, dsn string, opt Options) (*DB, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.BusyTimeout == 0 {
		opt.BusyTimeout = 5 * time.Second
	}
	open := openSQLite
	switch scheme, _, found := strings.Cut(dsn, "://"); {
	case dsn == "":
		return nil, errors.New("the name of the database is empty")
	case IsURL(dsn) && !wellFormed(dsn):
		return nil, errors.New("the address of a PostgreSQL database is a URL, such as postgres://USER@HOST/DATABASE")
	case IsURL(dsn):
		open = openPostgres
	case found:
		return nil, fmt.Errorf("databases named %s:// are not supported", scheme)
	}
	db, err := open(ctx, dsn, opt)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", Redact(dsn), err)
	}
	return db, nil
}

// enter counts an operation that begins, unless the database is closed.
func (db *DB) enter() error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	}
	db.running.Add(1)
	return nil
}

// Update implements store.Store. fn runs on the caller's goroutine, in SQLite once; if it panics,
// nothing is changed and the panic becomes an error. While it waits for its turn, Update returns as soon
// as ctx ends; from then on it sees fn through, so that the outcome is always known.
// The context given to the methods of Tx is not consulted.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	return db.writer.update(ctx, fn)
}

// View implements store.Store. A panic of fn becomes an error.
func (db *DB) View(ctx context.Context, fn func(store.Reader) error) (err error) {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	s, err := db.readers.get(ctx)
	if err != nil {
		return err
	}
	defer func() { db.readers.put(s) }()

	if err := s.begin(ctx); err != nil {
		return err
	}
	h := &handle{s: s, dialect: db.dialect}
	defer func() {
		h.ended.Store(true)
		_ = s.rollback(context.WithoutCancel(ctx)) // nothing was written; put looks whether it is sound
	}()
	return guard(db.log, func() error { return fn(reader{h}) })
}

// ViewOne implements store.OneViewer: the query is a transaction of its own.
func (db *DB) ViewOne(ctx context.Context, fn func(store.Reader) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	return guard(db.log, func() error { return glanceByReader(ctx, db.dialect, db.readers, fn) })
}

// SignCheckpoints has sign sign the checkpoint of each group of Updates that have recorded something, from now on. nil: nothing is signed until
// this is called again; the next checkpoint then covers what was recorded meanwhile. sign is called while others wait to write.
func (db *DB) SignCheckpoints(sign func(merkle.Checkpoint) ([]byte, error)) {
	if sign == nil {
		db.writer.sign.Store(nil)
		return
	}
	db.writer.sign.Store(&sign)
}

// counterPing is what Ping writes: an empty transaction writes nothing, and so proves nothing.
const counterPing = "ping"

// Ping implements store.Store: it reads, takes the write lock, writes, and in SQLite makes sure that
// the file has not been deleted or replaced while it is open.
func (db *DB) Ping(ctx context.Context) error {
	err := db.View(ctx, func(r store.Reader) error {
		_, err := r.Counter(ctx, "", store.CounterAuthorities)
		return err
	})
	if err != nil {
		return err
	}
	if db.inspect != nil {
		if err := db.inspect(); err != nil {
			return err
		}
	}
	return db.Update(ctx, func(tx store.Tx) error {
		_, err := tx.AddCounter(ctx, "", counterPing, 1)
		return err
	})
}

// Close implements store.Store. Operations that begin later fail with store.ErrUnavailable.
func (db *DB) Close() error {
	db.mu.Lock()
	again := db.closed
	db.closed = true
	db.mu.Unlock()
	if again {
		return nil
	}
	db.running.Wait()
	// Readers first: the last connection to close moves the log into the database.
	return errors.Join(db.readers.close(), db.release(), db.writer.close())
}
