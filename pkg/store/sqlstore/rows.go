package sqlstore

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"cauase/pkg/store"
)

// besides is what is not among the rows of a table: what Ping writes, and the head of an empty tree, by which two stores with the same
// rows would differ.
func besides(table string) string {
	if table == "counter" {
		return "WHERE name <> '" + counterPing + "' "
	}
	if table == logs.kind.Table {
		return "WHERE size > 0 " // as long as the tree has no leaf, that of another database is as good
	}
	return ""
}

// walk reads all rows in the order of a key, so that nothing is sorted and nothing collected.
func (t table) walk(ctx context.Context, h *handle, fn func(store.Row) error) error {
	return h.each(ctx, func(from scanner) error {
		row, err := t.scanRow(from)
		if err != nil {
			return err
		}
		return fn(row)
	}, t.all())
}

func (t table) all() string {
	return t.query + besides(t.kind.Table) + "ORDER BY " + strings.Join(t.kind.Order, ", ")
}

// Rows implements store.Reader.
func (r reader) Rows(ctx context.Context, fn func(store.Row) error) error {
	r.s.unhurried()
	for _, kind := range store.Kinds() {
		if err := newTable(kind).walk(ctx, r.handle, fn); err != nil {
			return err
		}
	}
	return nil
}

// anyRow looks whether there is any row at all, except for what Ping writes.
func anyRow() string {
	var there []string
	for _, kind := range store.Kinds() {
		there = append(there, "EXISTS (SELECT 1 FROM "+kind.Table+" "+besides(kind.Table)+")")
	}
	return "SELECT " + strings.Join(there, " OR ")
}

// Load implements store.Tx.
func (t tx) Load(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	t.s.unhurried()
	held, err := one(ctx, t.handle, scalar[bool], anyRow())
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
	if err := t.namer().all(ctx); err != nil { // by an index of certificates
		return err
	}
	if err := t.trunk.reopen(ctx, t.handle); err != nil {
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
	inserts := make(map[*store.Kind]table)
	for _, kind := range store.Kinds() {
		into := newTable(kind)
		into.insert += " ON CONFLICT DO NOTHING"
		inserts[kind] = into
	}
	without := false // a certificate has no lineage
	for row, err := range rows {
		if err != nil {
			return err
		}
		if crt, ok := row.(store.Certificate); ok && crt.Lineage == 0 {
			without = true
		}
		if err := t.load(ctx, row, inserts); err != nil {
			return err
		}
	}
	if err := t.check(t.s.flush(ctx)); err != nil || !without {
		return err
	}
	return t.deriveLineages(ctx)
}

func (t tx) load(ctx context.Context, row store.Row, inserts map[*store.Kind]table) error {
	switch v := row.(type) {
	case store.Revocation:
		return t.loadRevocation(ctx, v)
	case store.Counter:
		return t.loadCounter(ctx, v) // in place of what Ping has counted
	case store.Log:
		args, err := logs.args(v)
		if err != nil {
			return err
		}
		return t.run(ctx, replaceLog, args...) // in place of the one that a new database has
	}
	into, ok := inserts[store.KindOf(row)]
	if !ok {
		return fmt.Errorf("store: no place for a %T", row)
	}
	args, err := into.args(row)
	if err != nil {
		return err
	}
	return t.insert(ctx, into.insert, args...)
}
