package sqlstore

import (
	"context"
	"errors"
	"math"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

const selectEntry = `
	SELECT seq, time, authority, actor, address, action, object, result, detail, request_id FROM audit_log `

func (t tx) AppendAudit(ctx context.Context, e audit.Entry) error {
	return t.later(ctx, `
		INSERT INTO audit_log (time, authority, actor, address, action, object, result, detail, request_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		micros(e.Time), e.Authority, e.Actor.String(), e.Actor.Address, string(e.Action), e.Object.String(), string(e.Result),
		e.Detail, e.Actor.RequestID)
}

// loadEntry keeps the Seq.
func (t tx) loadEntry(ctx context.Context, e store.AuditEntry) error {
	return t.insert(ctx, `
		INSERT INTO audit_log (seq, time, authority, actor, address, action, object, result, detail, request_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.Seq, micros(e.Time), e.Authority, e.Actor.String(), e.Actor.Address, string(e.Action), e.Object.String(), string(e.Result),
		e.Detail, e.Actor.RequestID)
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
		page, err := list(ctx, r.handle, scanEntry, query, args...)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := fn(e); err != nil {
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
	query = selectEntry + `WHERE seq >= ? AND seq <= ?`
	args = []any{b.first, b.last}
	and := func(condition string, arg any) {
		query += " AND " + condition
		args = append(args, arg)
	}
	if f.Authority != "" {
		and("authority = ?", f.Authority)
	}
	if f.Action != "" {
		and("action = ?", string(f.Action))
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

func scanEntry(row scanner) (e audit.Entry, err error) {
	var at int64
	var actor, address, object, requestID string
	err = row.Scan(&e.Seq, &at, &e.Authority, &actor, &address, &e.Action, &object, &e.Result,
		&e.Detail, &requestID)
	e.Time = fromMicros(at)
	e.Actor, e.Object = audit.ParseActor(actor), audit.ParseObject(object)
	e.Actor.Address, e.Actor.RequestID = address, requestID
	return e, err
}
