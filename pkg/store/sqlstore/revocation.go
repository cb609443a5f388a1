package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/store"
)

func (r reader) Revocation(ctx context.Context, a store.AuthorityName, serial *big.Int) (store.Revocation, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Revocation{}, store.ErrNotFound
	}
	return one(ctx, r.handle, revocations.scan, revocations.query+`WHERE authority = ? AND serial = ?`, string(a), b)
}

// standingOf asks what is said against a certificate. The arguments are authority and serial, authority and id of its CA.
const standingOf = `
	EXISTS (SELECT 1 FROM revocation r WHERE r.authority = ? AND r.serial = ?),
	coalesce((SELECT i.state FROM ca_certificate i WHERE i.authority = ? AND i.id = ?), '')`

func (r reader) Standing(ctx context.Context, a store.AuthorityName, serial *big.Int, ca int64) (store.Standing, error) {
	b, _ := serialBytes(serial) // nothing is revoked by what is no serial number
	return one(ctx, r.handle, scanStanding, "SELECT "+standingOf, string(a), required(b), string(a), ca)
}

func scanStanding(row scanner) (v store.Standing, err error) {
	err = row.Scan(&v.Revoked, &v.CA)
	return v, err
}

// keyCompromised looks into the index once for each authority. The reason is written out, as the index covers no
// other: store.KeyCompromise.
const keyCompromised = `
	SELECT EXISTS (SELECT 1 FROM authority WHERE EXISTS (
		SELECT 1 FROM revocation v WHERE v.authority = authority.name AND v.key_id = ? AND v.reason = 1))`

func (r reader) KeyCompromised(ctx context.Context, keyID []byte) (bool, error) {
	return one(ctx, r.handle, scalar[bool], keyCompromised, required(keyID))
}

func (r reader) Revocations(ctx context.Context, a store.AuthorityName, afterSeq int64, limit int) ([]store.Revocation, error) {
	return list(ctx, r.handle, revocations.scan, revocations.query+`
		WHERE authority = ? AND seq > ? ORDER BY seq LIMIT ?`, string(a), afterSeq, orAll(limit))
}

// revokedAfter has no other columns than lists need, as each costs as much as stepping to the row.
const revokedAfter = `SELECT seq, serial, revoked_at, reason FROM revocation WHERE authority = ? AND seq > ? ORDER BY seq LIMIT ?`

func (r reader) Revoked(ctx context.Context, a store.AuthorityName, afterSeq int64, limit int, fn func(store.Revoked) error) error {
	if s, ok := r.s.(plainSession); ok && r.asked == nil {
		return r.eachPlain(ctx, s, func(row []driver.Value) error {
			v, err := revokedOf(row)
			if err != nil {
				return err
			}
			return fn(v)
		}, revokedAfter, string(a), afterSeq, orAll(limit))
	}
	var v store.Revoked
	var at int64
	into := []any{&v.Seq, &v.Serial, &at, &v.Reason}
	return r.each(ctx, func(row scanner) error {
		if err := row.Scan(into...); err != nil {
			return err
		}
		v.RevokedAt = fromMicros(at)
		return fn(v)
	}, revokedAfter, string(a), afterSeq, orAll(limit))
}

// revokedOf reads a row of revokedAfter.
func revokedOf(row []driver.Value) (v store.Revoked, err error) {
	seq, seqOK := row[0].(int64)
	serial, serialOK := row[1].([]byte)
	at, atOK := row[2].(int64)
	reason, reasonOK := row[3].(int64)
	if !seqOK || !serialOK || !atOK || !reasonOK {
		return v, fmt.Errorf("%w: a revocation has columns of other types", store.ErrUnavailable)
	}
	return store.Revoked{Seq: seq, Serial: serial, RevokedAt: fromMicros(at), Reason: int(reason)}, nil
}

// revokedSpan looks at both ends of the index: of min and max in one SELECT SQLite would read all rows.
const revokedSpan = `
	SELECT coalesce((SELECT min(seq) FROM revocation WHERE authority = ?), 0),
		coalesce((SELECT max(seq) FROM revocation WHERE authority = ?), 0)`

func (r reader) RevokedSpan(ctx context.Context, a store.AuthorityName) (first, last int64, err error) {
	span, err := one(ctx, r.handle, func(row scanner) (span [2]int64, err error) {
		err = row.Scan(&span[0], &span[1])
		return span, err
	}, revokedSpan, string(a), string(a))
	return span[0], span[1], err
}

func (r reader) CountRevocations(ctx context.Context, a store.AuthorityName) (int, error) {
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM revocation WHERE authority = ?`, string(a))
}

func (t tx) AddRevocation(ctx context.Context, v store.Revocation) (int64, error) {
	args, err := revocations.args(v)
	if err != nil {
		return 0, err
	}
	// This comes first: where writers overlap, its row is the lock that puts them in order, so
	// that no smaller seq appears after a larger one has been read.
	v.Seq, err = one(ctx, t.handle, scalar[int64], `
		INSERT INTO revocation_seq (authority, last) VALUES (?, 1)
		ON CONFLICT (authority) DO UPDATE SET last = revocation_seq.last + 1
		RETURNING last`, string(v.Authority))
	if err != nil {
		return 0, err
	}
	args[revocations.kind.Index("seq")] = v.Seq
	if err := t.insert(ctx, insertRevocation, args...); err != nil {
		return 0, err
	}
	return v.Seq, nil
}

// loadRevocation keeps the Seq.
func (t tx) loadRevocation(ctx context.Context, v store.Revocation) error {
	args, err := revocations.args(v)
	if err != nil {
		return err
	}
	err = t.run(ctx, `
		INSERT INTO revocation_seq (authority, last) VALUES (?, ?)
		ON CONFLICT (authority) DO UPDATE SET last = excluded.last WHERE excluded.last > revocation_seq.last`,
		string(v.Authority), v.Seq)
	if err != nil {
		return err
	}
	return t.insert(ctx, insertRevocation, args...)
}

func (t tx) PruneRevocations(ctx context.Context, a store.AuthorityName, before time.Time, limit int) ([]*big.Int, error) {
	return list(ctx, t.handle, serialOf, `
		DELETE FROM revocation WHERE authority = ? AND seq IN (
			SELECT seq FROM revocation WHERE authority = ? AND keep_until < ? ORDER BY keep_until LIMIT ?)
		RETURNING serial`,
		string(a), string(a), micros(before), max(limit, 0))
}

func serialOf(row scanner) (*big.Int, error) {
	var serial []byte
	err := row.Scan(&serial)
	return new(big.Int).SetBytes(serial), err
}
