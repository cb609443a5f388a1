package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"cauase/pkg/pki"
)

// What is made of a certificate that is multiplied can be read.
func TestCastingsHaveSerialNumbersInDER(t *testing.T) {
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		template := &x509.Certificate{SerialNumber: pki.NewSerialAt(at), Subject: pkix.Name{CommonName: "host-1"}, SubjectKeyId: id,
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
		ca := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMould(crt, key)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			made, err := m.cast(crt.PublicKey.(*ecdsa.PublicKey), "host-2", at.Add(-time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if read, err := x509.ParseCertificate(made.der); err != nil || read.SerialNumber.Cmp(made.serial) != 0 {
				t.Fatalf("%#x: %v", made.serial, err)
			}
		}
	}
}
