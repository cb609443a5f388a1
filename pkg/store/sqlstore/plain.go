package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
)

// A plainSession can hand out rows as its driver reads them, which takes less than a Scan does. It is for queries with a
// million rows.
type plainSession interface {
	// plain calls fn with each row of a query, until it fails. Values are of the driver's own types, and the slice is used again
	// for the next row. The session is not to be used within fn.
	plain(ctx context.Context, fn func([]driver.Value) error, query string, args ...any) error
}

var _ plainSession = (*sqliteSession)(nil)

// eachPlain is each for a plainSession.
func (h *handle) eachPlain(ctx context.Context, s plainSession, fn func([]driver.Value) error, query string, args ...any) error {
	if err := h.prepare(ctx, args); err != nil {
		return err
	}
	var own error // of fn: not one of the database
	err := s.plain(ctx, func(row []driver.Value) error {
		if own = h.ready(ctx); own == nil {
			own = fn(row)
		}
		return own
	}, query, args...)
	if own != nil {
		return own
	}
	return h.check(err)
}

// plain does not keep the statement: it is prepared once for very many rows.
func (s *sqliteSession) plain(ctx context.Context, fn func([]driver.Value) error, query string, args ...any) error {
	ctx = context.WithoutCancel(ctx)
	if s.dialect.trace != nil {
		s.dialect.trace(query)
	}
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	err := s.conn.Raw(func(conn any) error {
		found, err := conn.(driver.QueryerContext).QueryContext(ctx, query, named)
		if err != nil {
			return err
		}
		row := make([]driver.Value, len(found.Columns()))
		for err == nil {
			if err = found.Next(row); err == nil {
				err = fn(row)
			}
		}
		if err == io.EOF {
			err = nil
		}
		return errors.Join(err, found.Close())
	})
	return s.dialect.wrap(err)
}
