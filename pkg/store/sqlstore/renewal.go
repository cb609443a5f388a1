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
var renewable = "SELECT " + columnsOf("c", renewed) + ", " + columnsOf("l", standing) + `,
	EXISTS (SELECT 1 FROM revocation r WHERE r.authority = c.authority AND r.serial = c.serial),
	coalesce((SELECT n.value FROM counter n WHERE n.authority = c.authority AND n.name = '` + store.CounterCA + `'), 0),
	EXISTS (SELECT 1 FROM ca_certificate k WHERE k.key_id = ?),
	(` + keyCompromised + `)
	FROM certificate c JOIN lineage l ON l.authority = c.authority AND l.id = c.lineage
	WHERE c.authority = ? AND c.serial = ?`

// The columns that decide about a renewal: each one more takes time.
var (
	renewed  = []string{"authority", "id", "serial", "ca_id", "der", "profile", "validity", "lineage"}
	standing = []string{
		"authority", "id", "role", "state", "newest", "not_after", "renewals", "address", "forks", "day", "day_renewals", "day_revocations", "day_bytes",
	}
)

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
	dest := make([]any, 0, len(renewed)+len(standing)+4)
	for _, i := range renewedAt {
		dest = append(dest, &crt[i])
	}
	for _, i := range standingAt {
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

// renewedAt and standingAt say where among the columns of their kinds those of renewed and standing are.
var (
	renewedAt  = positions(certificates.kind, renewed)
	standingAt = positions(lineages.kind, standing)
)

func positions(kind *store.Kind, names []string) (at []int) {
	for _, name := range names {
		at = append(at, kind.Index(name))
	}
	return at
}

// carriedOn are the columns of a lineage that every renewal changes, and forkedOn those that it changes if it makes a fork. To
// set one that an index has, even to what it is, means to write the index.
var (
	carriedOn = []string{
		"profile", "newest", "not_after", "renewals", "renewed_at", "address", "day", "day_renewals", "day_revocations", "day_bytes",
	}
	forkedOn = append(slices.Clip(carriedOn), "forks", "forked_at", "fork_address", "forked_from")

	carriedOnAt, forkedOnAt = positions(lineages.kind, carriedOn), positions(lineages.kind, forkedOn)
)

// carryOn sets columns of a lineage if nothing has changed of what renewable has said of it. Nobody has to ask once more, then, before a
// renewal is written.
func carryOn(columns []string) string {
	return "UPDATE lineage SET " + strings.Join(columns, " = ?, ") + ` = ?
	WHERE authority = ? AND id = ? AND state = 'active' AND newest = ? AND renewals = ? AND forks = ? AND day_revocations = ?
	AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.authority = lineage.authority AND r.serial = ?)
	AND coalesce((SELECT n.value FROM counter n WHERE n.authority = lineage.authority AND n.name = '` + store.CounterCA + `'), 0) = ?
	AND NOT EXISTS (SELECT 1 FROM ca_certificate k WHERE k.key_id = ?)
	AND NOT (` + keyCompromised + `)`
}

var updateCarriedOn, updateForkedOn = carryOn(carriedOn), carryOn(forkedOn)

func (t tx) AddRenewal(ctx context.Context, was store.Renewable, c store.Certificate, l store.Lineage) error {
	crt, err := certificates.args(c)
	if err != nil {
		return err
	}
	all, err := lineages.args(l)
	if err != nil {
		return err
	}
	old, ok := serialBytes(c.Renews)
	newest, ok2 := serialBytes(was.Lineage.Newest)
	if !ok || !ok2 {
		return store.ErrNotFound
	}
	query, columns := updateCarriedOn, carriedOnAt
	if l.Forks != was.Lineage.Forks {
		query, columns = updateForkedOn, forkedOnAt
	}
	args := make([]any, 0, len(columns)+10)
	for _, i := range columns {
		args = append(args, all[i])
	}
	key := required(c.KeyID)
	args = append(args, string(l.Authority), l.ID, newest, was.Lineage.Renewals, was.Lineage.Forks, was.Lineage.DayRevocations,
		old, was.CAs, key, key)
	if err := t.expect(ctx, store.ErrChanged, query, args...); err != nil {
		return err
	}
	return t.expect(ctx, store.ErrExists, insertCertificate, crt...)
}
