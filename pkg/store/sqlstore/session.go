package sqlstore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"cauase/pkg/store"
)

// A session is one connection to the database and what is prepared on it. One goroutine uses it
// at a time. Its errors are those of dialect.wrap.
type session interface {
	// begin starts a transaction. The database may hear of it only with the first statement.
	begin(ctx context.Context) error

	// exec runs a statement and returns how many rows it has changed.
	exec(ctx context.Context, query string, args ...any) (int64, error)

	// later is exec for a statement that cannot fail but with the whole transaction: it may
	// travel with the next one. If it changes no row, that is the error none, unless none is nil.
	later(ctx context.Context, none error, query string, args ...any) error

	// flush waits for what later has put off.
	flush(ctx context.Context) error

	query(ctx context.Context, query string, args ...any) (rows, error)

	// unhurried lifts the bounds of time for the rest of the transaction, which moves everything.
	unhurried()

	// announce notifies, at the commit, those that watch for changes.
	announce()

	close() error
}

// A readSession is for Views.
type readSession interface {
	session
	// alone makes ready for one query that is a transaction of its own, after which there is nothing to roll back.
	alone(ctx context.Context) error
	// rollback ends the transaction. After an error the session is not to be used again.
	rollback(ctx context.Context) error
	// sound reports whether the session can be used again.
	sound() bool
}

// A writeSession is for groups of Updates, each in a savepoint of its own.
type writeSession interface {
	session
	// save opens a savepoint, keep closes it and undo takes back what happened since, because of
	// cause. An error of theirs ends the transaction, except for one of keep that is not
	// store.ErrUnavailable: the savepoint is then there to be undone.
	save(ctx context.Context) error
	keep(ctx context.Context) error
	undo(ctx context.Context, cause error) error

	// commit returns nil once everything is durable. Otherwise nothing has happened, unless
	// the error is store.ErrUncertain.
	commit(ctx context.Context) error
	rollback(ctx context.Context)

	// entered reports whether the transaction has the database for itself. One that failed
	// before has failed all who wait.
	entered() bool
	// again reports whether a group that failed for the n-th time should be run once more, and
	// has waited before it says yes.
	again(ctx context.Context, err error, n int) bool
	// down says why there is no sense in waiting, if there is none.
	down() error
}

// Rows are the result of a query.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// errEnded is what a Reader or Tx says when it was kept.
var errEnded = errors.New("store: used after its transaction has ended")

// errSecond is what a Reader says that was for one query.
var errSecond = errors.New("store: a second query where there was to be one")

// A handle is a session during one transaction.
type handle struct {
	s       session
	dialect *dialect
	write   bool
	single  bool // there is one query, and no transaction around it
	queried bool // it was made
	bulk    bool // statements need not tell at once what they did
	ended   atomic.Bool
	asked   *[]statement       // not nil: queries are noted here, and not asked
	known   map[string]*answer // to queries that were prefetched
	trunk   *trunk             // of a writer: the tree over the audit log
	// failed is the first error after which the transaction cannot go on. SQLite rolls a
	// transaction back by itself on some of them (a full disk), and what fn wrote after that
	// would be committed statement by statement.
	failed error
}

// ready returns why no statement may run, nil if one may. A reader looks at ctx here and between rows;
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

// check remembers an error that ends the transaction, or in some databases the savepoint.
func (h *handle) check(err error) error {
	if err != nil && h.failed == nil && (h.dialect.strict || errors.Is(err, store.ErrUnavailable)) {
		h.failed = err
	}
	return err
}

// errText guards what PostgreSQL refuses, so that one database holds nothing that another cannot take.
var errText = errors.New("store: a text holds a NUL or is not UTF-8")

func checkTexts(args []any) error {
	for _, arg := range args {
		if s, ok := arg.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return errText
		}
	}
	return nil
}

// prepare returns why no statement with these arguments may run, nil if one may.
func (h *handle) prepare(ctx context.Context, args []any) error {
	if err := h.ready(ctx); err != nil {
		return err
	}
	return checkTexts(args)
}

// exec runs a statement and returns how many rows it has changed.
func (h *handle) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := h.prepare(ctx, args); err != nil {
		return 0, err
	}
	h.forget()
	n, err := h.s.exec(ctx, query, args...)
	return n, h.check(err)
}

// later runs a statement of which nobody asks what it has changed.
func (h *handle) later(ctx context.Context, query string, args ...any) error {
	return h.expect(ctx, nil, query, args...)
}

// expect is later for a statement that fails with none, now or with a later one, if it changes nothing.
func (h *handle) expect(ctx context.Context, none error, query string, args ...any) error {
	if err := h.prepare(ctx, args); err != nil {
		return err
	}
	h.forget()
	return h.check(h.s.later(ctx, none, query, args...))
}

// run is exec for those who do not ask what has changed, but want to know of errors.
func (h *handle) run(ctx context.Context, query string, args ...any) error {
	if h.bulk {
		return h.later(ctx, query, args...)
	}
	_, err := h.exec(ctx, query, args...)
	return err
}

// insert runs an INSERT … ON CONFLICT DO NOTHING, which unlike one that fails lets a
// transaction go on in every dialect. It returns ErrExists when nothing was inserted.
func (h *handle) insert(ctx context.Context, query string, args ...any) error {
	if h.bulk {
		return h.expect(ctx, store.ErrExists, query, args...)
	}
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
	if err := h.prepare(ctx, args); err != nil {
		return err
	}
	if h.asked != nil {
		*h.asked = append(*h.asked, statement{query: query, args: args})
		return nil
	}
	if h.single && h.queried {
		return errSecond
	}
	h.queried = true
	var rows rows
	if known := h.answered(query, args); known != nil {
		rows = known
	} else if rows, err = h.s.query(ctx, query, args...); err != nil {
		return h.check(err)
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = h.check(e)
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
	return h.check(rows.Err())
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
	case len(all) == 0 && h.asked != nil && strings.HasPrefix(strings.TrimSpace(query), "SELECT EXISTS"):
		return v, nil // such a query always has a row
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
