package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Before layout 3 a certificate said only which one it renews. There may be millions, in chains of thousands,
// so that they are told their lineages in the order of issuance, batch by batch: by then the one that is renewed
// knows its own. While that goes on an earlier version can use the database, to which the column means nothing.

// lineageBatch is how many certificates are told their lineage at once.
const lineageBatch = 1000

// A carrier tells certificates their lineages.
type carrier struct {
	each func(ctx context.Context, fn func(scanner) error, query string) error
	exec func(ctx context.Context, query string) error
}

func carryIn(tx *sql.Tx) carrier {
	return carrier{
		each: func(ctx context.Context, fn func(scanner) error, query string) (err error) {
			rows, err := tx.QueryContext(ctx, query)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, rows.Close()) }()
			for rows.Next() {
				if err := fn(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		},
		exec: func(ctx context.Context, query string) error { _, err := tx.ExecContext(ctx, query); return err },
	}
}

// A descent is where a certificate stands: which one it renews, and the lineages of both, 0 as long as they are
// not known.
type descent struct {
	seq, id, lineage         int64
	predecessor, predLineage sql.NullInt64 // seq and lineage of what it renews, if that is on record
}

const descents = `SELECT c.seq, c.id, c.lineage, p.seq, p.lineage
	FROM certificate c LEFT JOIN certificate p ON p.authority = c.authority AND p.serial = c.renews `

func (d *descent) scan(row scanner) error {
	return row.Scan(&d.seq, &d.id, &d.lineage, &d.predecessor, &d.predLineage)
}

// batch tells the certificates after one their lineages, size of them, and returns the seq of the last, 0 when there was none.
func (c carrier) batch(ctx context.Context, after int64, size int) (last int64, err error) {
	var found []descent
	err = c.each(ctx, func(row scanner) error {
		var d descent
		err := d.scan(row)
		found = append(found, d)
		return err
	}, descents+fmt.Sprintf(`WHERE c.seq > %d ORDER BY c.seq LIMIT %d`, after, size))
	if err != nil || len(found) == 0 {
		return 0, err
	}
	told := make(map[int64]int64, len(found)) // lineages of this batch, by seq
	var changed []int64
	for _, d := range found {
		path, lineage, err := c.resolve(ctx, d, told)
		if err != nil {
			return 0, err
		}
		for _, seq := range path {
			told[seq] = lineage
		}
		changed = append(changed, path...)
	}
	return found[len(found)-1].seq, c.tell(ctx, changed, told)
}

// resolve finds the lineage of a certificate, and which ones on the way there belong to it, too, and do not know
// it. Usually that is the certificate itself: only where the order of issuance was lost does one come before what
// it renews.
func (c carrier) resolve(ctx context.Context, d descent, told map[int64]int64) (path []int64, lineage int64, err error) {
	seen := map[int64]bool{}
	for {
		if known := told[d.seq]; known != 0 {
			return path, known, nil
		}
		if d.lineage != 0 {
			return path, d.lineage, nil
		}
		path, seen[d.seq] = append(path, d.seq), true
		switch known := told[d.predecessor.Int64]; {
		case !d.predecessor.Valid || seen[d.predecessor.Int64]: // a circle is what nobody has written but by hand
			return path, d.id, nil
		case known != 0:
			return path, known, nil
		case d.predLineage.Int64 != 0:
			return path, d.predLineage.Int64, nil
		}
		next := descent{}
		err := c.each(ctx, func(row scanner) error { return next.scan(row) }, descents+fmt.Sprintf(`WHERE c.seq = %d`, d.predecessor.Int64))
		if err != nil {
			return nil, 0, err
		}
		d = next
	}
}

func (c carrier) tell(ctx context.Context, changed []int64, lineages map[int64]int64) error {
	for len(changed) > 0 {
		part := changed[:min(len(changed), lineageBatch)]
		changed = changed[len(part):]
		var query strings.Builder
		query.WriteString(`WITH told (seq, lineage) AS (VALUES `)
		for i, seq := range part {
			if i > 0 {
				query.WriteString(", ")
			}
			fmt.Fprintf(&query, "(%d, %d)", seq, lineages[seq])
		}
		query.WriteString(`) UPDATE certificate SET lineage = told.lineage FROM told WHERE certificate.seq = told.seq`)
		if err := c.exec(ctx, query.String()); err != nil {
			return err
		}
	}
	return nil
}

// all tells the certificates after one, until all know.
func (c carrier) all(ctx context.Context, after int64) error {
	for {
		last, err := c.batch(ctx, after, lineageBatch)
		if err != nil || last == 0 {
			return err
		}
		after = last
	}
}

