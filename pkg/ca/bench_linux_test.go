package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has spent on processors: other than the time that passes, it is hardly longer on a busy machine.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// What the list after one more revocation costs, beside the hash and the signature that it cannot do without: of the same octets, measured by turns.
func BenchmarkCRLAfterRevocation(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range crlSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			w.loaded(n)
			a := w.open(config("cas"))
			if _, err := a.CRLs(w.ctx); err != nil {
				b.Fatal(err)
			}
			var made, bare time.Duration
			serial := int64(1)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				serial++
				w.clock.Advance(time.Second)
				if err := a.RevokeSerial(w.ctx, alice, big.NewInt(serial), Revoking{}); err != nil {
					b.Fatal(err)
				}
				before := processorTime(b)
				b.StartTimer()
				lists, err := a.CRLs(w.ctx)
				if err != nil {
					b.Fatal(err)
				}
				made += processorTime(b) - before
				b.StopTimer()
				der := lists[0].DER()
				before = processorTime(b)
				digest := sha256.Sum256(der)
				if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
					b.Fatal(err)
				}
				bare += processorTime(b) - before
				b.StartTimer()
			}
			b.ReportMetric(float64(made.Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(made)/float64(bare), "×(hash+sign)")
		})
	}
}
