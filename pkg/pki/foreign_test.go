package pki

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

// A request that is refused for its names still proves that somebody holds its key, and nothing of it but that is taken.
func TestForeignRequestsProveTheKeyOnly(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	t61 := asn1.RawValue{Tag: asn1.TagT61String, Bytes: []byte("B\xfcro \x1b[31m")}
	subject, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: t61}}})
	if err != nil {
		t.Fatal(err)
	}
	text := foreignCSR(t, key, subject)
	if _, err := ParseRequest(text); err == nil || !strings.Contains(err.Error(), "T61String") {
		t.Fatalf("it is no foreign one: %v", err)
	}
	req, err := ParseForeign(text)
	if err != nil {
		t.Fatal(err)
	}
	if !req.Foreign || !SameKey(req.CSR.PublicKey, key.Public()) || len(req.CSR.Subject.Names) > 0 || len(req.CSR.Extensions) > 0 || len(req.SANs) > 0 {
		t.Errorf("%+v", req)
	}
	if strings.ContainsRune(req.Subject, '\x1b') || !strings.HasPrefix(req.Subject, "CN=#42fc") {
		t.Errorf("shown as %q", req.Subject)
	}
	if digest, err := DigestOf(text); err != nil || digest != req.Digest {
		t.Errorf("digest %s, %v", req.Digest, err)
	}
	stored, err := ParseStored(text)
	if err != nil || !stored.Foreign || stored.Digest != req.Digest || string(stored.KeyID) != string(req.KeyID) {
		t.Errorf("kept as %+v, %v", stored, err)
	}

	// What proves nothing is refused as ever.
	for name, test := range map[string]struct {
		text []byte
		why  string
	}{
		"another key's signature": {EncodeCSRPEM(flip(req.CSR.Raw)), "self-signature does not verify"},
		"a small key":             {foreignCSR(t, rsaKey(t, 1024), subject), "at least 2048"},
		"two requests":            {append(append([]byte{}, text...), text...), "2 PEM blocks"},
		"a certificate":           {encodePEM(typeCertificate, req.CSR.Raw), "where"},
		"nothing":                 {nil, "empty"},
	} {
		_, err := ParseForeign(test.text)
		if err == nil || !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// flip changes the last byte, of a signature.
func flip(der []byte) []byte {
	changed := append([]byte{}, der...)
	changed[len(changed)-1] ^= 1
	return changed
}

func foreignCSR(t *testing.T, key any, subject []byte) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{RawSubject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	return EncodeCSRPEM(der)
}
