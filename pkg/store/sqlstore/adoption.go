package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"cauase/pkg/store"
)

func (r reader) Adoption(ctx context.Context, a store.AuthorityName, lineage int64) (store.Adoption, error) {
	return one(ctx, r.handle, adoptions.scan, adoptions.query+`WHERE authority = ? AND lineage = ?`, string(a), lineage)
}

// askedAt is when a lineage got its last certificate.
const askedAt = `coalesce(l.renewed_at, l.created_at)`

// confirmedBy is what was confirmed for a lineage l. It is a query of its own, and no join: so lineages are always looked at in
// their order, whatever statistics say, and nothing is sorted.
const confirmedBy = `(SELECT a.ca_key_id FROM adoption a WHERE a.authority = l.authority AND a.lineage = l.id)`

// anyKey is a condition on a column, which needs the key identifiers as arguments.
func anyKey(column string, of store.Sought) (condition string, args []any) {
	for _, id := range of.KeyIDs {
		args = append(args, required(id))
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + ")", args
}

// holdersAfter is where lineages l are looked at, oldest first: in the order in which they are stored, as a rule.
const holdersAfter = `FROM lineage l WHERE l.authority = ? AND (l.created_at, l.id) > (?, ?)`

// lastOf returns the last of so many lineages after one: zero if there are no more than those.
func (r reader) lastOf(ctx context.Context, a store.AuthorityName, after store.LineagePage, lineages int) (store.LineagePage, error) {
	if lineages <= 0 {
		return store.LineagePage{}, nil
	}
	last, err := one(ctx, r.handle, func(row scanner) (p store.LineagePage, err error) {
		var at int64
		err = row.Scan(&at, &p.ID)
		p.CreatedAt = fromMicros(at)
		return p, err
	}, `SELECT l.created_at, l.id `+holdersAfter+` ORDER BY l.created_at, l.id LIMIT 1 OFFSET ?`, string(a), micros(after.CreatedAt), after.ID, int64(lineages-1))
	if errors.Is(err, store.ErrNotFound) {
		return store.LineagePage{}, nil
	}
	return last, err
}

func (r reader) CountHolders(ctx context.Context, a store.AuthorityName, t time.Time, of store.Sought, after store.LineagePage, lineages int) (h store.Holders, last store.LineagePage, err error) {
	if last, err = r.lastOf(ctx, a, after, lineages); err != nil {
		return h, last, err
	}
	confirmed, args := anyKey("held", of)
	args = append(args, micros(of.Since), micros(of.Since), micros(t), string(a), micros(after.CreatedAt), after.ID, orAll(lineages))
	h, err = one(ctx, r.handle, func(row scanner) (h store.Holders, err error) {
		err = row.Scan(&h.Seen, &h.Confirmed, &h.Renewed, &h.Silent)
		return h, err
	}, `SELECT count(CASE WHEN goes_on THEN 1 END), count(CASE WHEN goes_on AND `+confirmed+` THEN 1 END),
		count(CASE WHEN goes_on AND held IS NULL AND asked_at > ? THEN 1 END), count(CASE WHEN goes_on AND held IS NULL AND asked_at <= ? THEN 1 END)
		FROM (SELECT l.state = 'active' AND l.not_after >= ? AS goes_on, `+askedAt+` AS asked_at, `+confirmedBy+` AS held
			`+holdersAfter+` ORDER BY l.created_at, l.id LIMIT ?) part`, args...)
	h.Behind = h.Seen - h.Confirmed - h.Renewed - h.Silent
	return h, last, err
}

func (r reader) Stragglers(ctx context.Context, a store.AuthorityName, t time.Time, of store.Sought, after store.LineagePage, lineages, limit int) ([]store.Straggler, store.LineagePage, error) {
	last, err := r.lastOf(ctx, a, after, lineages)
	if err != nil {
		return nil, last, err
	}
	confirmed, keys := anyKey("held", of)
	args := append([]any{micros(t), string(a), micros(after.CreatedAt), after.ID, orAll(lineages)}, keys...)
	found, err := list(ctx, r.handle, func(row scanner) (s store.Straggler, err error) {
		var created, notAfter, asked int64
		var heldAt *int64
		err = row.Scan(&s.Lineage, &created, &s.Subject, &notAfter, &asked, &s.Address, &s.Held, &heldAt)
		s.CreatedAt, s.NotAfter, s.AskedAt = fromMicros(created), fromMicros(notAfter), fromMicros(asked)
		if heldAt != nil {
			s.HeldAt = fromMicros(*heldAt)
		}
		return s, err
	}, `SELECT id, created_at, subject, not_after, asked_at, address, held, (SELECT a.held_at FROM adoption a WHERE a.authority = part.authority AND a.lineage = part.id) FROM (
			SELECT l.authority, l.id, l.created_at, l.subject, l.not_after, `+askedAt+` AS asked_at, l.address, l.state = 'active' AND l.not_after >= ? AS goes_on,
				`+confirmedBy+` AS held
			`+holdersAfter+` ORDER BY l.created_at, l.id LIMIT ?) part
		WHERE goes_on AND NOT coalesce(`+confirmed+`, asked_at > ?)`, append(args, micros(of.Since))...)
	slices.SortFunc(found, func(a, b store.Straggler) int { // which they are, though nothing says so
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Lineage, b.Lineage))
	})
	if limit > 0 && len(found) >= limit {
		found = found[:limit]
		last = found[limit-1].Page()
	}
	return found, last, err
}

func (r reader) Adoptions(ctx context.Context, a store.AuthorityName, after int64, limit int) ([]store.Adoption, error) {
	return list(ctx, r.handle, adoptions.scan, adoptions.query+`WHERE authority = ? AND lineage > ? ORDER BY lineage LIMIT ?`, string(a), after, orAll(limit))
}

func (t tx) PutAdoption(ctx context.Context, v store.Adoption) error {
	args, err := adoptions.args(v)
	if err != nil {
		return err
	}
	return t.run(ctx, replaceAdoption, args...)
}
