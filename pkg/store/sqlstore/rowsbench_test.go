package sqlstore_test

import (
	"context"
	"path/filepath"
	"testing"

	"cauase/pkg/store"
)

// rowsPopulation is what is moved where CAUASE_BENCH_CERTIFICATES does not say otherwise.
func rowsPopulation(b *testing.B) int { return max(population(b), 5000) }

func BenchmarkRows(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "db.sqlite"))
	loadSome(b, db, rowsPopulation(b))
	n := 0
	for b.Loop() {
		err := db.View(b.Context(), func(r store.Reader) error {
			return r.Rows(b.Context(), func(store.Row) error { n++; return nil })
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkLoad(b *testing.B) {
	count, loads := rowsPopulation(b), 0
	for b.Loop() {
		loadSome(b, open(b, filepath.Join(b.TempDir(), "db.sqlite")), count)
		loads++
	}
	b.ReportMetric(float64(loads)*float64(2*count+1)/b.Elapsed().Seconds(), "rows/s")
}

// loadSome fills an empty store with so many certificates and entries.
func loadSome(b *testing.B, db store.Store, count int) {
	b.Helper()
	err := db.Update(b.Context(), func(tx store.Tx) error {
		return tx.Load(context.WithoutCancel(b.Context()), func(yield func(store.Row, error) bool) {
			ok := yield(store.CA{ID: 1, Authority: store.Services, Certificate: []byte{1}}, nil)
			for n := 0; ok && n < count; n++ {
				c, _ := renewal(1)
				ok = yield(c, nil)
			}
			for n := 0; ok && n < count; n++ {
				_, e := renewal(1)
				e.Seq = int64(n + 1)
				ok = yield(store.AuditEntry{Entry: e}, nil)
			}
		})
	})
	if err != nil {
		b.Fatal(err)
	}
}
