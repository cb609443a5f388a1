package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"

	"cauase/pkg/store"
)

// A session is one connection and the statements prepared on it. Our queries are few and
// constant, so that none is ever prepared twice. One goroutine uses it at a time.
type session struct {
	dialect *dialect
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	broken  bool // not to be used again
}

func newSession(ctx context.Context, d *dialect, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, d.wrap(err)
	}
	return &session{dialect: d, conn: conn, stmts: make(map[string]*sql.Stmt)}, nil
}

func (s *session) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.stmts[query]; ok {
		return st, nil
	}
	st, err := s.conn.PrepareContext(ctx, s.dialect.rebind(query))
	if err != nil {
		return nil, s.dialect.wrap(err)
	}
	s.stmts[query] = st
	return st, nil
}

// exec and query do not let ctx interrupt a statement. Each takes microseconds, and to watch a
// context SQLite's driver starts a goroutine per statement, which takes longer.

func (s *session) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx = context.WithoutCancel(ctx)
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := st.ExecContext(ctx, args...)
	return res, s.dialect.wrap(err)
}

func (s *session) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	return rows, s.dialect.wrap(err)
}

func (s *session) close() error {
	var err error
	for _, st := range s.stmts {
		err = errors.Join(err, st.Close())
	}
	return errors.Join(err, s.conn.Close())
}

// errEnded is what a Reader or Tx says when it was kept.
var errEnded = errors.New("store: used after its transaction has ended")

// A handle is a session during one transaction.
type handle struct {
	s     *session
	write bool
	ended atomic.Bool
	// failed is the first error after which the transaction cannot go on. SQLite rolls a
	// transaction back by itself on some of them (a full disk), and what fn wrote after that
	// would be committed statement by statement.
	failed error
}

// ready says whether a statement may run. A reader looks at ctx here and between rows;
// a writer goes on to its end, so that the outcome is known.
func (h *handle) ready(ctx context.Context) error {
	switch {
	case h.ended.Load():
		return errEnded
	case h.failed != nil:
		return h.failed
	case !h.write:
		return ctx.Err()
	}
	return nil
}

// check remembers an error that ends the transaction.
func (h *handle) check(err error) error {
	if h.failed == nil && errors.Is(err, store.ErrUnavailable) {
		h.failed = err
	}
	return err
}

// exec runs a statement and returns how many rows it has changed.
func (h *handle) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := h.ready(ctx); err != nil {
		return 0, err
	}
	res, err := h.s.exec(ctx, query, args...)
	if err != nil {
		return 0, h.check(err)
	}
	n, err := res.RowsAffected()
	return n, h.check(h.s.dialect.wrap(err))
}

// insert runs an INSERT … ON CONFLICT DO NOTHING, which unlike one that fails lets a
// transaction go on in every dialect. It returns ErrExists when nothing was inserted.
func (h *handle) insert(ctx context.Context, query string, args ...any) error {
	n, err := h.exec(ctx, query, args...)
	if err == nil && n == 0 {
		return store.ErrExists
	}
	return err
}

// change runs a statement that is about one row, ErrNotFound when it is not there.
func (h *handle) change(ctx context.Context, query string, args ...any) error {
	n, err := h.exec(ctx, query, args...)
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}

// A scanner reads the columns of one row.
type scanner interface{ Scan(dest ...any) error }

// each calls fn with each row of a query, until it fails.
func (h *handle) each(ctx context.Context, fn func(scanner) error, query string, args ...any) (err error) {
	if err := h.ready(ctx); err != nil {
		return err
	}
	rows, err := h.s.query(ctx, query, args...)
	if err != nil {
		return h.check(err)
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = h.check(h.s.dialect.wrap(e))
		}
	}()
	for rows.Next() {
		if err := h.ready(ctx); err != nil {
			return err
		}
		if err := fn(rows); err != nil {
			return err
		}
	}
	return h.check(h.s.dialect.wrap(rows.Err()))
}

// list collects the rows of a query.
func list[T any](ctx context.Context, h *handle, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	var all []T
	err := h.each(ctx, func(row scanner) error {
		v, err := scan(row)
		if err != nil {
			return err
		}
		all = append(all, v)
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// one returns the first row of a query, ErrNotFound when there is none.
func one[T any](ctx context.Context, h *handle, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	all, err := list(ctx, h, scan, query, args...)
	var v T
	switch {
	case err != nil:
		return v, err
	case len(all) == 0:
		return v, store.ErrNotFound
	}
	return all[0], nil
}

// scalar reads a row of one column.
func scalar[T any](row scanner) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}
