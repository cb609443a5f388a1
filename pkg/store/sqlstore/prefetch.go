package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"cauase/pkg/store"
)

var _ store.Prefetcher = reader{}

// Prefetch implements store.Prefetcher.
func (r reader) Prefetch(ctx context.Context, ask func(store.Reader)) error {
	s, ok := r.s.(batcher)
	if !ok || r.single {
		return nil
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	var asked []statement
	ask(reader{&handle{s: r.s, dialect: r.dialect, asked: &asked}})
	if len(asked) < 2 {
		return nil
	}
	answers, err := s.prefetch(ctx, asked)
	if err != nil {
		return r.check(err)
	}
	r.known = make(map[string]*answer, len(asked))
	for i, q := range asked {
		r.known[question(q.query, q.args)] = answers[i]
	}
	return nil
}

// A batcher is a session that can send several queries at once.
type batcher interface {
	prefetch(ctx context.Context, asked []statement) ([]*answer, error)
}

// question is what two queries have in common that have the same answer.
func question(query string, args []any) string {
	var b strings.Builder
	b.WriteString(query)
	for _, arg := range args {
		fmt.Fprintf(&b, "\x00%T %v", arg, arg)
	}
	return b.String()
}

// forget drops answers that a write may have made wrong.
func (h *handle) forget() { h.known = nil }

// answered returns the answer to a query that was asked before, nil if it was not.
func (h *handle) answered(query string, args []any) *answer {
	if h.known == nil {
		return nil
	}
	a := h.known[question(query, args)]
	if a == nil && !strings.HasPrefix(strings.TrimSpace(query), "SELECT") {
		h.forget() // it may write
		return nil
	}
	if a != nil {
		a.next = 0
	}
	return a
}

// An answer keeps the rows of a query as they came.
type answer struct {
	types  *pgtype.Map
	fields []pgconn.FieldDescription
	rows   [][][]byte
	next   int
}

func (a *answer) Next() bool { a.next++; return a.next <= len(a.rows) }
func (*answer) Err() error   { return nil }
func (*answer) Close() error { return nil }

func (a *answer) Scan(dest ...any) error {
	for i, value := range a.rows[a.next-1] {
		if err := a.types.Scan(a.fields[i].DataTypeOID, a.fields[i].Format, value, dest[i]); err != nil {
			return fmt.Errorf("column %s: %w", a.fields[i].Name, err)
		}
	}
	return nil
}

// prefetch asks all queries in one round trip, and keeps what they say.
func (s *pgSession) prefetch(ctx context.Context, asked []statement) ([]*answer, error) {
	for _, q := range asked {
		s.push(q)
	}
	if s.conn == nil {
		return nil, errNotCommitted
	}
	for {
		answers, err := s.askAll(ctx, len(asked))
		if err = s.fail(ctx, err); err != nil {
			err = s.renew(ctx, err)
			if err == nil {
				continue
			}
		}
		s.forget()
		return answers, err
	}
}

func (s *pgSession) askAll(ctx context.Context, count int) (answers []*answer, err error) {
	r := s.send(ctx)
	defer func() {
		if e := r.close(); err == nil {
			err = e
		}
	}()
	if _, err := r.skip(len(s.waiting) - count); err != nil {
		return nil, err
	}
	for range count {
		found, err := r.all.Query()
		if err != nil {
			return nil, err
		}
		a := &answer{types: s.conn.TypeMap(), fields: slices.Clone(found.FieldDescriptions())}
		for found.Next() {
			var row [][]byte
			for _, value := range found.RawValues() {
				row = append(row, slices.Clone(value)) // nil stays nil, which is NULL
			}
			a.rows = append(a.rows, row)
		}
		found.Close()
		if err := found.Err(); err != nil {
			return nil, err
		}
		s.answered++
		answers = append(answers, a)
	}
	return answers, nil
}

func (w *pgWriter) prefetch(ctx context.Context, asked []statement) ([]*answer, error) {
	w.sending(true)
	answers, err := w.pgSession.prefetch(ctx, asked)
	w.dirty = w.dirty || err != nil
	return answers, err
}
