package judges

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// A pair is a certificate and its key.
type pair struct {
	crt *x509.Certificate
	key *ecdsa.PrivateKey
}

var begin = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

// issue makes a certificate under a CA, or a self-signed one.
func issue(t *testing.T, issuer *pair, cn string, serial int64, isCA bool) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, SerialNumber: big.NewInt(serial),
		NotBefore: begin, NotAfter: begin.AddDate(1, 0, 0), BasicConstraintsValid: true, IsCA: isCA,
	}
	if isCA {
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		template.DNSNames, template.KeyUsage = []string{cn}, x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.crt, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{crt, key}
}

func (p pair) list(t *testing.T, revoked ...int64) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: begin, NextUpdate: begin.AddDate(1, 0, 0)}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: begin})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, p.crt, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestJudges makes sure that each judge says no when it has to: one that could not would prove nothing.
func TestJudges(t *testing.T) {
	j := New(t)
	root, stranger := issue(t, nil, "Root", 1, true), issue(t, nil, "Root", 1, true)
	middle := issue(t, &root, "Middle", 2, true)
	leaf := issue(t, &middle, "a.example", 3, false)
	ask := func(change func(*Question)) Question {
		q := Question{
			Roots: []*x509.Certificate{root.crt}, Intermediates: []*x509.Certificate{middle.crt}, Leaf: leaf.crt,
			At: begin.AddDate(0, 6, 0),
		}
		change(&q)
		return q
	}
	j.Trusted(t, "a chain", ask(func(*Question) {}))
	j.Trusted(t, "a chain of which nothing is revoked", ask(func(q *Question) { q.CRLs = [][]byte{root.list(t), middle.list(t)} }))
	j.Refused(t, "no intermediate", ask(func(q *Question) { q.Intermediates = nil }))
	j.Refused(t, "another root of that name", ask(func(q *Question) { q.Roots = []*x509.Certificate{stranger.crt} }))
	j.Refused(t, "expired", ask(func(q *Question) { q.At = begin.AddDate(2, 0, 0) }))
	j.Refused(t, "not yet valid", ask(func(q *Question) { q.At = begin.AddDate(0, 0, -2) }))
	j.Refused(t, "a revoked leaf", ask(func(q *Question) { q.CRLs = [][]byte{root.list(t), middle.list(t, 3)} }))
	j.Refused(t, "a revoked intermediate", ask(func(q *Question) { q.CRLs = [][]byte{root.list(t, 2), middle.list(t)} }))
}
