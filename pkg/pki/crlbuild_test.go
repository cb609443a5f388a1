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
		for _, n := range []int{0, 1, 2, 3, 6, 7, 2000, 20_000} {
			t.Run(fmt.Sprintf("%s/%d entries", keyType, n), func(t *testing.T) {
				var entries RevokedEntries
				var err error
				for i := range n {
					at := now.Add(-time.Duration(i) * time.Hour)
					if entries, err = entries.Append(big.NewInt(int64(1000+i)).Bytes(), at, i%3); err != nil {
						t.Fatal(err)
					}
				}
				template := CRLTemplate{Issuer: issuer, Number: 300, ThisUpdate: now, NextUpdate: now.AddDate(30, 0, 0), Entries: entries.Octets()}
				parts, signature, err := SignCRL(template, key)
				if err != nil {
					t.Fatal(err)
				}
				der := parts.Join()
				if again, err := AssembleCRL(template, signature); err != nil || string(again.Join()) != string(der) {
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
		var entries RevokedEntries
		for range n {
			serial, err := NewSerial()
			if err != nil {
				b.Fatal(err)
			}
			if entries, err = entries.Append(serial.Bytes(), now, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := SignCRL(CRLTemplate{Issuer: issuer, Number: 1, ThisUpdate: now, NextUpdate: now, Entries: entries.Octets()}, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCRLText reads the PEM of lists from every place in it, in pieces of every length.
func TestCRLText(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 47, 48, 49, 95, 96, 97, pemBytes * pemLines, pemBytes*pemLines + 1, 10_000} {
		der := make([]byte, n)
		_, _ = rand.Read(der)
		want := string(EncodeCRLPEM(der))
		text := CRLText(Octets{der[:n/3], nil, der[n/3 : n/2], der[n/2:]})
		if text.Size() != int64(len(want)) {
			t.Fatalf("%d octets: %d characters, want %d", n, text.Size(), len(want))
		}
		for at := 0; at <= len(want); at += 1 + len(want)/100 {
			for _, length := range []int{0, 1, 63, 64, 65, 66, 5000, len(want)} {
				p := make([]byte, length)
				got, err := text.ReadAt(p, int64(at))
				if string(p[:got]) != want[at:min(at+length, len(want))] || (err == nil) != (got == length) {
					t.Fatalf("%d octets, from %d, %d characters: %d, %v", n, at, length, got, err)
				}
			}
		}
	}
}

// TestListsShareTheirEntries makes sure that lists of several CAs, and the next ones, are no copies.
func TestListsShareTheirEntries(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var entries RevokedEntries
	var err error
	for i := range 50_000 {
		if entries, err = entries.Append(big.NewInt(int64(1<<40+i)).Bytes(), now, 0); err != nil {
			t.Fatal(err)
		}
	}
	if entries.Count() != 50_000 || entries.Octets().Size() < 1_000_000 {
		t.Fatalf("%d entries, %d octets", entries.Count(), entries.Octets().Size())
	}
	issuer, key := testIssuer(t, KeyECDSAP256)
	own := func(list Octets, of RevokedEntries) (n int) {
		shared := map[*byte]bool{}
		for _, part := range of.Octets() {
			shared[&part[0]] = true
		}
		for _, part := range list {
			if !shared[&part[0]] {
				n += len(part)
			}
		}
		return n
	}
	template := CRLTemplate{Issuer: issuer, Number: 1, ThisUpdate: now, NextUpdate: now, Entries: entries.Octets()}
	for range 2 {
		list, signature, err := SignCRL(template, key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := AssembleCRL(template, signature)
		if err != nil {
			t.Fatal(err)
		}
		if own(list, entries) > 1000 || own(again, entries) > 1000 {
			t.Errorf("%d and %d octets are copies", own(list, entries), own(again, entries))
		}
	}
	before := entries
	if entries, err = entries.Append([]byte{7}, now, 0); err != nil {
		t.Fatal(err)
	}
	if before.Octets().Size() >= entries.Octets().Size() || before.Count() != 50_000 {
		t.Error("older entries have changed")
	}
}
