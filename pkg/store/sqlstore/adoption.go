package sqlstore

import (
	"context"
	"strings"
	"time"

	"cauase/pkg/store"
)

func (r reader) Adoption(ctx context.Context, a store.AuthorityName, lineage int64) (store.Adoption, error) {
	return one(ctx, r.handle, adoptions.scan, adoptions.query+`WHERE authority = ? AND lineage = ?`, string(a), lineage)
}

// fromHolders are the lineages that go on, with what their holders have confirmed.
const fromHolders = `FROM lineage l LEFT JOIN adoption a ON a.authority = l.authority AND a.lineage = l.id
	WHERE l.authority = ? AND l.state = 'active' AND l.not_after >= ?`

// askedAt is when a lineage got its last certificate.
const askedAt = `coalesce(l.renewed_at, l.created_at)`

// anyKey is a condition on a, which needs the key identifiers as arguments.
func anyKey(of store.Sought) (condition string, args []any) {
	for _, id := range of.KeyIDs {
		args = append(args, required(id))
	}
	return "a.ca_key_id IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + ")", args
}

func (r reader) CountHolders(ctx context.Context, a store.AuthorityName, t time.Time, of store.Sought) (store.Holders, error) {
	confirmed, args := anyKey(of)
	args = append(args, micros(of.Since), micros(of.Since), string(a), micros(t))
	h, err := one(ctx, r.handle, func(row scanner) (h store.Holders, err error) {
		err = row.Scan(&h.Seen, &h.Confirmed, &h.Renewed, &h.Silent)
		return h, err
	}, `SELECT count(*), count(CASE WHEN `+confirmed+` THEN 1 END),
		count(CASE WHEN a.lineage IS NULL AND `+askedAt+` > ? THEN 1 END),
		count(CASE WHEN a.lineage IS NULL AND `+askedAt+` <= ? THEN 1 END) `+fromHolders, args...)
	h.Behind = h.Seen - h.Confirmed - h.Renewed - h.Silent
	return h, err
}

func (r reader) Stragglers(ctx context.Context, a store.AuthorityName, t time.Time, of store.Sought, after int64, limit int) ([]store.Straggler, error) {
	confirmed, keys := anyKey(of)
	args := append([]any{string(a), micros(t), after, micros(of.Since)}, keys...)
	return list(ctx, r.handle, func(row scanner) (s store.Straggler, err error) {
		var notAfter, asked int64
		var heldAt *int64
		err = row.Scan(&s.Lineage, &s.Subject, &notAfter, &asked, &s.Address, &s.Held, &heldAt)
		s.NotAfter, s.AskedAt = fromMicros(notAfter), fromMicros(asked)
		if heldAt != nil {
			s.HeldAt = fromMicros(*heldAt)
		}
		return s, err
	}, `SELECT l.id, l.subject, l.not_after, `+askedAt+`, l.address, a.ca_key_id, a.held_at `+fromHolders+`
		AND l.id > ? AND (a.lineage IS NULL AND `+askedAt+` <= ? OR a.lineage IS NOT NULL AND NOT `+confirmed+`)
		ORDER BY l.id LIMIT ?`, append(args, orAll(limit))...)
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
