package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"
)

// Since layout 6 a renewal is written to fewer indices whose order is random, each of which costs a page of its own in a database of millions. That it
// was made of a request is found by its lineage; and an entry whose actor and object are of one lineage is found by either.
// An earlier version that goes on with the database misses the indices that were replaced, and takes longer for what it finds by them.

// renewalIndices take the place of indices that renewals were in.
func renewalIndices(d *dialect) []sideIndex {
	seq := ""
	if d.name == "postgres" {
		seq = ", seq"
	}
	return []sideIndex{
		{"certificate_request", "certificate", "(authority, csr_digest) WHERE csr_digest IS NOT NULL AND renews IS NULL"},                // CertificateByCSR
		{"audit_log_other_lineage", "audit_log", "(object_lineage" + seq + ") WHERE object_lineage <> '' AND object_lineage <> lineage"}, // Audit
	}
}

// prepareRenewalIndices makes them while others use the database.
func prepareRenewalIndices(ctx context.Context, d *dialect, db *sql.DB, log *slog.Logger) error {
	if d.name == "postgres" {
		return besideOthers(ctx, db, func(conn *sql.Conn) error {
			return indexBesideOthers(ctx, conn, renewalIndices(d), log)
		})
	}
	return createAll(ctx, db, renewalIndices(d))
}

// changeToRenewals changes the layout to that of version 6.
func changeToRenewals(ctx context.Context, d *dialect, tx *sql.Tx) error {
	if err := holdUpdates(ctx, d, tx); err != nil {
		return err
	}
	if err := createAll(ctx, tx, renewalIndices(d)); err != nil {
		return err
	}
	for _, replaced := range []string{"certificate_csr", "audit_log_object_lineage"} {
		if _, err := tx.ExecContext(ctx, "DROP INDEX IF EXISTS "+replaced); err != nil {
			return err
		}
	}
	return nil
}
