package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
)

func TestParseRequestKeyTypes(t *testing.T) {
	for _, typ := range KeyTypes() {
		t.Run(string(typ), func(t *testing.T) {
			key, err := typ.Generate()
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject:  pkix.Name{CommonName: "alice", Organization: []string{"Example"}},
				DNSNames: []string{"alice.example", "*.alice.example"},
			}, key)
			if err != nil {
				t.Fatal(err)
			}
			req, err := ParseRequest(EncodeCSRPEM(der))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := req.Subject, "CN=alice,O=Example"; got != want {
				t.Errorf("Subject = %q, want %q", got, want)
			}
		})
	}
}
