package sqlstore

import (
	"context"
	"math/big"
	"time"

	"cauase/pkg/store"
)

const selectRevocation = `
	SELECT authority, seq, serial, key_id, revoked_at, keep_until, reason FROM revocation `

func scanRevocation(row scanner) (v store.Revocation, err error) {
	var serial []byte
	var revoked, keep int64
	err = row.Scan(&v.Authority, &v.Seq, &serial, &v.KeyID, &revoked, &keep, &v.Reason)
	v.Serial = fromSerial(serial)
	v.RevokedAt, v.KeepUntil = fromMicros(revoked), fromMicros(keep)
	return v, err
}

func (r reader) Revocation(ctx context.Context, a store.AuthorityName, serial *big.Int) (store.Revocation, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Revocation{}, store.ErrNotFound
	}
	return one(ctx, r.handle, scanRevocation, selectRevocation+`WHERE authority = ? AND serial = ?`, string(a), b)
}

func (r reader) KeyCompromised(ctx context.Context, a store.AuthorityName, keyID []byte) (bool, error) {
	// The reason is written out, as the index covers no other: store.KeyCompromise.
	return one(ctx, r.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM revocation WHERE authority = ? AND key_id = ? AND reason = 1)`,
		string(a), required(keyID))
}

func (r reader) Revocations(ctx context.Context, a store.AuthorityName, afterSeq int64, limit int) ([]store.Revocation, error) {
	return list(ctx, r.handle, scanRevocation, selectRevocation+`
		WHERE authority = ? AND seq > ? ORDER BY seq LIMIT ?`, string(a), afterSeq, orAll(limit))
}

func (r reader) CountRevocations(ctx context.Context, a store.AuthorityName) (int, error) {
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM revocation WHERE authority = ?`, string(a))
}

func (t tx) AddRevocation(ctx context.Context, v store.Revocation) (int64, error) {
	authority, err := named(v.Authority)
	if err != nil {
		return 0, err
	}
	serial, err := newSerial(v.Serial)
	if err != nil {
		return 0, err
	}
	// This comes first: where writers overlap, its row is the lock that puts them in order, so
	// that no smaller seq appears after a larger one has been read.
	seq, err := one(ctx, t.handle, scalar[int64], `
		INSERT INTO revocation_seq (authority, last) VALUES (?, 1)
		ON CONFLICT (authority) DO UPDATE SET last = revocation_seq.last + 1
		RETURNING last`, authority)
	if err != nil {
		return 0, err
	}
	if err := t.insertRevocation(ctx, authority, seq, serial, v); err != nil {
		return 0, err
	}
	return seq, nil
}

func (t tx) insertRevocation(ctx context.Context, authority string, seq int64, serial []byte, v store.Revocation) error {
	return t.insert(ctx, `
		INSERT INTO revocation (authority, seq, serial, key_id, revoked_at, keep_until, reason)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		authority, seq, serial, optional(v.KeyID), micros(v.RevokedAt), micros(v.KeepUntil), v.Reason)
}

// loadRevocation keeps the Seq.
func (t tx) loadRevocation(ctx context.Context, v store.Revocation) error {
	authority, err := named(v.Authority)
	if err != nil {
		return err
	}
	serial, err := newSerial(v.Serial)
	if err != nil {
		return err
	}
	err = t.run(ctx, `
		INSERT INTO revocation_seq (authority, last) VALUES (?, ?)
		ON CONFLICT (authority) DO UPDATE SET last = excluded.last WHERE excluded.last > revocation_seq.last`,
		authority, v.Seq)
	if err != nil {
		return err
	}
	return t.insertRevocation(ctx, authority, v.Seq, serial, v)
}

func (t tx) PruneRevocations(ctx context.Context, a store.AuthorityName, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, `
		DELETE FROM revocation WHERE authority = ? AND seq IN (
			SELECT seq FROM revocation WHERE authority = ? AND keep_until < ? ORDER BY keep_until LIMIT ?)`,
		string(a), string(a), micros(before), max(limit, 0))
	return int(n), err
}
