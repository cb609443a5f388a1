package sqlstore

import (
	"context"
	"math/big"
	"time"

	"cauase/pkg/store"
)

func (r reader) RenewalByCSR(ctx context.Context, a store.AuthorityName, digest []byte, renews *big.Int) (store.Certificate, error) {
	b, ok := serialBytes(renews)
	if !ok {
		return store.Certificate{}, store.ErrNotFound
	}
	return one(ctx, r.handle, certificates.scan, renewalByCSR, string(a), string(a), b, required(digest), b)
}

func (r reader) Lineage(ctx context.Context, a store.AuthorityName, id int64) (store.Lineage, error) {
	return one(ctx, r.handle, lineages.scan, lineageByID, string(a), id)
}

func (r reader) LineageOf(ctx context.Context, a store.AuthorityName, serial *big.Int) (store.Lineage, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Lineage{}, store.ErrNotFound
	}
	return one(ctx, r.handle, lineages.scan, lineageBySerial, string(a), string(a), b)
}

func (r reader) Lineages(ctx context.Context, a store.AuthorityName, after store.LineagePage, limit int) ([]store.Lineage, error) {
	if after == (store.LineagePage{}) {
		return list(ctx, r.handle, lineages.scan, lineages.query+`
			WHERE authority = ? ORDER BY created_at, id LIMIT ?`, string(a), orAll(limit))
	}
	return list(ctx, r.handle, lineages.scan, lineages.query+`
		WHERE authority = ? AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?`,
		string(a), micros(after.CreatedAt), after.ID, orAll(limit))
}

func (r reader) EndedLineage(ctx context.Context, a store.AuthorityName, subject string, t time.Time) (store.Lineage, error) {
	return one(ctx, r.handle, lineages.scan, lineages.query+`
		WHERE authority = ? AND subject = ? AND state <> 'active' AND ended_at >= ? AND created_at <= ? ORDER BY ended_at DESC LIMIT 1`,
		string(a), subject, micros(t), micros(t))
}

func (r reader) EndingLineages(ctx context.Context, a store.AuthorityName, limit int) ([]store.Lineage, error) {
	// The state is written out, as the index covers no other: store.LineageEnding.
	return list(ctx, r.handle, lineages.scan, lineages.query+`
		WHERE authority = ? AND state = 'ending' ORDER BY id LIMIT ?`, string(a), orAll(limit))
}

func (r reader) CountLineages(ctx context.Context, a store.AuthorityName, t time.Time) (int, error) {
	return one(ctx, r.handle, scalar[int], `
		SELECT count(*) FROM lineage WHERE authority = ? AND state = ? AND not_after >= ?`,
		string(a), string(store.LineageActive), micros(t))
}

func (r reader) CountForked(ctx context.Context, a store.AuthorityName, t time.Time) (int, error) {
	return one(ctx, r.handle, scalar[int], `
		SELECT count(*) FROM lineage WHERE authority = ? AND forks > 0 AND state = ? AND not_after >= ?`,
		string(a), string(store.LineageActive), micros(t))
}

func (r reader) LineageCertificates(ctx context.Context, a store.AuthorityName, id int64, limit int) ([]store.Certificate, error) {
	return list(ctx, r.handle, certificates.scan, certificates.query+`
		WHERE authority = ? AND lineage = ? ORDER BY seq DESC LIMIT ?`, string(a), id, orAll(limit))
}

func (t tx) AddLineage(ctx context.Context, l store.Lineage, names []store.Name) error {
	args, err := lineages.args(l)
	if err != nil {
		return err
	}
	if names == nil {
		return t.insert(ctx, insertLineage, args...)
	}
	if err := t.insert(ctx, insertNamed, append(args, int64(1))...); err != nil {
		return err
	}
	return t.addNames(ctx, l, names)
}

func (t tx) PutLineage(ctx context.Context, l store.Lineage) error {
	args, err := lineages.args(l)
	if err != nil {
		return err
	}
	return t.change(ctx, updateLineage, append(args, string(l.Authority), l.ID)...)
}

// latest is the last moment that rows can hold.
func latest() int64 { return micros(store.Latest(time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC))) }

func (t tx) RevokeLineage(ctx context.Context, a store.AuthorityName, id int64, now time.Time, like store.Revocation, keep time.Duration) (int, error) {
	// As in AddRevocation, the row with the last seq comes first.
	last, err := one(ctx, t.handle, scalar[int64], `
		INSERT INTO revocation_seq (authority, last) VALUES (?, 0)
		ON CONFLICT (authority) DO UPDATE SET last = revocation_seq.last
		RETURNING last`, string(a))
	if err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, revokeLineage, last, micros(like.RevokedAt), latest()-keep.Microseconds(), latest(), keep.Microseconds(),
		int64(like.Reason), string(a), id, micros(now))
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = t.exec(ctx, `UPDATE revocation_seq SET last = ? WHERE authority = ?`, last+n, string(a))
	return int(n), err
}

// revokeLineage adds revocations of what is valid of a lineage and not revoked, numbered on.
const revokeLineage = `
	INSERT INTO revocation (authority, seq, serial, key_id, revoked_at, keep_until, reason)
	SELECT c.authority, ? + row_number() OVER (ORDER BY c.seq), c.serial, c.key_id, CAST(? AS BIGINT),
		CASE WHEN c.not_after > ? THEN CAST(? AS BIGINT) ELSE c.not_after + ? END, CAST(? AS BIGINT)
	FROM certificate c
	WHERE c.authority = ? AND c.lineage = ? AND c.not_after >= ?
		AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.authority = c.authority AND r.serial = c.serial)`

// faults find what contradicts itself: authority, lineage, serial of the certificate, why.
var faults = []string{
	`SELECT c.authority, c.lineage, c.serial, 'the certificate belongs to no lineage'
		FROM certificate c LEFT JOIN lineage l ON l.authority = c.authority AND l.id = c.lineage WHERE l.id IS NULL`,
	`SELECT l.authority, l.id, c.serial, 'its newest certificate belongs to another lineage'
		FROM lineage l JOIN certificate c ON c.authority = l.authority AND c.serial = l.newest WHERE c.lineage <> l.id`,
	`SELECT l.authority, l.id, NULL, 'it has no certificate'
		FROM lineage l WHERE NOT EXISTS (SELECT 1 FROM certificate c WHERE c.authority = l.authority AND c.lineage = l.id)`,
	`SELECT c.authority, c.lineage, c.serial, 'the certificate renews one of another lineage'
		FROM certificate c JOIN certificate p ON p.authority = c.authority AND p.serial = c.renews WHERE p.lineage <> c.lineage`,
}

// unlisted finds what is valid of lineages that have ended, and not revoked.
const unlisted = `SELECT c.authority, c.lineage, c.serial, 'it has ended, and the certificate is valid and not revoked'
	FROM lineage l JOIN certificate c ON c.authority = l.authority AND c.lineage = l.id
	WHERE l.state = 'ended' AND c.not_after >= ?
		AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.authority = c.authority AND r.serial = c.serial)`

func (r reader) LineageFaults(ctx context.Context, now time.Time, fn func(store.LineageFault) error) error {
	r.s.unhurried()
	each := func(row scanner) error {
		var f store.LineageFault
		var serial []byte
		if err := row.Scan((*string)(&f.Authority), &f.Lineage, &serial, &f.Why); err != nil {
			return err
		}
		f.Serial = fromSerial(serial)
		return fn(f)
	}
	for _, query := range faults {
		if err := r.each(ctx, each, query); err != nil {
			return err
		}
	}
	return r.each(ctx, each, unlisted, micros(now))
}
