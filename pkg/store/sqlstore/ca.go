package sqlstore

import (
	"context"
	"errors"

	"cauase/pkg/store"
)

const selectCA = `
	SELECT id, authority, created_at, not_before, not_after, key_id, certificate, private_key, link
	FROM ca_certificate `

func (r reader) CAs(ctx context.Context, a store.AuthorityName) ([]store.CA, error) {
	return list(ctx, r.handle, scanCA, selectCA+`WHERE authority = ? ORDER BY id`, string(a))
}

func (r reader) IsCAKey(ctx context.Context, keyID []byte) (bool, error) {
	return one(ctx, r.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM ca_certificate WHERE key_id = ?)`, required(keyID))
}

func scanCA(row scanner) (ca store.CA, err error) {
	var created, notBefore, notAfter int64
	err = row.Scan(&ca.ID, &ca.Authority, &created, &notBefore, &notAfter,
		&ca.KeyID, &ca.Certificate, &ca.Key, &ca.Link)
	ca.CreatedAt, ca.NotBefore, ca.NotAfter = fromMicros(created), fromMicros(notBefore), fromMicros(notAfter)
	return ca, err
}

func (t tx) AddCA(ctx context.Context, ca store.CA) (int64, error) {
	authority, err := named(ca.Authority)
	if err != nil {
		return 0, err
	}
	return one(ctx, t.handle, scalar[int64], `
		INSERT INTO ca_certificate
			(authority, created_at, not_before, not_after, key_id, certificate, private_key, link)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		authority, micros(ca.CreatedAt), micros(ca.NotBefore), micros(ca.NotAfter),
		required(ca.KeyID), required(ca.Certificate), optional(ca.Key), optional(ca.Link))
}

// loadCA keeps the ID.
func (t tx) loadCA(ctx context.Context, ca store.CA) error {
	authority, err := named(ca.Authority)
	if err != nil {
		return err
	}
	return t.insert(ctx, `
		INSERT INTO ca_certificate
			(id, authority, created_at, not_before, not_after, key_id, certificate, private_key, link)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		ca.ID, authority, micros(ca.CreatedAt), micros(ca.NotBefore), micros(ca.NotAfter),
		required(ca.KeyID), required(ca.Certificate), optional(ca.Key), optional(ca.Link))
}

func (t tx) EraseCAKey(ctx context.Context, a store.AuthorityName, id int64) (err error) {
	// Without this the key would stay readable in the file, in space that is free.
	d := t.dialect
	if d.wipe != "" {
		if _, err := t.exec(ctx, d.wipe); err != nil {
			return err
		}
		defer func() {
			_, e := t.exec(ctx, d.unwipe)
			err = errors.Join(err, e)
		}()
	}
	return t.change(ctx, `UPDATE ca_certificate SET private_key = NULL WHERE authority = ? AND id = ?`, string(a), id)
}

const selectCRL = `
	SELECT authority, ca_id, number, this_update, next_update, pruned, signature FROM crl `

func (r reader) CRL(ctx context.Context, a store.AuthorityName, caID int64) (store.CRL, error) {
	return one(ctx, r.handle, scanCRL, selectCRL+`WHERE authority = ? AND ca_id = ?`, string(a), caID)
}

func scanCRL(row scanner) (c store.CRL, err error) {
	var this, next int64
	err = row.Scan(&c.Authority, &c.CAID, &c.Number, &this, &next, &c.Pruned, &c.Signature)
	c.ThisUpdate, c.NextUpdate = fromMicros(this), fromMicros(next)
	return c, err
}

func (t tx) PutCRL(ctx context.Context, c store.CRL) error {
	return t.run(ctx, `
		INSERT INTO crl (authority, ca_id, number, this_update, next_update, pruned, signature) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (authority, ca_id) DO UPDATE SET number = excluded.number,
			this_update = excluded.this_update, next_update = excluded.next_update,
			pruned = excluded.pruned, signature = excluded.signature`,
		string(c.Authority), c.CAID, c.Number, micros(c.ThisUpdate), micros(c.NextUpdate), c.Pruned, required(c.Signature))
}
