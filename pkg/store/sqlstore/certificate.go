package sqlstore

import (
	"context"
	"math/big"
	"time"

	"cauase/pkg/store"
)

const selectCertificate = `
	SELECT authority, id, serial, ca_id, subject, sans, not_before, not_after, key_id,
		issued_at, issued_by, method, renews, csr, csr_digest, der FROM certificate `

func scanCertificate(row scanner) (c store.Certificate, err error) {
	var serial, renews []byte
	var sans string
	var notBefore, notAfter, issued int64
	err = row.Scan(&c.Authority, &c.ID, &serial, &c.CAID, &c.Subject, &sans, &notBefore, &notAfter, &c.KeyID,
		&issued, &c.IssuedBy, &c.Method, &renews, &c.CSR, &c.CSRDigest, &c.DER)
	if err != nil {
		return c, err
	}
	c.Serial, c.Renews = fromSerial(serial), fromSerial(renews)
	c.NotBefore, c.NotAfter, c.IssuedAt = fromMicros(notBefore), fromMicros(notAfter), fromMicros(issued)
	c.SANs, err = decodeSANs(sans)
	return c, err
}

func (r reader) Certificate(ctx context.Context, a store.AuthorityName, id int64) (store.Certificate, error) {
	return one(ctx, r.handle, scanCertificate, selectCertificate+`WHERE authority = ? AND id = ?`, string(a), id)
}

func (r reader) CertificateBySerial(ctx context.Context, a store.AuthorityName, serial *big.Int) (store.Certificate, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Certificate{}, store.ErrNotFound
	}
	return one(ctx, r.handle, scanCertificate, selectCertificate+`WHERE authority = ? AND serial = ?`, string(a), b)
}

func (r reader) CertificateByCSR(ctx context.Context, a store.AuthorityName, digest []byte) (store.Certificate, error) {
	// seq decides between equal times only: after a restore it follows another order.
	return one(ctx, r.handle, scanCertificate, selectCertificate+`
		WHERE authority = ? AND csr_digest = ? ORDER BY issued_at DESC, seq DESC LIMIT 1`,
		string(a), required(digest))
}

func (r reader) KeyInUse(ctx context.Context, a store.AuthorityName, keyID []byte) (bool, error) {
	return one(ctx, r.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM request WHERE authority = ? AND key_id = ?)
			OR EXISTS (SELECT 1 FROM certificate WHERE authority = ? AND key_id = ?)`,
		string(a), required(keyID), string(a), required(keyID))
}

func (r reader) Certificates(ctx context.Context, a store.AuthorityName, afterID int64, limit int) ([]store.Certificate, error) {
	return list(ctx, r.handle, scanCertificate, selectCertificate+`
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
	authority, err := named(c.Authority)
	if err != nil {
		return err
	}
	serial, err := newSerial(c.Serial)
	if err != nil {
		return err
	}
	var renews []byte
	if c.Renews != nil {
		if renews, err = newSerial(c.Renews); err != nil {
			return err
		}
	}
	sans, err := encodeSANs(c.SANs)
	if err != nil {
		return err
	}
	return t.insert(ctx, `
		INSERT INTO certificate (authority, id, serial, ca_id, subject, sans, not_before, not_after, key_id,
			issued_at, issued_by, method, renews, csr, csr_digest, der)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		authority, c.ID, serial, c.CAID, c.Subject, sans, micros(c.NotBefore), micros(c.NotAfter),
		required(c.KeyID), micros(c.IssuedAt), c.IssuedBy, string(c.Method), optional(renews),
		optional(c.CSR), optional(c.CSRDigest), required(c.DER))
}

func (t tx) PruneCertificates(ctx context.Context, a store.AuthorityName, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, `
		DELETE FROM certificate WHERE seq IN (
			SELECT seq FROM certificate WHERE authority = ? AND not_after < ? ORDER BY not_after LIMIT ?)`,
		string(a), micros(before), max(limit, 0))
	return int(n), err
}
