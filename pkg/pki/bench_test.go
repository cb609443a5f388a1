package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
)

func BenchmarkParseRequest(b *testing.B) {
	for _, typ := range KeyTypes() {
		key, err := typ.Generate()
		if err != nil {
			b.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "host"}, DNSNames: []string{"host.example"},
		}, key)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkRequest(b, string(typ), EncodeCSRPEM(der), false)
	}
	// What an attacker gets for his 100 KiB.
	benchmarkRequest(b, "refused rsa-262144", testCSR{spki: rsaSPKI(oddOfSize(b, 262_144), big.NewInt(65537))}.pem(b), true)
	benchmarkRequest(b, "refused 4000 SANs", testCSR{attributes: extRequest(san(many(4000)...))}.pem(b), true)
}

func benchmarkRequest(b *testing.B, name string, data []byte, refused bool) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseRequest(data); (err != nil) != refused {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyIssued(b *testing.B) {
	older, newer := newTestCA(b, "CA"), newTestCA(b, "CA")
	crt, cas := newer.leaf(b, nil), []*x509.Certificate{older.crt, newer.crt}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyIssued(crt, cas, day(15)); err != nil {
			b.Fatal(err)
		}
	}
}

// A key is looked at in every request, renewal and certificate that arrives.
func BenchmarkCheckPublicKey(b *testing.B) {
	for _, bits := range []int{2048, 3072, 4096, 8192} {
		key := &rsa.PublicKey{N: oddOfSize(b, bits), E: rsaExponent}
		b.Run(fmt.Sprintf("rsa-%d", bits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := CheckPublicKey(key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
