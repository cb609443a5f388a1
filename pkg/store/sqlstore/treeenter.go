package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"log/slog"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// Since layout 8 the audit log is a tree. What was recorded before enters it in the order of seq, batch by batch, while an earlier version may use
// the database: the columns and tables mean nothing to it. What it records meanwhile, or as long as it goes on after the layout has changed, has no
// hash and is behind the head of the tree; the next Update of this version that records something has it enter first.

// enterBatch is how many entries enter at once.
const enterBatch = 1000

var (
	// entriesBehind asks for the entries behind the head, with the certificates that they are about.
	entriesBehind = "SELECT " + qualified(auditLog.table, "e") + `, c.der FROM audit_log e LEFT JOIN certificate c
		ON e.action IN ('crt.sign', 'crt.renew') AND e.result = 'ok' AND c.authority = e.authority AND c.serial = e.object_serial
		WHERE e.seq > ? ORDER BY e.seq LIMIT ?`
	enterEntry = "UPDATE audit_log SET leaf = ?, hash = ?, object_digest = ? WHERE seq = ?"
)

func qualified(t table, alias string) string {
	text := ""
	for i, name := range columnNames(t.kind) {
		if i > 0 {
			text += ", "
		}
		text += alias + "." + name
	}
	return text
}

// enterAll has all entries enter that are behind a head, and returns where it is then.
func enterAll(ctx context.Context, a access, from head) (head, error) {
	for {
		next, n, err := enterSome(ctx, a, from, enterBatch)
		if err != nil || n == 0 {
			return next, err
		}
		from = next
	}
}

// enterSome has at most limit entries enter, and returns where the head is then and how many there were. It ends at one that has a hash: that was in
// the tree already.
func enterSome(ctx context.Context, a access, from head, limit int) (head, int, error) {
	var behind []audit.Entry
	err := a.each(ctx, func(row scanner) error {
		var der []byte
		values, err := auditLog.values(also{row, &der})
		if err != nil {
			return err
		}
		kept, err := auditLog.row(values)
		if err != nil {
			return err
		}
		if len(kept.Digest) == 0 && len(der) > 0 {
			digest := sha256.Sum256(der)
			kept.Digest = digest[:]
		}
		behind = append(behind, kept.Entry)
		return nil
	}, entriesBehind, from.Seq, limit)
	if err != nil {
		return from, 0, err
	}
	g, err := newGrowth(from)
	if err != nil {
		return from, 0, err
	}
	n := 0
	for ; n < len(behind) && behind[n].Hash == nil; n++ {
		e := behind[n]
		e.Leaf = g.frontier.Size()
		hash := e.LeafHash(from.Secret)
		if err := a.exec(ctx, enterEntry, e.Leaf, hash[:], optional(e.Digest), e.Seq); err != nil {
			return from, 0, err
		}
		g.add(hash)
		from.Seq = e.Seq
	}
	if n == 0 {
		return from, 0, nil
	}
	if err := g.write(ctx, a, from.Seq); err != nil {
		return from, 0, err
	}
	from.Size, from.Edge = g.frontier.Size(), g.frontier.Edge()
	from.lastSeq = max(from.lastSeq, from.Seq)
	return from, n, nil
}

// also scans a row that has a column more.
type also struct {
	scanner
	last any
}

func (a also) Scan(dest ...any) error { return a.scanner.Scan(append(dest, a.last)...) }

// newLog is the head of a tree without leaves.
func newLog() store.Log {
	var origin [8]byte
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(origin[:]) // which never fail
	_, _ = rand.Read(secret)
	return store.Log{ID: 1, Origin: merkle.OriginPrefix + hex.EncodeToString(origin[:]), Secret: secret, Edge: []byte{}, Epoch: 1, Epochs: "[]"}
}

// addTree makes the columns and tables, unless they are there, and the head.
func addTree(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	octets := map[string]string{"sqlite": "BLOB", "postgres": "BYTEA"}
	for _, column := range []struct {
		name  string
		types map[string]string
	}{
		{"object_digest", octets}, // SHA-256 of the certificate that was issued
		{"leaf", map[string]string{"sqlite": "INTEGER NOT NULL DEFAULT 0", "postgres": "BIGINT NOT NULL DEFAULT 0"}}, // the place in the tree
		{"hash", octets}, // of the leaf
	} {
		if err := addColumn(ctx, d, tx, "audit_log", column.name, column.types); err != nil {
			return err
		}
	}
	if err := runStep(ctx, d, tx, "tree"); err != nil {
		return err
	}
	args, err := logs.args(newLog())
	if err != nil {
		return err
	}
	return accessIn(d, tx).exec(ctx, logs.insert+" ON CONFLICT DO NOTHING", args...)
}

// treeIndices are made in advance.
func treeIndices(d *dialect) []sideIndex {
	seq := ""
	if d.name == "postgres" {
		seq = ", seq"
	}
	return []sideIndex{{"audit_log_object_digest", "audit_log", "(object_digest" + seq + ") WHERE object_digest IS NOT NULL"}} // LogEntryByDigest
}

// prepareTree has all entries enter that there are now, each batch in a transaction of its own.
func prepareTree(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	_, err := inTransaction(ctx, db, func(tx *sql.Tx) (none struct{}, err error) { return none, addTree(ctx, d, tx) })
	if err != nil {
		return err
	}
	if d.name == "postgres" {
		err = besideOthers(ctx, db, func(conn *sql.Conn) error { return indexBesideOthers(ctx, conn, treeIndices(d), log) })
	} else {
		err = createAll(ctx, db, treeIndices(d))
	}
	if err != nil {
		return err
	}
	const often = 100 // batches
	for i, total := 1, 0; ; i++ {
		n, err := inTransaction(ctx, db, func(tx *sql.Tx) (int, error) {
			if err := holdUpdates(ctx, d, tx); err != nil {
				return 0, err
			}
			a := accessIn(d, tx)
			from, err := a.head(ctx)
			if err != nil {
				return 0, err
			}
			_, n, err := enterSome(ctx, a, from, enterBatch)
			return n, err
		})
		if err != nil || n == 0 {
			return err
		}
		if total += n; i%often == 0 {
			log.InfoContext(ctx, "entering the audit log into its Merkle tree", "entries", total)
		}
	}
}

// changeToMerkle changes the layout to that of version 8.
func changeToMerkle(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := addTree(ctx, d, tx); err != nil {
		return err
	}
	if err := createAll(ctx, tx, treeIndices(d)); err != nil {
		return err
	}
	if err := runStep(ctx, d, tx, "merkle"); err != nil {
		return err
	}
	// What has been recorded meanwhile, by others.
	a := accessIn(d, tx)
	from, err := a.head(ctx)
	if err != nil {
		return err
	}
	_, err = enterAll(ctx, a, from)
	return err
}

// head is where the tree ends.
func (a access) head(ctx context.Context) (at head, err error) {
	found := false
	err = a.each(ctx, func(row scanner) (err error) {
		found = true
		at, err = scanHead(row)
		return err
	}, selectHead)
	if err == nil && !found {
		err = errNoHead
	}
	return at, err
}

// accessIn is that of a transaction of a migration.
func accessIn(d *dialect, tx *sql.Tx) access {
	n := nameIn(d, tx)
	return access{each: n.each, exec: n.exec, grow: d.growTile, move: d.moveHead}
}
