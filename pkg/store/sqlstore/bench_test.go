package sqlstore_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// benchPostgres runs a benchmark on PostgreSQL, flushing to disk as it would in earnest.
func benchPostgres(b *testing.B) string {
	return pgtest.Start(b, pgtest.Options{Durable: true}).NewDatabase(b)
}

// population is how many certificates there are before a benchmark starts: set
// CAUASE_BENCH_CERTIFICATES to see what a large database costs. A run may keep its database
// in CAUASE_BENCH_DB, for the next one to find.
func population(b *testing.B) int {
	n, _ := strconv.Atoi(os.Getenv("CAUASE_BENCH_CERTIFICATES"))
	return n
}

func benchStart() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// renewal is what one renewal stores: as large as that of an ECDSA key, and as random.
func renewal(caID int64) (store.Certificate, audit.Entry) {
	id := int64(binary.BigEndian.Uint64(randomBytes(8)) >> 1)
	serial := new(big.Int).SetBytes(randomBytes(19))
	return store.Certificate{
			Authority: store.Services, ID: id, Serial: serial, CAID: caID,
			Subject: "CN=host-0000.example", SANs: []string{"DNS:host-0000.example"},
			NotBefore: benchStart(), NotAfter: benchStart().AddDate(0, 0, 93),
			KeyID: randomBytes(20), IssuedAt: benchStart(),
			IssuedBy: "holder serial=" + serial.String() + " key=0000", Method: store.Renewed, Renews: serial,
			CSR: randomBytes(500), CSRDigest: randomBytes(32), DER: randomBytes(1024),
		}, audit.NewEntry(benchStart(), "cas", audit.Actor{Kind: audit.Holder, Serial: serial, Address: "192.0.2.1"},
			audit.Renew, audit.SerialObject(serial))
}

func benchFile(b *testing.B) string {
	if path := os.Getenv("CAUASE_BENCH_DB"); path != "" {
		return path
	}
	return filepath.Join(b.TempDir(), "db.sqlite")
}

func benchDB(b *testing.B, dsn string) (*sqlstore.DB, int64) {
	db := open(b, dsn)
	var caID int64
	add := 0
	err := db.Update(b.Context(), func(tx store.Tx) error {
		cas, err := tx.CAs(b.Context(), store.Services)
		if err != nil || len(cas) > 0 {
			caID = 1
			return err
		}
		add = population(b)
		caID, err = tx.AddCA(b.Context(), store.CA{Authority: store.Services, Certificate: []byte{1}})
		return err
	})
	for added := 0; err == nil && added < add; {
		err = db.Update(b.Context(), func(tx store.Tx) error {
			for range min(10_000, add-added) {
				c, e := renewal(caID)
				if err := errors.Join(tx.AddCertificate(b.Context(), c), tx.AppendAudit(b.Context(), e)); err != nil {
					return err
				}
				added++
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	return db, caID
}

func renew(ctx context.Context, db *sqlstore.DB, caID int64) error {
	c, e := renewal(caID)
	return db.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Revocation(ctx, store.Services, c.Renews); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(err, store.ErrExists)
		}
		if err := tx.AddCertificate(ctx, c); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, e)
	})
}

func perSecond(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "/s") }

func BenchmarkUpdateSequential(b *testing.B)         { updateSequential(b, benchFile(b)) }
func BenchmarkUpdateSequentialPostgres(b *testing.B) { updateSequential(b, benchPostgres(b)) }

func updateSequential(b *testing.B, dsn string) {
	db, caID := benchDB(b, dsn)
	for b.Loop() {
		if err := renew(b.Context(), db, caID); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b)
}

func BenchmarkUpdateParallel(b *testing.B)         { updateParallel(b, benchFile(b), 1) }
func BenchmarkUpdateParallelPostgres(b *testing.B) { updateParallel(b, benchPostgres(b), 1) }

// Four daemons share one database.
func BenchmarkUpdateDaemonsPostgres(b *testing.B) { updateParallel(b, benchPostgres(b), 4) }

func updateParallel(b *testing.B, dsn string, daemons int) {
	db, caID := benchDB(b, dsn)
	dbs := []*sqlstore.DB{db}
	for len(dbs) < daemons {
		dbs = append(dbs, open(b, dsn))
	}
	ctx, cancel := context.WithCancel(b.Context()) // as HTTP requests have
	defer cancel()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	var next atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		db := dbs[int(next.Add(1))%len(dbs)]
		for pb.Next() {
			if err := renew(ctx, db, caID); err != nil {
				b.Error(err)
				return
			}
		}
	})
	perSecond(b)
}

func BenchmarkViewCertificate(b *testing.B)         { viewCertificate(b, benchFile(b)) }
func BenchmarkViewCertificatePostgres(b *testing.B) { viewCertificate(b, benchPostgres(b)) }

func viewCertificate(b *testing.B, dsn string) {
	db, caID := benchDB(b, dsn)
	c, e := renewal(caID)
	if err := db.Update(b.Context(), func(tx store.Tx) error {
		return errors.Join(tx.AddCertificate(b.Context(), c), tx.AppendAudit(b.Context(), e))
	}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := db.View(ctx, func(r store.Reader) error {
				_, err := r.CertificateBySerial(ctx, store.Services, c.Serial)
				return err
			}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	perSecond(b)
}

// Reading all revocations page by page, as the list that CRLs are made from is built at start.
func BenchmarkRevocations(b *testing.B) {
	const count, page = 1_000_000, 10_000
	db := open(b, filepath.Join(b.TempDir(), "db.sqlite"))
	ctx := b.Context()
	for range count / page {
		err := db.Update(ctx, func(tx store.Tx) error {
			for range page {
				if _, err := tx.AddRevocation(ctx, store.Revocation{
					Authority: store.Services, Serial: new(big.Int).SetBytes(randomBytes(19)), KeyID: randomBytes(20),
					RevokedAt: benchStart(), KeepUntil: benchStart().AddDate(0, 0, 93), Reason: 4,
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var peak atomic.Uint64
	for b.Loop() {
		n, after := 0, int64(0)
		err := db.View(ctx, func(r store.Reader) error {
			for {
				list, err := r.Revocations(ctx, store.Services, after, page)
				if err != nil || len(list) == 0 {
					return err
				}
				n, after = n+len(list), list[len(list)-1].Seq
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapInuse))
			}
		})
		if err != nil || n != count {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(peak.Load())/1e6, "MB-heap")
}
