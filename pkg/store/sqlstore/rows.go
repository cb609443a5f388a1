package sqlstore

import (
	"context"
	"fmt"
	"iter"

	"cauase/pkg/store"
)

// Rows implements store.Reader. Each table is walked in the order of a key, so that nothing is
// sorted and nothing collected.
func (r reader) Rows(ctx context.Context, fn func(store.Row) error) error {
	for _, table := range []func(context.Context, *handle, func(store.Row) error) error{
		walk(scanCA, selectCA+`ORDER BY id`),
		walk(scanCRL, selectCRL+`ORDER BY authority, ca_id`),
		walk(scanRequest, selectRequest+`ORDER BY authority, received_at, id`),
		walk(scanCertificate, selectCertificate+`ORDER BY seq`),
		walk(scanRevocation, selectRevocation+`ORDER BY authority, seq`),
		// Not what Ping writes: two stores with the same rows would differ by that.
		walk(scanCounter, `SELECT authority, name, value FROM counter WHERE name <> 'ping' ORDER BY authority, name`),
		walk(scanSetting, `SELECT authority, name, value FROM setting ORDER BY authority, name`),
		walk(scanAuditRow, selectEntry+`ORDER BY seq`),
	} {
		if err := table(ctx, r.handle, fn); err != nil {
			return err
		}
	}
	return nil
}

// walk gives every row of a query to a function.
func walk[T store.Row](scan func(scanner) (T, error), query string) func(context.Context, *handle, func(store.Row) error) error {
	return func(ctx context.Context, h *handle, fn func(store.Row) error) error {
		return h.each(ctx, func(row scanner) error {
			v, err := scan(row)
			if err != nil {
				return err
			}
			return fn(v)
		}, query)
	}
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

// Load implements store.Tx.
func (t tx) Load(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	held, err := one(ctx, t.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM ca_certificate) OR EXISTS (SELECT 1 FROM request)
			OR EXISTS (SELECT 1 FROM certificate) OR EXISTS (SELECT 1 FROM revocation)
			OR EXISTS (SELECT 1 FROM setting) OR EXISTS (SELECT 1 FROM audit_log)
			OR EXISTS (SELECT 1 FROM counter WHERE name <> 'ping')`)
	switch {
	case err != nil:
		return err
	case held:
		return fmt.Errorf("%w: the database is not empty", store.ErrExists)
	}
	for row, err := range rows {
		if err != nil {
			return err
		}
		if err := t.load(ctx, row); err != nil {
			return err
		}
	}
	for _, statement := range t.s.dialect.loaded {
		if _, err := t.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
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
