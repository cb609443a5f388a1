package storetest

import (
	"context"
	"testing"

	"cauase/pkg/store"
)

// Prefetching changes no answer, be it of what is there or of what is not, before and after a write.
func testPrefetch(t *testing.T, d *db) {
	d.update(writeAll)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.DeleteRequest(ctx, store.Services, newRequest(store.Services, 1).ID)
	})
	type answers struct {
		Certificate, ByCSR store.Certificate
		Lineage            store.Lineage
		CAs                int
		Revocation         store.Revocation
		Counter            int64
		Setting            string
		CAKey, NoCAKey     bool
		Errors             []bool
	}
	ask := func(ctx context.Context, r store.Reader) (a answers) {
		note := func(err error) { a.Errors = append(a.Errors, err != nil) }
		var err error
		a.Certificate, err = r.CertificateBySerial(ctx, store.Services, serial(1))
		note(err)
		a.ByCSR, err = r.CertificateByCSR(ctx, store.Services, id20('d', 1))
		note(err)
		_, err = r.CertificateBySerial(ctx, store.Users, serial(1))
		note(err)
		a.Lineage, err = r.LineageOf(ctx, store.Services, serial(1))
		note(err)
		_, err = r.RenewalByCSR(ctx, store.Services, id20('d', 1), serial(1))
		note(err)
		cas, err := r.CAs(ctx, store.Services)
		a.CAs = len(cas)
		note(err)
		a.Revocation, err = r.Revocation(ctx, store.Services, serial(1))
		note(err)
		_, err = r.Revocation(ctx, store.Services, serial(2))
		note(err)
		a.Counter, err = r.Counter(ctx, store.Services, store.CounterCRLNumber)
		note(err)
		a.Setting, err = r.Setting(ctx, store.Services, "x")
		note(err)
		a.CAKey, err = r.IsCAKey(ctx, id20('k', 1))
		note(err)
		a.NoCAKey, err = r.IsCAKey(ctx, id20('k', 2))
		note(err)
		return a
	}
	var before, prefetched answers
	d.view(func(ctx context.Context, r store.Reader) error { before = ask(ctx, r); return nil })
	if before.CAs != 1 || !before.CAKey || before.Counter != 1 || before.Certificate.DER == nil || before.Lineage.ID == 0 {
		t.Errorf("there is nothing to ask for: %+v", before)
	}
	prefetch := func(ctx context.Context, r store.Reader) error {
		err := store.Prefetch(ctx, r, func(r store.Reader) { ask(ctx, r) })
		if err != nil {
			return err
		}
		for range 2 {
			prefetched = ask(ctx, r)
			same(t, "prefetched", prefetched, before)
		}
		return nil
	}
	d.view(prefetch)
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := prefetch(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.AddCounter(ctx, store.Services, store.CounterCRLNumber, 1); err != nil {
			return err
		}
		if err := tx.PutSetting(ctx, store.Services, "x", "z"); err != nil {
			return err
		}
		before.Counter, before.Setting = 2, "z"
		same(t, "after a write", ask(ctx, tx), before)
		return prefetch(ctx, tx)
	})
}
