package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

func (r reader) KEKs(ctx context.Context) ([]store.KEK, error) {
	return list(ctx, r.handle, keks.scan, keks.query+`ORDER BY authority`)
}

func (t tx) PutKEK(ctx context.Context, k store.KEK) error {
	args, err := keks.args(k)
	if err != nil {
		return err
	}
	return t.wiping(ctx, func() error { return t.run(ctx, replaceKEK, args...) })
}

func (t tx) PutCAKey(ctx context.Context, a store.AuthorityName, id int64, key store.KeyRef) error {
	return t.wiping(ctx, func() error {
		return t.change(ctx, `UPDATE ca_certificate SET custody = ?, key_ref = ? WHERE authority = ? AND id = ? AND custody <> ''`,
			key.Custody, key.Ref, string(a), id)
	})
}
