package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"
)

func testIssuer(t testing.TB, keyType KeyType) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := keyType.Generate()
	if err != nil {
		t.Fatal(err)
	}
	id, err := KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: id,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return crt, key
}

// The standard library, which shares no code with SignCRL, must read what was put in, and
// verify its signature, whatever the lengths of the parts.
func TestSignCRLIsReadBack(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, keyType := range []KeyType{KeyECDSAP256, KeyECDSAP384, KeyEd25519, KeyRSA2048} {
		issuer, key := testIssuer(t, keyType)
		for _, n := range []int{0, 1, 2, 3, 6, 7, 2000} {
			t.Run(fmt.Sprintf("%s/%d entries", keyType, n), func(t *testing.T) {
				var entries []byte
				var err error
				for i := range n {
					at := now.Add(-time.Duration(i) * time.Hour)
					if entries, err = AppendRevoked(entries, big.NewInt(int64(1000+i)), at, i%3); err != nil {
						t.Fatal(err)
					}
				}
				template := CRLTemplate{Issuer: issuer, Number: 300, ThisUpdate: now, NextUpdate: now.AddDate(30, 0, 0), Entries: entries}
				der, signature, err := SignCRL(template, key)
				if err != nil {
					t.Fatal(err)
				}
				if again, err := AssembleCRL(template, signature); err != nil || string(again) != string(der) {
					t.Errorf("assembled again from its signature: other bytes, error %v", err)
				}
				template.Number++
				if _, err := AssembleCRL(template, signature); err == nil {
					t.Error("the signature of another list was accepted")
				}
				crl, err := x509.ParseRevocationList(der)
				if err != nil {
					t.Fatal(err)
				}
				if err := crl.CheckSignatureFrom(issuer); err != nil {
					t.Error(err)
				}
				if got := len(crl.RevokedCertificateEntries); got != n {
					t.Fatalf("%d entries, want %d", got, n)
				}
				for i, e := range crl.RevokedCertificateEntries {
					if e.SerialNumber.Int64() != int64(1000+i) || e.ReasonCode != i%3 || !e.RevocationTime.Equal(now.Add(-time.Duration(i)*time.Hour)) {
						t.Fatalf("entry %d: %+v", i, e)
					}
				}
				if crl.Number.Int64() != 300 || !crl.ThisUpdate.Equal(now) || !crl.NextUpdate.Equal(now.AddDate(30, 0, 0)) {
					t.Errorf("number %v, from %v until %v", crl.Number, crl.ThisUpdate, crl.NextUpdate)
				}
				if string(crl.AuthorityKeyId) != string(issuer.SubjectKeyId) {
					t.Errorf("AKI %x, want %x", crl.AuthorityKeyId, issuer.SubjectKeyId)
				}
			})
		}
	}
}

func TestSignCRLRefusesAnotherKey(t *testing.T) {
	issuer, _ := testIssuer(t, KeyECDSAP256)
	_, other := testIssuer(t, KeyECDSAP256)
	if _, _, err := SignCRL(CRLTemplate{Issuer: issuer}, other); err == nil {
		t.Error("signed with a key that is not the issuer's")
	}
}

func TestEncodePEM(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 5000} {
		der := make([]byte, n)
		if _, err := rand.Read(der); err != nil {
			t.Fatal(err)
		}
		want := pem.EncodeToMemory(&pem.Block{Type: typeCRL, Bytes: der})
		if got := EncodeCRLPEM(der); string(got) != string(want) {
			t.Errorf("%d bytes:\n%s\nwant\n%s", n, got, want)
		}
	}
}

func BenchmarkSignCRL(b *testing.B) {
	issuer, key := testIssuer(b, KeyECDSAP256)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		var entries []byte
		for range n {
			serial, err := NewSerial()
			if err != nil {
				b.Fatal(err)
			}
			if entries, err = AppendRevoked(entries, serial, now, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := SignCRL(CRLTemplate{Issuer: issuer, Number: 1, ThisUpdate: now, NextUpdate: now, Entries: entries}, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
