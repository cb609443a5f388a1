package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// What is found of a name, of the youngest lineages that have it. Few columns are read of each, and no index of the expiry: that changes
// with each renewal, which would have to write to it.
const (
	lineagesNamed = `SELECT part.kind, part.name, part.under, l.id, l.subject, l.state, l.not_after FROM (
			SELECT kind, name, under, lineage FROM lineage_name WHERE authority = ? AND name = ? ORDER BY created_at DESC LIMIT ?) part
		JOIN lineage l ON l.authority = ? AND l.id = part.lineage`
	lineagesUnder = `SELECT part.kind, part.name, part.under, l.id, l.subject, l.state, l.not_after FROM (
			SELECT kind, name, under, lineage FROM lineage_name WHERE authority = ? AND under = ? AND under <> '' ORDER BY created_at DESC LIMIT ?) part
		JOIN lineage l ON l.authority = ? AND l.id = part.lineage`
)

func (r reader) LineagesNamed(ctx context.Context, a store.AuthorityName, text string, limit int) ([]store.Named, error) {
	return list(ctx, r.handle, scanNamed, lineagesNamed, string(a), text, limit, string(a))
}

func (r reader) LineagesUnder(ctx context.Context, a store.AuthorityName, domain string, limit int) ([]store.Named, error) {
	return list(ctx, r.handle, scanNamed, lineagesUnder, string(a), domain, limit, string(a))
}

func scanNamed(row scanner) (n store.Named, err error) {
	var until int64
	err = row.Scan(&n.Kind, &n.Text, &n.Under, &n.Lineage, &n.Subject, (*string)(&n.State), &until)
	n.NotAfter = fromMicros(until)
	return n, err
}

func (r reader) LineageNames(ctx context.Context, a store.AuthorityName, id int64) ([]store.Name, error) {
	return list(ctx, r.handle, func(row scanner) (n store.Name, err error) {
		err = row.Scan(&n.Kind, &n.Text, &n.Under)
		return n, err
	}, `SELECT kind, name, under FROM lineage_name WHERE authority = ? AND lineage = ? ORDER BY kind, name`, string(a), id)
}

func (r reader) Unnamed(ctx context.Context) (bool, error) {
	return one(ctx, r.handle, scalar[bool], anyUnnamed)
}

func (t tx) NameLineages(ctx context.Context, limit int) (int, error) {
	_, n, err := t.namer().batch(ctx, place{}, max(limit, 0))
	return n, err
}

// namer is one within this transaction.
func (t tx) namer() namer {
	return namer{
		each: func(ctx context.Context, fn func(scanner) error, query string, args ...any) error {
			return t.each(ctx, fn, query, args...)
		},
		exec: func(ctx context.Context, query string, args ...any) error { return t.run(ctx, query, args...) },
	}
}

// addNames stores the names of a new lineage, without waiting for the database to say so.
func (t tx) addNames(ctx context.Context, l store.Lineage, names []store.Name) error {
	at := place{string(l.Authority), micros(l.CreatedAt), l.ID}
	rows := make([]nameRow, len(names))
	for i, n := range names {
		rows[i] = nameRow{at, n}
	}
	return insertNames(ctx, t.later, rows)
}

// A namer finds out the names of lineages by their certificates.
type namer struct {
	each func(ctx context.Context, fn func(scanner) error, query string, args ...any) error
	exec func(ctx context.Context, query string, args ...any) error
}

// A place is where a lineage stands among all.
type place struct {
	authority   string
	created, id int64
}

// A nameRow is a row to be.
type nameRow struct {
	lineage place
	name    store.Name
}

const (
	anyUnnamed = `SELECT EXISTS (SELECT 1 FROM lineage WHERE named = 0)`
	// unnamed finds lineages without names, in an order in which their certificates lie close together.
	unnamed = `SELECT authority, created_at, id FROM lineage WHERE named = 0 AND (authority, created_at, id) > (?, ?, ?)
		ORDER BY authority, created_at, id LIMIT ?`
	unnamedCertificates = `SELECT part.authority, part.created_at, part.id, c.subject, c.sans, c.der FROM (` + unnamed + `) part
		LEFT JOIN certificate c ON c.authority = part.authority AND c.lineage = part.id`
	markNamed = `UPDATE lineage SET named = 1
		WHERE named = 0 AND (authority, created_at, id) > (?, ?, ?) AND (authority, created_at, id) <= (?, ?, ?)`
)

// batch finds out the names of at most size lineages behind a place, and returns the last one, and how many there were.
func (n namer) batch(ctx context.Context, after place, size int) (last place, count int, err error) {
	type shown struct {
		id            int64
		subject, sans string
	}
	found, known := map[place]bool{}, map[shown]bool{}
	var rows []nameRow
	last = after
	err = n.each(ctx, func(row scanner) error {
		var at place
		var subject, sans *string
		var der []byte
		if err := row.Scan(&at.authority, &at.created, &at.id, &subject, &sans, &der); err != nil {
			return err
		}
		if found[at] = true; last.before(at) {
			last = at
		}
		if subject == nil || sans == nil || known[shown{at.id, *subject, *sans}] {
			return nil // it has no certificate, or the names of one that was read already
		}
		known[shown{at.id, *subject, *sans}] = true
		for _, name := range pki.NamesOfIssued(der) {
			rows = append(rows, nameRow{at, store.Name(name)})
		}
		return nil
	}, unnamedCertificates, after.authority, after.created, after.id, size)
	if err != nil || len(found) == 0 {
		return last, 0, err
	}
	if err := insertNames(ctx, n.exec, rows); err != nil {
		return last, 0, err
	}
	return last, len(found), n.exec(ctx, markNamed, after.authority, after.created, after.id, last.authority, last.created, last.id)
}

func (p place) before(q place) bool {
	if p.authority != q.authority {
		return p.authority < q.authority
	}
	return p.created < q.created || p.created == q.created && p.id < q.id
}

// all finds out the names of all lineages where they are not known.
func (n namer) all(ctx context.Context) error {
	for after := (place{}); ; {
		last, count, err := n.batch(ctx, after, nameBatch)
		if err != nil || count == 0 {
			return err
		}
		after = last
	}
}

// nameBatch is of how many lineages the names are found out at once, and nameRows how many names one statement stores.
const (
	nameBatch = 500
	nameRows  = 256
)

// insertNames stores names, unless they are there. Statements are kept prepared, so that there are but few of them: for one row, two,
// four and so on, of which the last is repeated where there are less.
func insertNames(ctx context.Context, exec func(ctx context.Context, query string, args ...any) error, rows []nameRow) error {
	for len(rows) > 0 {
		part := rows[:min(len(rows), nameRows)]
		rows = rows[len(part):]
		size := 1
		for size < len(part) {
			size *= 2
		}
		args := make([]any, 0, 6*size)
		for i := range size {
			r := part[min(i, len(part)-1)]
			args = append(args, r.lineage.authority, r.lineage.id, r.name.Kind, r.name.Text, r.name.Under, r.lineage.created)
		}
		if err := exec(ctx, insertNameRows(size), args...); err != nil {
			return err
		}
	}
	return nil
}

func insertNameRows(size int) string {
	return fmt.Sprintf(`INSERT INTO lineage_name (authority, lineage, kind, name, under, created_at)
		VALUES (?, ?, ?, ?, ?, ?)%s ON CONFLICT DO NOTHING`, strings.Repeat(", (?, ?, ?, ?, ?, ?)", size-1))
}
