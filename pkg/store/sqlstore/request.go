package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

func (r reader) Request(ctx context.Context, a store.AuthorityName, id int64) (store.Request, error) {
	return one(ctx, r.handle, requests.scan, requests.query+`WHERE authority = ? AND id = ?`, string(a), id)
}

func (r reader) RequestByDigest(ctx context.Context, a store.AuthorityName, digest []byte) (store.Request, error) {
	return one(ctx, r.handle, requests.scan, requests.query+`WHERE authority = ? AND csr_digest = ?`,
		string(a), required(digest))
}

func (r reader) Requests(ctx context.Context, a store.AuthorityName, limit int) ([]store.Request, error) {
	return list(ctx, r.handle, requests.scan, requests.query+`
		WHERE authority = ? ORDER BY received_at, id LIMIT ?`, string(a), orAll(limit))
}

func (r reader) CountRequests(ctx context.Context, a store.AuthorityName) (int, error) {
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM request WHERE authority = ?`, string(a))
}

func (r reader) CountSubmitters(ctx context.Context, a store.AuthorityName) (map[string]int, error) {
	submitters, err := list(ctx, r.handle, scalar[string], `SELECT submitter FROM request WHERE authority = ?`, string(a))
	counts := make(map[string]int)
	for _, submitter := range submitters {
		counts[submitter]++
	}
	return counts, err
}

func (t tx) AddRequest(ctx context.Context, q store.Request) error {
	args, err := requests.args(q)
	if err != nil {
		return err
	}
	return t.insert(ctx, insertRequest, args...)
}

const deleteRequest = `DELETE FROM request WHERE authority = ? AND id = ?`

func (t tx) DeleteRequest(ctx context.Context, a store.AuthorityName, id int64) error {
	return t.change(ctx, deleteRequest, string(a), id)
}
