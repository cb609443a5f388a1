package pkitest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"cauase/pkg/pki"
)

func TestHelpers(t *testing.T) {
	from := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	ca := NewCA(t, "CAS", from, from.AddDate(1, 0, 0))
	key := SharedKey(t, pki.KeyEd25519, "alice")
	if !pki.SameKey(key.Public(), SharedKey(t, pki.KeyEd25519, "alice").Public()) || pki.SameKey(key.Public(), SharedKey(t, pki.KeyEd25519, "bob").Public()) {
		t.Error("a key of an owner is another each time, or that of all")
	}
	crt := ca.Issue(t, "host", key.Public(), func(c *x509.Certificate) { c.DNSNames = []string{"host.example"} })
	if _, err := pki.VerifyIssued(crt, []*x509.Certificate{ca.Crt}, from); err != nil {
		t.Error(err)
	}
	other := ca.Issue(t, "other", key.Public())
	if list := ca.CRL(t, 7, crt); list.CheckSignatureFrom(ca.Crt) != nil || len(list.RevokedCertificateEntries) != 1 ||
		list.RevokedCertificateEntries[0].SerialNumber.Cmp(other.SerialNumber) == 0 {
		t.Errorf("%+v", list)
	}
	if read, err := pki.ParsePrivateKeyPEM(KeyPEM(t, key)); err != nil || !pki.SameKey(read.Public(), key.Public()) {
		t.Error(err)
	}
	request := ParsedRequest(t, key, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "host"}})
	if !pki.SameKey(request.CSR.PublicKey, key.Public()) {
		t.Error("a request for another key")
	}
	if again, err := pki.ParseRequest(NamedRequest(t, key, "host", "host.example")); err != nil || len(again.CSR.DNSNames) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	if host := HostRequest(t, "www.example"); host.CSR.Subject.CommonName != "www.example" || len(host.CSR.DNSNames) != 1 || pki.SameKey(host.CSR.PublicKey, key.Public()) {
		t.Errorf("%+v", host.CSR)
	}
	if blocks, err := pki.SplitPEM(PEM(crt, other)); err != nil || len(blocks) != 2 {
		t.Errorf("%d blocks, %v", len(blocks), err)
	}
}
