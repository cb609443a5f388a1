package pki

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

// Whoever gives a file of another kind is told which kind it is.
func TestFilesWithoutCertificate(t *testing.T) {
	key, err := KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	keyBlock, _ := pem.Decode(secret)
	crt, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(label string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: crt}))
	}
	for content, want := range map[string]string{
		"": "empty", " \r\n": "empty", "junk.": "neither PEM nor DER", "\x00\x01": "neither PEM nor DER",
		block("PKCS7"):                                    "openssl pkcs7 -in FILE -print_certs -out NEW",
		block("TRUSTED CERTIFICATE"):                      "openssl x509 -in FILE -out NEW",
		block("X509 CERTIFICATE"):                         "openssl x509 -in FILE -out NEW",
		block("CERTIFICATE REQUEST"):                      "signing request",
		string(secret) + block("NEW CERTIFICATE REQUEST"): "signing request",
		block("X509 CRL"):                                 "revocation list",
		string(secret):                                    "private key alone",
		string(keyBlock.Bytes):                            "", // DER
		block("DH PARAMETERS"):                            `other PEM alone: "DH PARAMETERS"`,
		base64.StdEncoding.EncodeToString(crt):            "base64 alone",
		"-----BEGIN PKCS7-----\nAAAA":                     "no end",
	} {
		err := NoCertificate([]byte(content))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", content, err, want)
		}
	}
}
