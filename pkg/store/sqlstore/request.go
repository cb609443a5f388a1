package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

const selectRequest = `
	SELECT authority, id, received_at, submitter, csr, csr_digest, key_id, subject, sans FROM request `

func scanRequest(row scanner) (q store.Request, err error) {
	var received int64
	var sans string
	err = row.Scan(&q.Authority, &q.ID, &received, &q.Submitter, &q.PEM, &q.Digest, &q.KeyID, &q.Subject, &sans)
	if err != nil {
		return q, err
	}
	q.ReceivedAt = fromMicros(received)
	q.SANs, err = decodeSANs(sans)
	return q, err
}

func (r reader) Request(ctx context.Context, a store.AuthorityName, id int64) (store.Request, error) {
	return one(ctx, r.handle, scanRequest, selectRequest+`WHERE authority = ? AND id = ?`, string(a), id)
}

func (r reader) RequestByDigest(ctx context.Context, a store.AuthorityName, digest []byte) (store.Request, error) {
	return one(ctx, r.handle, scanRequest, selectRequest+`WHERE authority = ? AND csr_digest = ?`,
		string(a), required(digest))
}

func (r reader) Requests(ctx context.Context, a store.AuthorityName, limit int) ([]store.Request, error) {
	return list(ctx, r.handle, scanRequest, selectRequest+`
		WHERE authority = ? ORDER BY received_at, id LIMIT ?`, string(a), orAll(limit))
}

func (r reader) CountRequests(ctx context.Context, a store.AuthorityName) (int, error) {
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM request WHERE authority = ?`, string(a))
}

func (t tx) AddRequest(ctx context.Context, q store.Request) error {
	authority, err := named(q.Authority)
	if err != nil {
		return err
	}
	sans, err := encodeSANs(q.SANs)
	if err != nil {
		return err
	}
	return t.insert(ctx, `
		INSERT INTO request (authority, id, received_at, submitter, csr, csr_digest, key_id, subject, sans)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		authority, q.ID, micros(q.ReceivedAt), q.Submitter, required(q.PEM), required(q.Digest),
		required(q.KeyID), q.Subject, sans)
}

func (t tx) DeleteRequest(ctx context.Context, a store.AuthorityName, id int64) error {
	return t.change(ctx, `DELETE FROM request WHERE authority = ? AND id = ?`, string(a), id)
}
