package sqlstore

import (
	"context"
	"math/big"

	"cauase/pkg/store"
)

// ofKey asks about the key with an id, which is its argument, twice.
const ofKey = `EXISTS (SELECT 1 FROM ca_certificate k WHERE k.key_id = ?),
	(` + keyCompromised + `)`

// submittable asks in one query what would otherwise take seven. The arguments are authority and digest, twice, the authority, twice,
// and the key's id, twice.
const submittable = `SELECT
	coalesce((SELECT q.id FROM request q WHERE q.authority = ? AND q.csr_digest = ?), 0),
	EXISTS (SELECT 1 FROM certificate c WHERE c.authority = ? AND c.csr_digest = ? AND c.renews IS NULL),
	coalesce((SELECT n.value FROM counter n WHERE n.authority = ? AND n.name = '` + store.CounterReceivedCSR + `'), 0),
	coalesce((SELECT s.value FROM setting s WHERE s.authority = ? AND s.name = '` + store.SettingAutoApprove + `'), ''),
	` + ofKey

func (r reader) Submittable(ctx context.Context, a store.AuthorityName, digest, keyID []byte) (store.Submittable, error) {
	csr, key := required(digest), required(keyID)
	return one(ctx, r.handle, scanSubmittable, submittable, string(a), csr, string(a), csr, string(a), string(a), key, key)
}

func scanSubmittable(row scanner) (v store.Submittable, err error) {
	err = row.Scan(&v.Pending, &v.Certified, &v.Received, &v.AutoApprove, &v.OfCA, &v.Compromised)
	return v, err
}

// approvable does so for an approval. The arguments are authority and id, those of standingOf about the user, the authority, and the
// key's id, twice.
const approvable = `SELECT
	(SELECT q.csr_digest FROM request q WHERE q.authority = ? AND q.id = ?),
	` + standingOf + `,
	coalesce((SELECT n.value FROM counter n WHERE n.authority = ? AND n.name = '` + store.CounterCA + `'), 0),
	` + ofKey

func (r reader) Approvable(ctx context.Context, a store.AuthorityName, id int64, keyID []byte, users store.AuthorityName, serial *big.Int, ca int64) (store.Approvable, error) {
	user, _ := serialBytes(serial)
	key := required(keyID)
	return one(ctx, r.handle, scanApprovable, approvable, string(a), id, string(users), required(user), string(users), ca, string(a), key, key)
}

func scanApprovable(row scanner) (v store.Approvable, err error) {
	err = row.Scan(&v.Digest, &v.User.Revoked, &v.User.CA, &v.CAs, &v.OfCA, &v.Compromised)
	return v, err
}

const countReceived = `
	INSERT INTO counter (authority, name, value) VALUES (?, '` + store.CounterReceivedCSR + `', 1)
	ON CONFLICT (authority, name) DO UPDATE SET value = counter.value + 1`

func (t tx) AddReceived(ctx context.Context, q store.Request) error {
	args, err := requests.args(q)
	if err != nil {
		return err
	}
	if err := t.expect(ctx, store.ErrExists, insertRequest, args...); err != nil {
		return err
	}
	return t.later(ctx, countReceived, string(q.Authority))
}

func (t tx) TakeRequest(ctx context.Context, a store.AuthorityName, id int64) error {
	return t.expect(ctx, store.ErrNotFound, deleteRequest, string(a), id)
}

func (t tx) AddFirst(ctx context.Context, c store.Certificate, l store.Lineage, names []store.Name) error {
	lineage, err := lineages.args(l)
	if err != nil {
		return err
	}
	crt, err := certificates.args(c)
	if err != nil {
		return err
	}
	if err := t.expect(ctx, store.ErrExists, insertNamed, append(lineage, int64(1))...); err != nil {
		return err
	}
	if err := t.addNames(ctx, l, names); err != nil {
		return err
	}
	return t.expect(ctx, store.ErrExists, insertCertificate, crt...)
}
