package sqlstore

import (
	"context"
	"fmt"
	"iter"

	"cauase/pkg/store"
)

// A walk is a query for all rows of a table, and how to give them to a function.
type walk struct {
	query string
	each  func(context.Context, *handle, string, func(store.Row) error) error
}

// walks has the tables in the order of Rows. Each is walked in the order of a key, so that nothing
// is sorted and nothing collected.
func walks() []walk {
	return []walk{
		{selectCA + `ORDER BY id`, walkWith(scanCA)},
		{selectCRL + `ORDER BY authority, ca_id`, walkWith(scanCRL)},
		{selectRequest + `ORDER BY authority, received_at, id`, walkWith(scanRequest)},
		{selectCertificate + `ORDER BY seq`, walkWith(scanCertificate)},
		{selectRevocation + `ORDER BY authority, seq`, walkWith(scanRevocation)},
		// Without what Ping writes, by which two stores with the same rows would differ.
		{`SELECT authority, name, value FROM counter WHERE name <> 'ping' ORDER BY authority, name`, walkWith(scanCounter)},
		{`SELECT authority, name, value FROM setting ORDER BY authority, name`, walkWith(scanSetting)},
		{selectEntry + `ORDER BY seq`, walkWith(scanAuditRow)},
	}
}

func walkWith[T store.Row](scan func(scanner) (T, error)) func(context.Context, *handle, string, func(store.Row) error) error {
	return func(ctx context.Context, h *handle, query string, fn func(store.Row) error) error {
		return h.each(ctx, func(row scanner) error {
			v, err := scan(row)
			if err != nil {
				return err
			}
			return fn(v)
		}, query)
	}
}

// Rows implements store.Reader.
func (r reader) Rows(ctx context.Context, fn func(store.Row) error) error {
	r.s.unhurried()
	for _, w := range walks() {
		if err := w.each(ctx, r.handle, w.query, fn); err != nil {
			return err
		}
	}
	return nil
}

func scanCounter(row scanner) (c store.Counter, err error) {
	err = row.Scan(&c.Authority, &c.Name, &c.Value)
	return c, err
}

func scanSetting(row scanner) (s store.Setting, err error) {
	err = row.Scan(&s.Authority, &s.Name, &s.Value)
	return s, err
}

func scanAuditRow(row scanner) (store.AuditEntry, error) {
	e, err := scanEntry(row)
	return store.AuditEntry{Entry: e}, err
}

// anyRow looks whether there is any row at all, except for what Ping writes.
const anyRow = `
	SELECT EXISTS (SELECT 1 FROM ca_certificate) OR EXISTS (SELECT 1 FROM request)
		OR EXISTS (SELECT 1 FROM certificate) OR EXISTS (SELECT 1 FROM revocation)
		OR EXISTS (SELECT 1 FROM setting) OR EXISTS (SELECT 1 FROM audit_log)
		OR EXISTS (SELECT 1 FROM counter WHERE name <> 'ping')`

// Load implements store.Tx.
func (t tx) Load(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	t.s.unhurried()
	held, err := one(ctx, t.handle, scalar[bool], anyRow)
	switch {
	case err != nil:
		return err
	case held:
		return fmt.Errorf("%w: the database is not empty", store.ErrExists)
	}
	err = t.withoutIndices(ctx, func() error { return t.loadAll(ctx, rows) })
	if err != nil {
		return err
	}
	for _, statement := range t.dialect.loaded {
		if _, err := t.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// withoutIndices runs load without those indices, where there are such, that are faster made at the
// end: each row that is loaded has another random place in them, and there may be more of them than memory.
func (t tx) withoutIndices(ctx context.Context, load func() error) error {
	if t.dialect.indices == "" {
		return load()
	}
	type index struct{ name, definition string }
	indices, err := list(ctx, t.handle, func(row scanner) (i index, err error) {
		err = row.Scan(&i.name, &i.definition)
		return i, err
	}, t.dialect.indices)
	if err != nil {
		return err
	}
	for _, i := range indices {
		if _, err := t.exec(ctx, "DROP INDEX "+i.name); err != nil {
			return err
		}
	}
	if err := load(); err != nil {
		return err // which undoes that
	}
	for _, i := range indices {
		if _, err := t.exec(ctx, i.definition); err != nil {
			return err
		}
	}
	return nil
}

// loadAll does not wait for each row to arrive.
func (t tx) loadAll(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	t.bulk = true
	defer func() { t.bulk = false }()
	for row, err := range rows {
		if err != nil {
			return err
		}
		if err := t.load(ctx, row); err != nil {
			return err
		}
	}
	return t.check(t.s.flush(ctx))
}

func (t tx) load(ctx context.Context, row store.Row) error {
	switch v := row.(type) {
	case store.CA:
		return t.loadCA(ctx, v)
	case store.CRL:
		return t.PutCRL(ctx, v)
	case store.Request:
		return t.AddRequest(ctx, v)
	case store.Certificate:
		return t.AddCertificate(ctx, v)
	case store.Revocation:
		return t.loadRevocation(ctx, v)
	case store.Counter:
		return t.loadCounter(ctx, v)
	case store.Setting:
		return t.PutSetting(ctx, v.Authority, v.Name, v.Value)
	case store.AuditEntry:
		return t.loadEntry(ctx, v)
	}
	return fmt.Errorf("store: no place for a %T", row)
}