// collect makes the rows of lineages from what their certificates say. The newest certificate is the last one issued of those that
// were not renewed themselves: there are several where a lineage has forked, and rows need not come in the order of issuance. Where the newest certificate was
// revoked, but not as superseded, its holder was not to go on, and has ended; authorities see to the rest of it.
const collect = `
	INSERT INTO lineage (authority, id, created_at, subject, role, profile, state, ended_at, reason, newest, not_after,
		renewals, renewed_at, address, forks, forked_at, fork_address, forked_from, day, day_renewals, day_revocations, day_bytes)
	SELECT g.authority, g.lineage, f.issued_at, f.subject,
		CASE WHEN r.serial IS NULL AND EXISTS (SELECT 1 FROM authority a WHERE a.name = g.authority AND a.role = 'users')
			THEN 'administrator' ELSE '' END,
		n.profile, CASE WHEN r.serial IS NULL THEN 'active' ELSE 'ending' END, r.revoked_at, coalesce(r.reason, 0),
		n.serial, g.not_after, g.count - 1, CASE WHEN g.count > 1 THEN n.issued_at END, '', 0, NULL, '', '', NULL, 0, 0, 0
	FROM (SELECT authority, lineage, count(*) AS count, max(not_after) AS not_after
		FROM certificate GROUP BY authority, lineage) g
	JOIN certificate f ON f.authority = g.authority AND f.id = g.lineage
	JOIN (SELECT c.authority, c.lineage, c.seq, row_number() OVER (PARTITION BY c.authority, c.lineage ORDER BY
			CASE WHEN s.renews IS NULL THEN 0 ELSE 1 END, c.issued_at DESC, c.seq DESC) AS age
		FROM certificate c LEFT JOIN (SELECT DISTINCT authority, renews FROM certificate WHERE renews IS NOT NULL) s
			ON s.authority = c.authority AND s.renews = c.serial) a ON a.authority = g.authority AND a.lineage = g.lineage AND a.age = 1
	JOIN certificate n ON n.seq = a.seq
	LEFT JOIN revocation r ON r.authority = g.authority AND r.serial = n.serial AND r.reason <> 4
	WHERE NOT EXISTS (SELECT 1 FROM lineage l WHERE l.authority = g.authority AND l.id = g.lineage)`

// prepareLineages tells certificates their lineages, each batch in a transaction of its own, and returns the seq
// of the last one that was.
func prepareLineages(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) (after int64, err error) {
	const often = 100 // batches
	for n := 1; ; n++ {
		last, err := inTransaction(ctx, db, func(tx *sql.Tx) (int64, error) {
			if err := holdUpdates(ctx, d, tx); err != nil {
				return 0, err
			}
			if n == 1 {
				if err := addLineageColumn(ctx, d, tx); err != nil {
					return 0, err
				}
			}
			return carryIn(tx).batch(ctx, after, lineageBatch)
		})
		if err != nil || last == 0 {
			return after, err
		}
		after = last
		if n%often == 0 {
			log.InfoContext(ctx, "finding out which certificates renew each other", "certificate", last)
		}
	}
}

// A beginner begins transactions: a database, or one connection.
type beginner interface {
	BeginTx(ctx context.Context, options *sql.TxOptions) (*sql.Tx, error)
}

func inTransaction[T any](ctx context.Context, db beginner, fn func(*sql.Tx) (T, error)) (v T, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return v, err
	}
	if v, err = fn(tx); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		err = errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return v, err
}

// addLineageColumn adds the column, unless it is there.
func addLineageColumn(ctx context.Context, d *dialect, tx *sql.Tx) error {
	return addColumn(ctx, d, tx, "certificate", "lineage", map[string]string{
		"sqlite":   `INTEGER NOT NULL DEFAULT 0`,
		"postgres": `BIGINT NOT NULL DEFAULT 0`,
	})
}

// changeToLineages changes the layout to that of version 3. Certificates up to after have been told their lineages.
func changeToLineages(ctx context.Context, d *dialect, tx *sql.Tx, after int64) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	if err := addLineageColumn(ctx, d, tx); err != nil {
		return err
	}
	// What has been issued meanwhile, by others.
	if err := carryIn(tx).all(ctx, after); err != nil {
		return err
	}
	if err := runStep(ctx, d, tx, "lineages"); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, collect)
	return err
}

// deriveLineages does all that for certificates that were loaded without.
func (t tx) deriveLineages(ctx context.Context) error {
	c := carrier{
		each: func(ctx context.Context, fn func(scanner) error, query string) error { return t.each(ctx, fn, query) },
		exec: func(ctx context.Context, query string) error { _, err := t.exec(ctx, query); return err },
	}
	if err := c.all(ctx, 0); err != nil {
		return err
	}
	_, err := t.exec(ctx, collect)
	return err
}
