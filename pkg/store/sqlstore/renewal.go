package sqlstore

import (
	"context"
	"math/big"
	"slices"
	"strings"

	"cauase/pkg/store"
)

// renewable asks in one query what would otherwise take seven: each takes as long as one of them, and a round trip where
// the database is elsewhere. The arguments are the key's id, twice, and authority and serial.
var renewable = "SELECT " + columnsOf("c", renewed) + ", " + columnsOf("l", columnNames(lineages.kind)) + `,
	EXISTS (SELECT 1 FROM revocation r WHERE r.authority = c.authority AND r.serial = c.serial),
	coalesce((SELECT n.value FROM counter n WHERE n.authority = c.authority AND n.name = '` + store.CounterCA + `'), 0),
	EXISTS (SELECT 1 FROM ca_certificate k WHERE k.key_id = ?),
	(` + keyCompromised + `)
	FROM certificate c JOIN lineage l ON l.authority = c.authority AND l.id = c.lineage
	WHERE c.authority = ? AND c.serial = ?`

// renewed are the columns of a certificate that decide about its renewal: each one more takes time.
var renewed = []string{"authority", "id", "serial", "ca_id", "der", "profile", "validity", "lineage"}

// columnsOf lists columns of the table with an alias.
func columnsOf(alias string, names []string) string {
	return alias + "." + strings.Join(names, ", "+alias+".")
}

func (r reader) Renewable(ctx context.Context, a store.AuthorityName, serial *big.Int, keyID []byte) (store.Renewable, error) {
	b, ok := serialBytes(serial)
	if !ok {
		return store.Renewable{}, store.ErrNotFound
	}
	key := required(keyID)
	return one(ctx, r.handle, scanRenewable, renewable, key, key, string(a), b)
}

func scanRenewable(row scanner) (v store.Renewable, err error) {
	crt, lineage := make([]any, len(certificates.kind.Columns)), make([]any, len(lineages.kind.Columns))
	dest := make([]any, 0, len(renewed)+len(lineage)+4)
	for _, i := range renewedAt {
		dest = append(dest, &crt[i])
	}
	for i := range lineage {
		dest = append(dest, &lineage[i])
	}
	if err := row.Scan(append(dest, &v.Revoked, &v.CAs, &v.OfCA, &v.Compromised)...); err != nil {
		return v, err
	}
	if v.Certificate, err = certificates.row(crt); err != nil { // what was not asked for is nil, and stays out
		return v, err
	}
	v.Lineage, err = lineages.row(lineage)
	return v, err
}

// renewedAt says where among the columns of certificates those of renewed are.
var renewedAt = func() (at []int) {
	for _, name := range renewed {
		at = append(at, certificates.kind.Index(name))
	}
	return at
}()

// carriedOn are the columns of a lineage that every renewal changes. To set one that an index has, even to what it
// is, means to write the index.
var carriedOn = []string{
	"profile", "newest", "not_after", "renewals", "renewed_at", "address", "day", "day_renewals", "day_revocations", "day_bytes",
}

var updateCarriedOn = "UPDATE lineage SET " + strings.Join(carriedOn, " = ?, ") + " = ? WHERE authority = ? AND id = ?"

func (t tx) AddRenewal(ctx context.Context, c store.Certificate, l store.Lineage) error {
	crt, err := certificates.args(c)
	if err != nil {
		return err
	}
	all, err := lineages.args(l)
	if err != nil {
		return err
	}
	if err := t.expect(ctx, store.ErrExists, insertCertificate, crt...); err != nil {
		return err
	}
	query, args := updateLineage, slices.Clip(all)
	if l.Forks == 0 {
		query, args = updateCarriedOn, make([]any, 0, len(carriedOn)+2)
		for _, name := range carriedOn {
			args = append(args, all[lineages.kind.Index(name)])
		}
	}
	return t.expect(ctx, store.ErrNotFound, query, append(args, string(l.Authority), l.ID)...)
}
