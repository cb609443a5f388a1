package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

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
