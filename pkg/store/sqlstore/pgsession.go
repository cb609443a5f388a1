package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cauase/pkg/store"
)

// A pgSession is a connection to PostgreSQL. What need not be answered at once waits and travels
// with the next statement: the beginning of a transaction, savepoints, the audit log. So most
// statements cost one round trip, and nothing else costs any.
//
// It uses pgx itself and not database/sql, which cannot send several statements at once.
type pgSession struct {
	dialect *dialect
	connect func(context.Context) (*pgx.Conn, error)
	start   []string      // how its transactions begin
	bound   time.Duration // of the wait for an answer
	reads   bool          // a caller's context interrupts it

	conn    *pgx.Conn         // nil: not connected
	queries map[string]string // ours, and with PostgreSQL's placeholders
	waiting []statement
	size    int // of their arguments, roughly, in bytes

	answered int  // statements of the transaction
	fresh    bool // the connection was made for this transaction
	slow     bool // the transaction may take its time
	broken   bool // the connection is not to be used again
}

type statement struct {
	query string
	args  []any
	none  error               // of a statement that changes no row; may be nil
	into  func(scanner) error // takes the first row of the answer; may be nil
}

// What waits is sent when it is so much, that the server can work on it.
const (
	maxWaiting     = 256
	maxWaitingSize = 1 << 20
)

// rollbackBound is how long to wait for the end of a View.
const rollbackBound = 2 * time.Second

var _ readSession = (*pgSession)(nil)

// errLost marks an error after which nothing is known of the connection.
var errLost = errors.New("the connection was lost")

func (s *pgSession) begin(ctx context.Context) error {
	if err := s.alone(ctx); err != nil {
		return err
	}
	for _, query := range s.start {
		s.push(statement{query: query})
	}
	return nil
}

// alone makes sure of a connection. Everything before it is forgotten.
func (s *pgSession) alone(ctx context.Context) error {
	s.answered, s.slow, s.fresh = 0, false, false
	s.forget()
	if s.conn == nil || s.broken || s.conn.IsClosed() {
		return s.reconnect(ctx)
	}
	return nil
}

func (s *pgSession) reconnect(ctx context.Context) error {
	s.drop()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.conn, s.broken, s.fresh = conn, false, true
	return nil
}

// drop gives up the connection without waiting for the server.
func (s *pgSession) drop() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackBound)
	defer cancel()
	if s.broken {
		cancel() // nobody may be there to say goodbye to
	}
	_ = s.conn.Close(ctx) // whatever comes of it, the connection is gone
	s.conn = nil
}

func (s *pgSession) forget() { s.waiting, s.size = s.waiting[:0], 0 }

func (s *pgSession) push(st statement) {
	s.waiting = append(s.waiting, st)
	for _, arg := range st.args {
		switch v := arg.(type) {
		case []byte:
			s.size += len(v)
		case string:
			s.size += len(v)
		}
	}
}

// numbered is a query in PostgreSQL's form.
func (s *pgSession) numbered(query string) string {
	if q, ok := s.queries[query]; ok {
		return q
	}
	s.queries[query] = numbered(query)
	return s.queries[query]
}

// numbered puts a query's placeholders, written "?", into PostgreSQL's form. None of our queries
// has a question mark elsewhere.
func numbered(query string) string {
	var b strings.Builder
	parts := strings.Split(query, "?")
	for i, part := range parts {
		b.WriteString(part)
		if i < len(parts)-1 {
			fmt.Fprintf(&b, "$%d", i+1)
		}
	}
	return b.String()
}

// A reply is what the server says to all that has waited. It must be closed.
type reply struct {
	s      *pgSession
	ctx    context.Context // the caller's
	all    pgx.BatchResults
	cancel context.CancelFunc
}

// send sends what has waited.
func (s *pgSession) send(ctx context.Context) *reply {
	r := &reply{s: s, ctx: ctx}
	if !s.reads {
		ctx = context.WithoutCancel(ctx)
	}
	if s.slow {
		ctx, r.cancel = context.WithCancel(ctx)
	} else {
		ctx, r.cancel = context.WithTimeout(ctx, s.bound)
	}
	if s.dialect.trace != nil {
		var queries []string
		for _, st := range s.waiting {
			queries = append(queries, st.query)
		}
		s.dialect.trace(queries...)
	}
	b := &pgx.Batch{QueuedQueries: make([]*pgx.QueuedQuery, 0, len(s.waiting))}
	for _, st := range s.waiting {
		b.Queue(s.numbered(st.query), st.args...)
	}
	r.all = s.conn.SendBatch(ctx, b)
	return r
}

// skip takes the answers to the first n statements, of which only failure is of interest.
func (r *reply) skip(n int) (tag pgconn.CommandTag, err error) {
	var none error
	for _, st := range r.s.waiting[:n] {
		if st.into != nil {
			err = r.row(st.into)
		} else {
			tag, err = r.all.Exec()
		}
		if err != nil {
			return tag, err
		}
		r.s.answered++
		if st.none != nil && tag.RowsAffected() == 0 && none == nil {
			none = st.none
		}
	}
	return tag, none
}

// row takes the answer to a query, of which the first row is of interest.
func (r *reply) row(into func(scanner) error) error {
	found, err := r.all.Query()
	if err != nil {
		return err
	}
	defer found.Close()
	if found.Next() {
		if err := into(found); err != nil {
			return err
		}
	}
	found.Close()
	return found.Err()
}

