package manage

import (
	"context"
	"fmt"
	"iter"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/caucase"
	"cauase/pkg/store"
)

// ImportCaucase fills a store that holds nothing, store.ErrExists otherwise, with what caucase has
// left behind. Progress, when set, is told from time to time how many rows have been written.
func ImportCaucase(ctx context.Context, st store.Store, now time.Time, db *caucase.Database, progress func(rows int)) (caucase.Report, error) {
	err := st.Update(ctx, func(tx store.Tx) error {
		return tx.Load(ctx, counted(withEntries(db, now), progress))
	})
	return db.Report(), err
}

// withEntries ends the rows with an entry of the audit log for each authority.
func withEntries(db *caucase.Database, now time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for row, err := range db.Rows(now) {
			if !yield(row, err) || err != nil {
				return
			}
		}
		for i, a := range db.Report().Authorities {
			e := audit.NewEntry(now, string(a.Authority), audit.Actor{Kind: audit.Operator}, audit.ImportAll, audit.Object{Kind: audit.KindDatabase, ID: "caucase"})
			e.Seq = int64(i) + 1
			e.Detail = fmt.Sprintf("%d CA certificates, %d pending requests, %d issued certificates, %d revocations", a.CAs, a.Pending, a.Issued, a.Revoked)
			if !yield(store.AuditEntry{Entry: e}, nil) {
				return
			}
		}
	}
}

// counted tells progress of what passes.
func counted(rows iter.Seq2[store.Row, error], progress func(int)) iter.Seq2[store.Row, error] {
	const every = 10_000
	return func(yield func(store.Row, error) bool) {
		n := 0
		for row, err := range rows {
			if n++; n%every == 0 && progress != nil {
				progress(n)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
