package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"cauase/pkg/audit"
)

// Before layout 2 the actor and the object of an audit entry were one text each. The log may have millions of
// entries, so that it is carried over in batches, each in a transaction of its own, while it stays
// as it was for its users: if that is interrupted, the next start goes on where it ended, and until the
// layout changes, at once and as a whole, an earlier version can use the database.

// auditBatch is how many entries are carried over at once.
const auditBatch = 500

// An oldEntry is what changes of an entry.
type oldEntry struct {
	seq                    int64
	actor, address, object string
	rest                   []any // columns that stay as they are
}

// parsed are the actor's kind, serial and key identifier, and the object's kind, id and serial.
func (e oldEntry) parsed() (actor audit.Actor, object audit.Object, actorSerial, objectSerial any) {
	actor, object = audit.ParseActor(e.actor, e.address), audit.ParseObject(e.object)
	keep := func(b []byte, ok bool) any {
		if !ok {
			return nil
		}
		return b
	}
	if actor.Serial != nil {
		if actorSerial = keep(serialBytes(actor.Serial)); actorSerial == nil {
			actor = audit.Actor{Kind: audit.Kind(e.actor)} // no serial that there can be
		}
	}
	if object.Serial != nil {
		if objectSerial = keep(serialBytes(object.Serial)); objectSerial == nil {
			object = audit.Object{Kind: audit.ObjectKind(e.object)}
		}
	}
	return actor, object, actorSerial, objectSerial
}

// carryAudit carries all entries over that there are now. Of several processes that start at once one waits
// for the other, batch by batch.
func carryAudit(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	const often = 200 // batches
	var after int64
	for n := 1; ; n++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		last, err := carryBatch(ctx, d, tx, after, auditBatch)
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			return errors.Join(err, ignoreDone(tx.Rollback()))
		}
		if last == 0 {
			return nil
		}
		after = last
		if n%often == 0 {
			log.InfoContext(ctx, "carrying the audit log over to the new layout", "entry", last)
		}
	}
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// carryBatch carries the next entries over, size of them, and returns the seq of the last one, 0 when there was none.
func carryBatch(ctx context.Context, d *dialect, tx *sql.Tx, after int64, size int) (last int64, err error) {
	query := `SELECT seq, actor, address, object, time, authority, action, result, detail, request_id FROM audit_log
		WHERE seq > max(?, (SELECT coalesce(max(seq), 0) FROM audit_entry)) ORDER BY seq LIMIT ?`
	// No entry is added to those that are read.
	if err := holdUpdates(ctx, d, tx); err != nil {
		return 0, err
	}
	if d.name == "postgres" {
		query = `SELECT seq, actor, address, object, time, authority, action, result, detail, request_id FROM audit_log
			WHERE seq > $1 AND actor_kind = '' AND (actor <> '' OR object <> '' AND object_kind = '') ORDER BY seq LIMIT $2`
	}
	rows, err := tx.QueryContext(ctx, query, after, size)
	if err != nil {
		return 0, err
	}
	var batch []oldEntry
	for rows.Next() {
		e := oldEntry{rest: make([]any, 6)}
		if err := rows.Scan(&e.seq, &e.actor, &e.address, &e.object, &e.rest[0], &e.rest[1], &e.rest[2], &e.rest[3], &e.rest[4], &e.rest[5]); err != nil {
			return 0, errors.Join(err, rows.Close())
		}
		batch = append(batch, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(batch) == 0 {
		return 0, err
	}
	write := copyEntries
	if d.name == "postgres" {
		write = updateEntries
	}
	return batch[len(batch)-1].seq, write(ctx, tx, batch)
}

// copyEntries writes entries into the table that will take the log's place.
func copyEntries(ctx context.Context, tx *sql.Tx, batch []oldEntry) error {
	const columns = `INSERT INTO audit_entry (seq, address, time, authority, action, result, detail, request_id,
		actor_kind, actor_serial, actor_key_id, object_kind, object_id, object_serial, actor_role, lineage) VALUES `
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '')`
	var args []any
	for _, e := range batch {
		actor, object, actorSerial, objectSerial := e.parsed()
		args = append(append(append(args, e.seq, e.address), e.rest...), string(actor.Kind), actorSerial, optional(actor.KeyID),
			string(object.Kind), object.ID, objectSerial)
	}
	_, err := tx.ExecContext(ctx, columns+row+strings.Repeat(", "+row, len(batch)-1), args...)
	return err
}

// updateEntries fills in the columns that are new.
func updateEntries(ctx context.Context, tx *sql.Tx, batch []oldEntry) error {
	var query strings.Builder
	query.WriteString(`UPDATE audit_log SET actor_kind = v.actor_kind, actor_serial = v.actor_serial, actor_key_id = v.actor_key_id,
		object_kind = v.object_kind, object_id = v.object_id, object_serial = v.object_serial FROM (VALUES `)
	var args []any
	for i, e := range batch {
		if i > 0 {
			query.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&query, "($%d::bigint, $%d, $%d::bytea, $%d::bytea, $%d, $%d, $%d::bytea)", n+1, n+2, n+3, n+4, n+5, n+6, n+7)
		actor, object, actorSerial, objectSerial := e.parsed()
		args = append(args, e.seq, string(actor.Kind), actorSerial, optional(actor.KeyID), string(object.Kind), object.ID, objectSerial)
	}
	query.WriteString(`) AS v (seq, actor_kind, actor_serial, actor_key_id, object_kind, object_id, object_serial) WHERE audit_log.seq = v.seq`)
	_, err := tx.ExecContext(ctx, query.String(), args...)
	return err
}