func (r *reply) close() error {
	err := r.all.Close()
	r.cancel()
	return err
}

// isExpected reports whether err is what a statement was to fail with that changes nothing.
func isExpected(err error) bool {
	return err == store.ErrExists || err == store.ErrNotFound || err == store.ErrChanged
}

// fail gives an error its meaning, and finds out what it means for the connection.
func (s *pgSession) fail(ctx context.Context, err error) error {
	if err == nil || isExpected(err) {
		return err
	}
	closed := s.conn.IsClosed()
	s.broken = s.broken || closed || outdated(err)
	if s.reads && ctx.Err() != nil {
		return ctx.Err()
	}
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return s.dialect.wrap(err)
	case closed && pgconn.Timeout(err):
		return fmt.Errorf("%w: %w: it did not answer in time", store.ErrUnavailable, errLost)
	case closed:
		return fmt.Errorf("%w: %w: %w", store.ErrUnavailable, errLost, err)
	}
	return s.dialect.wrap(err)
}

// all sends what has waited and returns what the server says to the last of it.
func (s *pgSession) all(ctx context.Context) (pgconn.CommandTag, error) {
	if s.conn == nil {
		return pgconn.CommandTag{}, errNotCommitted
	}
	for {
		r := s.send(ctx)
		tag, err := r.skip(len(s.waiting))
		if e := r.close(); err == nil {
			err = e
		}
		if err = s.fail(ctx, err); err != nil {
			err = s.renew(ctx, err)
			if err == nil {
				continue
			}
		}
		s.forget()
		return tag, err
	}
}

// renew makes a new connection for what was sent on one that turns out to be lost, if it can be sent
// again: nothing of the transaction was answered, so that it can only have been the beginning, and
// without its end that has no effect. It returns nil when it can, otherwise why the sending failed.
func (s *pgSession) renew(ctx context.Context, err error) error {
	if s.answered > 0 || s.fresh || !s.broken || s.reads && ctx.Err() != nil {
		return err
	}
	return s.reconnect(ctx)
}

func (s *pgSession) exec(ctx context.Context, query string, args ...any) (int64, error) {
	s.push(statement{query: query, args: args})
	tag, err := s.all(ctx)
	return tag.RowsAffected(), err
}

func (s *pgSession) later(ctx context.Context, none error, query string, args ...any) error {
	s.push(statement{query: query, args: args, none: none})
	if len(s.waiting) < maxWaiting && s.size < maxWaitingSize {
		return nil
	}
	return s.flush(ctx)
}

func (s *pgSession) flush(ctx context.Context) error {
	if len(s.waiting) == 0 {
		return nil
	}
	_, err := s.all(ctx)
	return err
}

func (s *pgSession) query(ctx context.Context, query string, args ...any) (rows, error) {
	s.push(statement{query: query, args: args})
	if s.conn == nil {
		return nil, errNotCommitted
	}
	for {
		r := s.send(ctx)
		_, err := r.skip(len(s.waiting) - 1)
		var found pgx.Rows
		if err == nil {
			found, err = r.all.Query()
		}
		if err == nil {
			s.answered++
			s.forget()
			return &pgRows{Rows: found, reply: r}, nil
		}
		_ = r.close() // err came first
		if err = s.renew(ctx, s.fail(ctx, err)); err != nil {
			s.forget()
			return nil, err
		}
	}
}

type pgRows struct {
	pgx.Rows
	reply *reply
	ended bool
}

func (r *pgRows) Next() bool {
	r.ended = !r.Rows.Next()
	return !r.ended
}

func (r *pgRows) Err() error { return r.reply.s.fail(r.reply.ctx, r.Rows.Err()) }

// Close reads what is left of the answer, unless that may be a whole database.
func (r *pgRows) Close() error {
	s := r.reply.s
	left := s.reads && s.slow && !r.ended
	if left {
		r.reply.cancel()
	}
	r.Rows.Close()
	err := s.fail(r.reply.ctx, r.reply.close())
	if left {
		return nil
	}
	return err
}

// unhurried is for what moves whole tables, whose other end may be slow.
func (s *pgSession) unhurried() {
	s.slow = true
	s.push(statement{query: "SET LOCAL statement_timeout = 0"})
	s.push(statement{query: "SET LOCAL idle_in_transaction_session_timeout = 0"})
}

func (s *pgSession) announce() {}

// simple sends statements that need no preparation, at once.
func (s *pgSession) simple(ctx context.Context, sql string) error {
	if s.dialect.trace != nil {
		s.dialect.trace(sql)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.bound)
	defer cancel()
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return s.fail(ctx, err)
}

func (s *pgSession) rollback(ctx context.Context) error {
	s.forget()
	if s.answered == 0 || s.conn == nil || s.broken || s.conn.IsClosed() {
		return nil
	}
	err := s.simple(ctx, "ROLLBACK")
	s.broken = s.broken || err != nil
	return err
}

// sound looks whether the next user would find a transaction.
func (s *pgSession) sound() bool {
	return s.conn != nil && !s.broken && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() == 'I'
}

func (s *pgSession) close() error {
	s.drop()
	return nil
}
