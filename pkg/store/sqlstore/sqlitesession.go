package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// A sqliteSession is a connection and the statements prepared on it. Our queries are few and
// constant, so that none is ever prepared twice.
type sqliteSession struct {
	dialect *dialect
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	start   string // how its transactions begin
	broken  bool   // not to be used again
	within  bool   // its last transaction has begun
}

// A sqliteWriter is the session that writes. It owns its handle of the database.
type sqliteWriter struct {
	*sqliteSession
	db *sql.DB

	careful bool // every job gets a savepoint
	saved   bool // this one has one
	dirty   bool // this one may have written
	once    bool // one of the jobs cannot be run again
}

var (
	_ readSession  = (*sqliteSession)(nil)
	_ writeSession = (*sqliteWriter)(nil)
)

func newSQLiteSession(ctx context.Context, d *dialect, db *sql.DB, begin string) (*sqliteSession, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, d.wrap(err)
	}
	return &sqliteSession{dialect: d, conn: conn, stmts: make(map[string]*sql.Stmt), start: begin}, nil
}

func (s *sqliteSession) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s.dialect.trace != nil {
		s.dialect.trace(query)
	}
	if st, ok := s.stmts[query]; ok {
		return st, nil
	}
	st, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, s.dialect.wrap(err)
	}
	s.stmts[query] = st
	return st, nil
}

// exec and query do not let ctx interrupt a statement. Each takes microseconds, and to watch a
// context SQLite's driver starts a goroutine per statement, which takes longer.

func (s *sqliteSession) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	st, err := s.stmt(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, s.dialect.wrap(err)
	}
	n, err := res.RowsAffected()
	return n, s.dialect.wrap(err)
}

func (s *sqliteSession) query(ctx context.Context, query string, args ...any) (rows, error) {
	ctx = context.WithoutCancel(ctx)
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, s.dialect.wrap(err)
	}
	return sqliteRows{found, s.dialect}, nil
}

// sqliteRows gives errors their meaning.
type sqliteRows struct {
	*sql.Rows
	dialect *dialect
}

func (r sqliteRows) Err() error   { return r.dialect.wrap(r.Rows.Err()) }
func (r sqliteRows) Close() error { return r.dialect.wrap(r.Rows.Close()) }

// later puts nothing off: there is no way to the database that could be saved.
func (s *sqliteSession) later(ctx context.Context, none error, query string, args ...any) error {
	n, err := s.exec(ctx, query, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

func (s *sqliteSession) flush(context.Context) error { return nil }
func (s *sqliteSession) unhurried()                  {}
func (s *sqliteSession) announce()                   {}

func (s *sqliteSession) begin(ctx context.Context) error {
	_, err := s.exec(ctx, s.start)
	s.within, s.broken = err == nil, err != nil
	return err
}

func (s *sqliteSession) alone(context.Context) error {
	s.broken = false
	return nil
}

func (s *sqliteSession) rollback(ctx context.Context) error {
	_, err := s.exec(ctx, "ROLLBACK")
	s.broken = err != nil // its next user would find a transaction
	return err
}

func (s *sqliteSession) sound() bool { return !s.broken }

func (s *sqliteSession) close() error {
	var err error
	for _, st := range s.stmts {
		err = errors.Join(err, st.Close())
	}
	return errors.Join(err, s.conn.Close())
}

func (w *sqliteWriter) begin(ctx context.Context) error {
	w.once = false
	return w.sqliteSession.begin(ctx)
}

func (w *sqliteWriter) exec(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := w.sqliteSession.exec(ctx, query, args...)
	w.dirty = w.dirty || n > 0 || err != nil
	return n, err
}

func (w *sqliteWriter) query(ctx context.Context, query string, args ...any) (rows, error) {
	found, err := w.sqliteSession.query(ctx, query, args...)
	w.dirty = w.dirty || err != nil || !strings.HasPrefix(strings.TrimSpace(query), "SELECT")
	return found, err
}

func (w *sqliteWriter) later(ctx context.Context, none error, query string, args ...any) error {
	n, err := w.exec(ctx, query, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// save makes a savepoint only in a group of which a job has failed before: for each page that is written while
// there is one SQLite writes a copy aside, and a job that fails has usually looked before it wrote, so that there is
// nothing to take back.
func (w *sqliteWriter) save(ctx context.Context) error {
	w.dirty, w.saved = false, false
	if !w.careful {
		return nil
	}
	return w.savepoint(ctx)
}

func (w *sqliteWriter) savepoint(ctx context.Context) error {
	_, err := w.sqliteSession.exec(ctx, "SAVEPOINT job")
	w.saved = err == nil
	return err
}

func (w *sqliteWriter) keep(ctx context.Context) error {
	if !w.saved {
		return nil
	}
	_, err := w.sqliteSession.exec(ctx, "RELEASE SAVEPOINT job")
	return err
}

func (w *sqliteWriter) undo(ctx context.Context, cause error) error {
	switch {
	case w.saved:
		if _, err := w.sqliteSession.exec(ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
			return err
		}
		return w.keep(ctx)
	case !w.dirty:
		return nil
	case w.once:
		return cause
	}
	return errRedo
}

// unhurried is for Load. The rows it is given may be there only once, so that it is not run again.
func (w *sqliteWriter) unhurried() {
	if !w.saved && !w.dirty {
		_ = w.savepoint(context.Background()) // without one, a failure ends the whole transaction
	}
	w.once = true
}

func (w *sqliteWriter) commit(ctx context.Context) error {
	_, err := w.sqliteSession.exec(ctx, "COMMIT")
	w.careful = w.careful && err != nil
	return err
}

// rollback may fail, as SQLite may have rolled back by itself; then it does not matter.
func (w *sqliteWriter) rollback(ctx context.Context) { _ = w.sqliteSession.rollback(ctx) }

func (w *sqliteWriter) entered() bool { return w.within }
func (w *sqliteWriter) down() error   { return nil }

// again runs a group once more, with savepoints, of which a job has to be undone.
func (w *sqliteWriter) again(_ context.Context, err error, _ int) bool {
	w.careful = err == errRedo && !w.careful && !w.once
	return w.careful
}

// close moves the log into the database and releases it.
func (w *sqliteWriter) close() error {
	_, err := w.sqliteSession.exec(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(err, w.sqliteSession.close(), w.db.Close())
}
