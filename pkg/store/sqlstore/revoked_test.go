package sqlstore_test

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/store"
)

// A list of a million entries is read before it can be served for the first time: what lists say of a
// revocation is read without what else is known of it, and without making a row of it.
func TestRevokedIsReadWithoutRows(t *testing.T) {
	const count = 2000
	db := open(t, filepath.Join(t.TempDir(), "db.sqlite"))
	ctx := t.Context()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	err := db.Update(ctx, func(tx store.Tx) error {
		for i := range count {
			_, err := tx.AddRevocation(ctx, store.Revocation{
				Authority: store.Services, Serial: new(big.Int).Lsh(big.NewInt(int64(1000+i)), 140), KeyID: make([]byte, 20),
				RevokedAt: at, KeepUntil: at.AddDate(0, 3, 0), Reason: 4,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(ctx, func(r store.Reader) error {
		each := func(read func(context.Context, store.Reader) (int, error)) float64 {
			t.Helper()
			return testing.AllocsPerRun(3, func() {
				if n, err := read(ctx, r); err != nil || n != count {
					t.Errorf("%d of %d read, error %v", n, count, err)
				}
			}) / count
		}
		listed := each(func(ctx context.Context, r store.Reader) (n int, err error) {
			err = r.Revoked(ctx, store.Services, 0, 0, func(store.Revoked) error { n++; return nil })
			return n, err
		})
		rows := each(func(ctx context.Context, r store.Reader) (int, error) {
			list, err := r.Revocations(ctx, store.Services, 0, 0)
			return len(list), err
		})
		t.Logf("%.1f allocations a revocation, %.1f with rows", listed, rows)
		if listed > 8 {
			t.Errorf("%.1f allocations for each revocation, %.1f with rows", listed, rows)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
