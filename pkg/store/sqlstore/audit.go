package sqlstore

import (
	"context"
	"errors"
	"math"
	"strings"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

func (t tx) AppendAudit(ctx context.Context, e audit.Entry) error {
	if err := t.trunk.open(ctx, t.handle); err != nil {
		return err
	}
	e.Seq, e.Leaf = t.trunk.next()
	hash := e.LeafHash(t.trunk.head.Secret)
	e.Hash = hash[:]
	args, err := auditLog.args(store.AuditEntry{Entry: e})
	if err != nil {
		return err
	}
	if err := t.later(ctx, auditLog.insert, args...); err != nil {
		return err
	}
	t.trunk.append(e.Seq, e.Time, hash)
	return nil
}

// auditPage is how many entries Audit reads at once. It does not keep a query open while fn
// runs, so that fn may use the Reader on any database.
const auditPage = 500

func (r reader) Audit(ctx context.Context, f audit.Filter, fn func(audit.Entry) error) error {
	b, err := r.auditBounds(ctx, f)
	if err != nil {
		return err
	}
	left := orAll(f.Limit)
	for left > 0 && b.first <= b.last {
		query, args := auditQuery(f, b, min(left, auditPage))
		page, err := list(ctx, r.handle, auditLog.scan, query, args...)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := fn(e.Entry); err != nil {
				return err
			}
		}
		if len(page) < auditPage {
			return nil
		}
		left -= int64(len(page))
		if f.Newest {
			b.last = page[len(page)-1].Seq - 1
		} else {
			b.first = page[len(page)-1].Seq + 1
		}
	}
	return nil
}

// A seqRange is inclusive on both ends, and empty when first > last.
type seqRange struct{ first, last int64 }

// auditBounds narrows the log to the range that can hold what f selects, so that pages are read
// by seq alone. Time and seq do not grow in step where several daemons write or a clock is set
// back, hence the least and greatest seq of all entries in the span of time. It is fixed before
// the first page: entries that fn appends are not part of the answer.
func (r reader) auditBounds(ctx context.Context, f audit.Filter) (seqRange, error) {
	query := `SELECT min(seq), max(seq) FROM audit_log WHERE time >= ? AND time < ?`
	since, until := int64(math.MinInt64), int64(math.MaxInt64)
	if !f.Since.IsZero() {
		since = micros(f.Since)
	}
	if !f.Until.IsZero() {
		until = micros(f.Until)
	}
	args := []any{since, until}
	if f.Since.IsZero() && f.Until.IsZero() {
		query, args = `SELECT (SELECT min(seq) FROM audit_log), (SELECT max(seq) FROM audit_log)`, nil
	}
	b, err := one(ctx, r.handle, scanRange, query, args...)
	if errors.Is(err, store.ErrNotFound) {
		return seqRange{1, 0}, nil
	}
	b.first = max(b.first, f.AfterSeq+1)
	return b, err
}

func scanRange(row scanner) (seqRange, error) {
	var first, last *int64
	if err := row.Scan(&first, &last); err != nil {
		return seqRange{}, err
	}
	if first == nil || last == nil {
		return seqRange{1, 0}, nil
	}
	return seqRange{*first, *last}, nil
}

// auditQuery asks for one page. That nobody walks by time instead, and sorts what may be half of the
// log, is what adding zero is for.
func auditQuery(f audit.Filter, b seqRange, limit int64) (query string, args []any) {
	if f.Lineage != "" {
		return lineageQuery(f, b, limit)
	}
	return filtered(selectEntry, f, b, limit)
}

// ofLineage are the conditions by each of which an entry is about a lineage, and that an index covers: the actor's, that
// of the object unless they are the same, and of what came before there was one: the request and the certificate that it began with, and
// entries of before that name no lineage.
var ofLineage = []string{
	"lineage = ? AND lineage <> ''",
	"object_lineage = ? AND object_lineage <> '' AND object_lineage <> lineage",
	"object_id = ? AND object_id <> ''",
}

// lineageQuery asks for one page of what is about a lineage: the first of what meets each condition, each by its index, of which
// the page is the beginning.
func lineageQuery(f audit.Filter, b seqRange, limit int64) (query string, args []any) {
	var parts []string
	for _, condition := range ofLineage {
		part, some := filtered("SELECT seq FROM audit_log ", f, b, limit, bound{condition, f.Lineage})
		parts, args = append(parts, "SELECT seq FROM ("+part+") AS part"), append(args, some...)
	}
	order := " ORDER BY seq LIMIT ?"
	if f.Newest {
		order = " ORDER BY seq DESC LIMIT ?"
	}
	return selectEntry + "WHERE seq IN (" + strings.Join(parts, " UNION ") + ")" + order, append(args, limit)
}

// A bound is a condition on a value.
type bound struct {
	condition string
	value     any
}

// filtered asks for a page of what meets conditions beside those of a filter.
func filtered(query string, f audit.Filter, b seqRange, limit int64, also ...bound) (string, []any) {
	query += `WHERE seq >= ? AND seq <= ?`
	args := []any{b.first, b.last}
	and := func(condition string, arg any) {
		query += " AND " + condition
		args = append(args, arg)
	}
	for _, b := range also {
		and(b.condition, b.value)
	}
	if f.Authority != "" {
		and("authority = ?", f.Authority)
	}
	if f.Action != "" {
		and("action = ?", string(f.Action))
	}
	if f.ActorKind != "" {
		and("actor_kind = ?", string(f.ActorKind))
	}
	if f.Address != "" {
		and("address = ?", f.Address)
	}
	if f.ObjectKind != "" {
		and("object_kind = ?", string(f.ObjectKind))
	}
	if f.ObjectID != "" {
		and("object_id = ? AND object_id <> ''", f.ObjectID) // which is what the index covers
	}
	if f.ActorSerial != nil {
		b, _ := serialBytes(f.ActorSerial)
		and("actor_serial = ?", required(b))
	}
	if f.ObjectSerial != nil {
		b, _ := serialBytes(f.ObjectSerial)
		and("object_serial = ?", required(b))
	}
	if !f.Since.IsZero() {
		and("time + 0 >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		and("time + 0 < ?", micros(f.Until))
	}
	if f.Newest {
		query += " ORDER BY seq DESC LIMIT ?"
	} else {
		query += " ORDER BY seq LIMIT ?"
	}
	return query, append(args, limit)
}
