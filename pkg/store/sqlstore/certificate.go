package sqlstore

import (
	"context"
	"math/big"
	"slices"
	"time"

	"cauase/pkg/store"
)

func (r reader) Certificate(ctx context.Context, a store.AuthorityName, id int64) (store.Certificate, error) {
	return one(ctx, r.handle, certificates.scan, certificateByID, string(a), id)
}

func (r reader) CertificateBySerial(ctx context.Context, a store.AuthorityName, serial *big.Int) (store.Certificate, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Certificate{}, store.ErrNotFound
	}
	return one(ctx, r.handle, certificates.scan, certificateByBytes, string(a), b)
}

func (r reader) CertificateByCSR(ctx context.Context, a store.AuthorityName, digest []byte) (store.Certificate, error) {
	// seq decides between equal times only: after a restore it follows another order.
	return one(ctx, r.handle, certificates.scan, certificatesByCSR, string(a), required(digest))
}

func (r reader) KeyInUse(ctx context.Context, a store.AuthorityName, keyID []byte) (bool, error) {
	return one(ctx, r.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM request WHERE authority = ? AND key_id = ?)
			OR EXISTS (SELECT 1 FROM certificate WHERE authority = ? AND key_id = ?)`,
		string(a), required(keyID), string(a), required(keyID))
}

func (r reader) Certificates(ctx context.Context, a store.AuthorityName, afterID int64, limit int) ([]store.Certificate, error) {
	return list(ctx, r.handle, certificates.scan, certificates.query+`
		WHERE authority = ? AND id > ? ORDER BY id LIMIT ?`, string(a), afterID, orAll(limit))
}

func (r reader) CountCertificates(ctx context.Context, a store.AuthorityName, before time.Time) (int, error) {
	if before.IsZero() {
		return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM certificate WHERE authority = ?`, string(a))
	}
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM certificate WHERE authority = ? AND not_after < ?`,
		string(a), micros(before))
}

func (t tx) AddCertificate(ctx context.Context, c store.Certificate) error {
	args, err := certificates.args(c)
	if err != nil {
		return err
	}
	return t.insert(ctx, insertCertificate, args...)
}

func (t tx) PruneCertificates(ctx context.Context, a store.AuthorityName, before time.Time, limit int) (int, error) {
	pruned, err := list(ctx, t.handle, scalar[int64], `
		DELETE FROM certificate WHERE seq IN (
			SELECT seq FROM certificate c WHERE authority = ? AND not_after < ?
				AND NOT EXISTS (SELECT 1 FROM certificate p WHERE p.authority = c.authority AND p.serial = c.renews AND p.not_after >= ?)
			ORDER BY not_after LIMIT ?)
		RETURNING lineage`, string(a), micros(before), micros(before), max(limit, 0))
	if err != nil {
		return 0, err
	}
	n := len(pruned)
	slices.Sort(pruned)
	for _, lineage := range slices.Compact(pruned) {
		err := t.later(ctx, `
			DELETE FROM lineage WHERE authority = ? AND id = ?
				AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.authority = ? AND c.lineage = ?)`,
			string(a), lineage, string(a), lineage)
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
