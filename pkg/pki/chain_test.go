package pki

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

// day counts the days of these tests from a date of its own.
func day(n int) time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

type testCA struct {
	key crypto.Signer
	crt *x509.Certificate
}

// newTestCA is valid from day 0 to day 100.
func newTestCA(t testing.TB, name string) testCA {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	id, err := KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: day(0), NotAfter: day(100),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: id, AuthorityKeyId: id,
	}
	return testCA{key, create(t, template, template, key.Public(), key)}
}

func create(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := ParseCertificateDER(der)
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// leaf is valid from day 10 to day 20, unless change says otherwise.
func (ca testCA) leaf(t testing.TB, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: day(10), NotAfter: day(20), BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	return create(t, template, ca.crt, ecKey(t, elliptic.P256()).Public(), ca.key)
}

func (ca testCA) crl(t testing.TB, number int64) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: day(1), NextUpdate: day(2),
	}, ca.crt, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestVerifyIssued(t *testing.T) {
	older, newer := newTestCA(t, "CA"), newTestCA(t, "CA") // a rollover keeps the subject
	cas := []*x509.Certificate{older.crt, newer.crt}
	good := older.leaf(t, nil)
	leafKey := ecKey(t, elliptic.P256())
	leafCA := testCA{leafKey, create(t, &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "CA"},
		NotBefore: day(0), NotAfter: day(100), BasicConstraintsValid: true}, older.crt, leafKey.Public(), older.key)}
	forged := *good
	forged.Signature = append([]byte(nil), good.Signature...)
	forged.Signature[len(forged.Signature)-1] ^= 1
	second := time.Second

	tests := map[string]struct {
		crt *x509.Certificate
		cas []*x509.Certificate
		now time.Time
		ca  *x509.Certificate
		err error
	}{
		"by the older CA":          {good, cas, day(15), older.crt, nil},
		"by the newer CA":          {newer.leaf(t, nil), cas, day(15), newer.crt, nil},
		"any extended key usage":   {older.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), cas, day(15), older.crt, nil},
		"a second too early":       {good, cas, day(10).Add(-second), nil, ErrNotYetValid},
		"just too early":           {good, cas, day(10).Add(-1), nil, ErrNotYetValid},
		"first second":             {good, cas, day(10), older.crt, nil},
		"last second":              {good, cas, day(20), older.crt, nil},
		"end of the last second":   {good, cas, day(20).Add(second - 1), older.crt, nil},
		"a second too late":        {good, cas, day(20).Add(second), nil, ErrExpired},
		"its CA expired":           {older.leaf(t, func(c *x509.Certificate) { c.NotAfter = day(200) }), cas, day(101), nil, ErrExpired},
		"its CA not yet valid":     {older.leaf(t, func(c *x509.Certificate) { c.NotBefore = day(-10) }), cas, day(-1), nil, ErrNotYetValid},
		"no CA at all":             {good, nil, day(15), nil, ErrUnknownIssuer},
		"CA not among them":        {good, cas[1:], day(15), nil, ErrUnknownIssuer},
		"unknown and expired":      {good, cas[1:], day(50), nil, ErrUnknownIssuer},
		"CA of another name":       {newTestCA(t, "other").leaf(t, nil), cas, day(15), nil, ErrUnknownIssuer},
		"signature changed":        {&forged, cas, day(15), nil, ErrUnknownIssuer},
		"a CA below ours":          {older.leaf(t, func(c *x509.Certificate) { c.IsCA = true }), cas, day(15), nil, ErrInvalid},
		"our own CA":               {older.crt, cas, day(15), nil, ErrInvalid},
		"issued by a leaf of ours": {leafCA.leaf(t, nil), []*x509.Certificate{leafCA.crt}, day(15), nil, ErrUnknownIssuer},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ca, err := VerifyIssued(test.crt, test.cas, test.now)
			if !errors.Is(err, test.err) || ca != test.ca {
				t.Fatalf("got %v, %v; want %v", ca, err, test.err)
			}
			if err != nil && !printable(err.Error()) {
				t.Errorf("message is not fit to print: %q", err)
			}
		})
	}
}

func TestVerifyIssuedShowsHostileIssuer(t *testing.T) {
	_, err := VerifyIssued(newTestCA(t, "\x1b[2J\u202e").leaf(t, nil), nil, day(15))
	if !errors.Is(err, ErrUnknownIssuer) || !printable(err.Error()) {
		t.Errorf("got %q", err)
	}
}
