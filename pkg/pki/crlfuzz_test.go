package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// FuzzCRL: whatever is read as a list reads again, as the same.
func FuzzCRL(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	now := time.Unix(1_800_000_000, 0)
	for _, serials := range [][]int64{nil, {1}, {1, 2, 3}} {
		l := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
		for _, s := range serials {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: now, ReasonCode: 1})
		}
		der, err := x509.CreateRevocationList(rand.Reader, l, issuer, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(EncodeCRLPEM(der))
		f.Add(append(EncodeCRLPEM(der), EncodeCRLPEM(der)...))
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		one, err := ParseCRLPEM(data)
		if err == nil {
			again, err := ParseCRLPEM(EncodeCRLPEM(one.Raw))
			if err != nil || !bytes.Equal(again.Raw, one.Raw) {
				t.Fatalf("reads once only: %v", err)
			}
			_ = CheckCRLScope(one) // which must not panic either
		}
		lists, err := ParseCRLsPEM(data)
		if err == nil && one != nil && len(lists) != 1 {
			t.Fatalf("one list is %d", len(lists))
		}
		_, _ = ParseCRLFile(data)
	})
}
