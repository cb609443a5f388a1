package sqlstore

import (
	"context"
	"time"

	"cauase/pkg/store"
)

func (r reader) Rejection(ctx context.Context, a store.AuthorityName, id int64) (store.Rejection, error) {
	return one(ctx, r.handle, rejections.scan, rejections.query+`WHERE authority = ? AND id = ?`, string(a), id)
}

func (r reader) RejectionByDigest(ctx context.Context, a store.AuthorityName, digest []byte) (store.Rejection, error) {
	return one(ctx, r.handle, rejections.scan, rejections.query+`WHERE authority = ? AND csr_digest = ?`,
		string(a), required(digest))
}

func (t tx) PutRejection(ctx context.Context, v store.Rejection) error {
	args, err := rejections.args(v)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM rejection WHERE authority = ? AND csr_digest = ?`, string(v.Authority), required(v.Digest)); err != nil {
		return err
	}
	return t.insert(ctx, insertRejection, args...)
}

func (t tx) PruneRejections(ctx context.Context, a store.AuthorityName, before time.Time, keep, limit int) (int, error) {
	held, err := one(ctx, t.handle, scalar[int], `SELECT count(*) FROM rejection WHERE authority = ?`, string(a))
	if err != nil {
		return 0, err
	}
	old, err := one(ctx, t.handle, scalar[int], `
		SELECT count(*) FROM rejection WHERE authority = ? AND rejected_at < ?`, string(a), micros(before))
	if err != nil {
		return 0, err
	}
	// The oldest come first either way, so that the number says which.
	n, err := t.exec(ctx, `
		DELETE FROM rejection WHERE authority = ? AND id IN (
			SELECT id FROM rejection WHERE authority = ? ORDER BY rejected_at, id LIMIT ?)`,
		string(a), string(a), max(0, min(limit, max(old, held-keep))))
	return int(n), err
}
