package archive

import (
	"crypto/sha256"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

// benchCertificates is how many certificates the database holds: 400000 make a GiB.
const benchCertificates = "CAUASE_BENCH_CERTIFICATES"

// BenchmarkTake takes backups of a large database while certificates are issued from it.
func BenchmarkTake(b *testing.B) {
	n := 20_000
	if v := os.Getenv(benchCertificates); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	st, services := large(b, filepath.Join(dir, "db.sqlite"), n)
	out := filepath.Join(dir, "backups")
	if err := os.Mkdir(out, 0o700); err != nil {
		b.Fatal(err)
	}
	load := newLoad(b, services)
	time.Sleep(5 * time.Second) //permit:time.Sleep what is measured is time
	alone := load.perSecond()
	var size int64
	var heap uint64
	for b.Loop() {
		load.perSecond()
		taken, err := Take(b.Context(), st, clock.System(), "bench", out)
		if err != nil {
			b.Fatal(err)
		}
		size = taken.Size
		b.ReportMetric(load.perSecond(), "issued-meanwhile/s")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapSys)
		b.ReportMetric(taken.Took.Seconds(), "s/backup")
	}
	load.end()
	b.ReportMetric(alone, "issued-alone/s")
	b.ReportMetric(float64(size)/(1<<20), "MiB-backup")
	b.ReportMetric(float64(heap)/(1<<20), "MiB-heap")
	info, err := os.Stat(filepath.Join(dir, "db.sqlite"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-database")
}

// large makes a database with n certificates of services, and one user.
func large(b *testing.B, path string, n int) (store.Store, *ca.Authority) {
	b.Helper()
	ctx := b.Context()
	seed, err := sqlstore.Open(ctx, path+".seed", sqlstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer seed.Close()
	for _, name := range []store.AuthorityName{store.Users, store.Services} {
		a := benchAuthority(b, seed, name)
		submit(b, a)
	}
	st, err := sqlstore.Open(ctx, path, sqlstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	var rows []store.Row
	err = seed.View(ctx, func(r store.Reader) error {
		return r.Rows(ctx, func(row store.Row) error { rows = append(rows, row); return nil })
	})
	if err != nil {
		b.Fatal(err)
	}
	err = st.Update(ctx, func(tx store.Tx) error { return tx.Load(ctx, many(rows, n)) })
	if err != nil {
		b.Fatal(err)
	}
	return st, benchAuthority(b, st, store.Services)
}

// many repeats a certificate of services n times.
func many(rows []store.Row, n int) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
			c, ok := row.(store.Certificate)
			if !ok || c.Authority != store.Services {
				continue
			}
			for i := range n {
				digest := sha256.Sum256([]byte(strconv.Itoa(i)))
				c.ID = int64(i) + 1
				c.Serial, _ = pki.NewSerial()
				c.CSRDigest = digest[:]
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func benchAuthority(b *testing.B, st store.Store, name store.AuthorityName) *ca.Authority {
	b.Helper()
	a, err := catest.Open(b.Context(), st, clock.System(), catest.Config{
		Name: name, Netloc: "ca.example:80", Spans: rollover.Spans{Leaf: 93 * day, Life: 4},
		KeyType: pki.KeyECDSAP256, AutoApprove: 1 << 30, MaxPending: 50,
	})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func submit(b *testing.B, a *ca.Authority) {
	b.Helper()
	request := pkitest.NamedRequest(b, pkitest.Key(b), "host", "host.example.org")
	if _, err := catest.Wired(a).Submit(b.Context(), audit.Actor{Kind: audit.Anonymous}, request); err != nil && b.Context().Err() == nil {
		b.Error(err)
	}
}

// A load is issuance that goes on.
type load struct {
	issued atomic.Int64
	since  time.Time
	stop   chan struct{}
	done   sync.WaitGroup
}

func newLoad(b *testing.B, a *ca.Authority) *load {
	b.Helper()
	l := &load{since: clock.System().Now(), stop: make(chan struct{})}
	for range 8 {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				submit(b, a)
				l.issued.Add(1)
			}
		})
	}
	return l
}

// perSecond is how many were issued since it was last asked.
func (l *load) perSecond() float64 {
	now := clock.System().Now()
	n := float64(l.issued.Swap(0)) / now.Sub(l.since).Seconds()
	l.since = now
	return n
}

func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}
