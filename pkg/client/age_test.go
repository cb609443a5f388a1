package client

import (
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestAge: whoever asks which of CA certificates is the newest gets the same answer, also of those that begin in one second, as authorities of
// earlier versions could have.
func TestAge(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	serial := int64(0)
	ca := func(from, life time.Duration) *x509.Certificate {
		serial++
		return &x509.Certificate{Raw: []byte{byte(serial)}, SerialNumber: big.NewInt(serial), NotBefore: begin.Add(from), NotAfter: begin.Add(from + life)}
	}
	const life = 100 * time.Hour
	first, second := ca(0, life), ca(0, life)
	longer := ca(0, life+time.Second)
	later := ca(time.Second, life)
	for _, tt := range []struct {
		name string
		list []*x509.Certificate
		want *x509.Certificate
	}{
		{"of one second, as the chain has them", []*x509.Certificate{first, second}, second},
		{"the one that ends last", []*x509.Certificate{longer, first, second}, longer},
		{"the one that begins last", []*x509.Certificate{later, longer, first}, later},
		{"one", []*x509.Certificate{first}, first},
		{"none", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := begin.Add(time.Minute)
			if got := Newest(tt.list); got != tt.want {
				t.Errorf("newest: %v", got)
			}
			if got := newestValid(tt.list, now); got != tt.want {
				t.Errorf("newest that is valid: %v", got)
			}
			if got, err := newestOf(tt.list, now); got != tt.want || (err == nil) != (tt.want != nil) {
				t.Errorf("that a proof is for: %v, %v", got, err)
			}
			sorted := slices.Clone(tt.list)
			ByAge(sorted)
			if len(sorted) > 0 && sorted[len(sorted)-1] != tt.want {
				t.Errorf("sorted last: %v", sorted[len(sorted)-1])
			}
			if sorted = current(slices.Clone(tt.list), now); len(sorted) > 0 && sorted[len(sorted)-1] != tt.want {
				t.Errorf("stored last: %v", sorted[len(sorted)-1])
			}
		})
	}
}
