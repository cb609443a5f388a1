package judges

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

var begin = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

// issue makes a certificate under a CA, or a self-signed one.
func issue(t *testing.T, issuer *pkitest.CA, cn string, serial int64, isCA bool) pkitest.CA {
	t.Helper()
	key := pkitest.Key(t)
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
	if issuer == nil {
		return pkitest.SelfSigned(t, key, template)
	}
	return pkitest.CA{Crt: pkitest.Certificate(t, template, issuer.Crt, key.Public(), issuer.Key), Key: key}
}

func list(t *testing.T, ca pkitest.CA, revoked ...pkitest.CA) []byte {
	t.Helper()
	var crts []*x509.Certificate
	for _, r := range revoked {
		crts = append(crts, r.Crt)
	}
	return ca.CRL(t, 1, crts...).Raw
}

// TestJudges makes sure that each judge says no when it has to: one that could not would prove nothing.
func TestJudges(t *testing.T) {
	j := New(t)
	root, stranger := issue(t, nil, "Root", 1, true), issue(t, nil, "Root", 1, true)
	middle := issue(t, &root, "Middle", 2, true)
	leaf := issue(t, &middle, "a.example", 3, false)
	ask := func(change func(*Question)) Question {
		q := Question{
			Roots: []*x509.Certificate{root.Crt}, Intermediates: []*x509.Certificate{middle.Crt}, Leaf: leaf.Crt,
			At: begin.AddDate(0, 6, 0),
		}
		change(&q)
		return q
	}
	j.Trusted(t, "a chain", ask(func(*Question) {}))
	j.Trusted(t, "a chain of which nothing is revoked", ask(func(q *Question) { q.CRLs = [][]byte{list(t, root), list(t, middle)} }))
	j.Refused(t, "no intermediate", ask(func(q *Question) { q.Intermediates = nil }))
	j.Refused(t, "another root of that name", ask(func(q *Question) { q.Roots = []*x509.Certificate{stranger.Crt} }))
	j.Refused(t, "expired", ask(func(q *Question) { q.At = begin.AddDate(2, 0, 0) }))
	j.Refused(t, "not yet valid", ask(func(q *Question) { q.At = begin.AddDate(0, 0, -2) }))
	j.Refused(t, "a revoked leaf", ask(func(q *Question) { q.CRLs = [][]byte{list(t, root), list(t, middle, leaf)} }))
	j.Refused(t, "a revoked intermediate", ask(func(q *Question) { q.CRLs = [][]byte{list(t, root, middle), list(t, middle)} }))
}
