package ca

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// revoked fills the store with n revocations.
func (w *world) revoked(n int) {
	w.t.Helper()
	const batch = 10_000
	for done := 0; done < n; {
		err := w.store.Update(w.ctx, func(tx store.Tx) error {
			for i := range min(batch, n-done) {
				serial := new(big.Int).Lsh(big.NewInt(int64(1_000_000_000+done+i)), 120)
				_, err := tx.AddRevocation(w.ctx, store.Revocation{
					Authority: store.Services, Serial: serial, RevokedAt: epoch, KeepUntil: epoch.Add(1000 * day),
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		done += min(batch, n-done)
	}
}

var crlSizes = []int{1_000, 10_000, 100_000, 1_000_000}

// What the first list after a start costs.
func BenchmarkCRLFresh(b *testing.B) {
	for _, n := range crlSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			w.open(config(store.Services))
			w.revoked(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.open(config(store.Services)).CRLs(w.ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Renewals, durable, from as many clients as the machine bears. Each host renews once, as a lineage has a budget.
func BenchmarkRenew(b *testing.B) {
	w := newWorld(b)
	a := w.open(config(store.Services))
	envelopes := make(chan *envelope.Envelope, b.N)
	for range b.N {
		crt, key := w.enrol(a, "host")
		envelopes <- renewalEnvelope(b, crt, key, csrNamed(b, newKey(b), "host"))
	}
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := wired(a).Renew(context.Background(), anonymous, <-envelopes); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b)
	users := w.open(config(store.Users))
	crt, _ := w.enrol(users, "alice")
	parsed, err := pki.ParseCertificateDER(crt.Raw)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := users.Authenticate(w.ctx, anonymous, parsed); err != nil {
			b.Fatal(err)
		}
	}
}

// loaded fills the empty store with n revocations.
func (w *world) loaded(n int) {
	w.t.Helper()
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		return tx.Load(w.ctx, func(yield func(store.Row, error) bool) {
			for i := range n {
				rev := store.Revocation{
					Authority: store.Services, Seq: int64(i + 1), Serial: new(big.Int).Lsh(big.NewInt(int64(1_000_000_000+i)), 120),
					RevokedAt: epoch, KeepUntil: epoch.Add(1000 * day),
				}
				if !yield(rev, nil) {
					return
				}
			}
			yield(store.Counter{Authority: store.Services, Name: store.CounterCRLNumber, Value: int64(n)}, nil)
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// How long renewals take while lists of a million entries are made, one after another.
func BenchmarkRenewalsBesideLongCRL(b *testing.B) {
	w := newWorld(b)
	w.loaded(1_000_000)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	if _, err := a.CRLs(w.ctx); err != nil {
		b.Fatal(err)
	}
	const clients = 4
	envelopes := make(chan *envelope.Envelope, b.N)
	for range b.N {
		envelopes <- renewalEnvelope(b, crt, key, csrNamed(b, newKey(b), "host"))
	}
	close(envelopes)
	over, lists := make(chan struct{}), make(chan int)
	b.ResetTimer()
	go func() {
		made := 0
		for serial := int64(1); ; serial++ {
			select {
			case <-over:
				lists <- made
				return
			default:
			}
			if err := a.RevokeSerial(w.ctx, alice, big.NewInt(serial), Revoking{}); err != nil {
				b.Error(err)
			}
			if _, err := a.CRLs(w.ctx); err != nil {
				b.Error(err)
			}
			made++
		}
	}()
	var all []time.Duration
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for e := range envelopes {
				start := time.Now()
				if _, err := wired(a).Renew(w.ctx, anonymous, e); err != nil {
					b.Error(err)
				}
				mu.Lock()
				all = append(all, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	close(over)
	made := <-lists
	slices.Sort(all)
	for name, part := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
		b.ReportMetric(all[min(int(part*float64(len(all))), len(all)-1)].Seconds()*1e3, name)
	}
	b.ReportMetric(float64(made), "lists")
}
