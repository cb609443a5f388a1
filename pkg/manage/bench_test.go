package manage

import (
	"crypto/rand"
	"math/big"
	"os"
	"strconv"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// population is how many certificates there are: set CAUASE_BENCH_CERTIFICATES to see what a large
// database costs.
func population() int {
	if n, err := strconv.Atoi(os.Getenv("CAUASE_BENCH_CERTIFICATES")); err == nil {
		return n
	}
	return 2000
}

// populate fills a store with rows of the size of real ones, that mean nothing.
func populate(b *testing.B, s store.Store, count int) {
	b.Helper()
	random := func(n int) []byte {
		p := make([]byte, n)
		_, _ = rand.Read(p) // never fails
		return p
	}
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	err := s.Update(b.Context(), func(tx store.Tx) error {
		return tx.Load(b.Context(), func(yield func(store.Row, error) bool) {
			if !yield(store.CA{ID: 1, Authority: store.Services, CreatedAt: at, NotBefore: at, NotAfter: at}, nil) {
				return
			}
			for range count {
				serial, id := new(big.Int).SetBytes(random(19)), new(big.Int).SetBytes(random(7))
				if !yield(store.Certificate{Authority: store.Services, ID: id.Int64(), Serial: serial, CAID: 1, Subject: "CN=host-0000.example",
					SANs: []string{"DNS:host-0000.example"}, NotBefore: at, NotAfter: at, KeyID: random(20), IssuedAt: at,
					IssuedBy: "holder serial=" + serial.String(), Method: store.Renewed, CSR: random(800), CSRDigest: random(32), DER: random(1024)}, nil) {
					return
				}
			}
			for n := range count {
				if !yield(store.AuditEntry{Entry: audit.Entry{Seq: int64(n + 1), Time: at, Authority: "cas", Actor: audit.Actor{Kind: audit.Holder}, Action: audit.Renew,
					Object: audit.SerialObject(big.NewInt(725041827894627619)), Result: audit.OK}}, nil) {
					return
				}
			}
		})
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Copying, which is Rows, Load and Rows once more; one round trip each way.
func BenchmarkCopy(b *testing.B) {
	postgres := func(b *testing.B) *sqlstore.DB {
		return openStore(b, pgtest.Start(b, pgtest.Options{Durable: true}).NewDatabase(b))
	}
	sqlite := func(b *testing.B) *sqlstore.DB { return newStore(b) }
	for _, test := range []struct {
		name     string
		from, to func(*testing.B) *sqlstore.DB
	}{{"sqlite to sqlite", sqlite, sqlite}, {"sqlite to postgres", sqlite, postgres}, {"postgres to sqlite", postgres, sqlite}} {
		b.Run(test.name, func(b *testing.B) {
			from := test.from(b)
			populate(b, from, population())
			var rows int64
			for b.Loop() {
				b.StopTimer()
				to := test.to(b)
				b.StartTimer()
				sum, err := Copy(b.Context(), from, to, entry(), nil)
				if err != nil {
					b.Fatal(err)
				}
				rows += sum.Rows()
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
