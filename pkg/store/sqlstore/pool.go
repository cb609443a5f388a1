package sqlstore

import (
	"context"
	"database/sql"
	"errors"
)

// A pool hands out the sessions that read. It is there because *sql.DB shares connections
// but not, without a lookup per use, the statements prepared on them.
type pool struct {
	dialect *dialect
	db      *sql.DB
	slots   chan *session // nil: not connected yet
}

func newPool(d *dialect, db *sql.DB, size int) *pool {
	p := &pool{dialect: d, db: db, slots: make(chan *session, size)}
	for range size {
		p.slots <- nil
	}
	return p
}

// get waits for a free session. It must be put back.
func (p *pool) get(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s := <-p.slots:
		if s != nil {
			return s, nil
		}
		s, err := newSession(ctx, p.dialect, p.db)
		if err != nil {
			p.slots <- nil
			return nil, err
		}
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) put(s *session) {
	if s.broken {
		_ = s.close() // it has failed already, and said so
		s = nil
	}
	p.slots <- s
}

// close waits for all sessions to come back.
func (p *pool) close() error {
	var err error
	for range cap(p.slots) {
		if s := <-p.slots; s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return errors.Join(err, p.db.Close())
}
