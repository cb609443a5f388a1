package client

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// CompareAge orders the CA certificates of an authority from the oldest to the newest. Those made by earlier versions may have begun within
// one second: the one that ends last was made last. Where that says nothing either the order in which they are given stays, which is
// that of the chain; so whatever sorts by this has to be stable, and whoever looks for the newest has to take the last.
func CompareAge(a, b *x509.Certificate) int {
	return cmp.Or(a.NotBefore.Compare(b.NotBefore), a.NotAfter.Compare(b.NotAfter))
}

// ByAge sorts CA certificates, the oldest first.
func ByAge(cas []*x509.Certificate) { slices.SortStableFunc(cas, CompareAge) }

// Newest returns the newest of CA certificates, nil if there is none.
func Newest(cas []*x509.Certificate) *x509.Certificate {
	var newest *x509.Certificate
	for _, ca := range cas {
		if newest == nil || CompareAge(ca, newest) >= 0 {
			newest = ca
		}
	}
	return newest
}

// newestValid is Newest of those that are valid.
func newestValid(cas []*x509.Certificate, now time.Time) *x509.Certificate {
	return Newest(slices.DeleteFunc(slices.Clone(cas), func(ca *x509.Certificate) bool { return pki.CheckValidity(ca, now) != nil }))
}
