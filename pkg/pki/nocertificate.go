package pki

import (
	"encoding/pem"
	"errors"
	"slices"
	"strings"
)

// NoCertificate says what the content of a file that holds no certificate is instead, and how to get one out of it where that
// is possible. It quotes nothing of the file.
func NoCertificate(content []byte) error {
	blocks, err := SplitPEM(content)
	if err != nil {
		return err
	}
	has := func(types ...string) bool {
		return slices.ContainsFunc(blocks, func(b *pem.Block) bool { return slices.Contains(types, b.Type) })
	}
	switch {
	case has("PKCS7", "CMS", "PKCS #7 SIGNED DATA"):
		return errors.New("it is PKCS #7: openssl pkcs7 -in FILE -print_certs -out NEW takes the certificates out of it")
	case has("TRUSTED CERTIFICATE", "X509 CERTIFICATE"):
		return errors.New("it is in a form of openssl's own: openssl x509 -in FILE -out NEW writes the usual one")
	case has(typeCSR, typeCSRLegacy):
		return errors.New("it holds a certificate signing request, and none that was issued for it")
	case has("X509 CRL"):
		return errors.New("it holds a revocation list")
	case hasPrivateKey(blocks):
		return errors.New("it holds a private key alone")
	case len(blocks) > 0:
		return errors.New("it holds other PEM alone: " + quote(blocks[0].Type))
	case len(trimSpace(content)) == 0:
		return errors.New("it is empty")
	case len(content) > 100 && strings.Trim(string(content), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n") == "":
		return errors.New("it is base64 alone, which needs the lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- around it")
	}
	return errors.New("it is neither PEM nor DER of a certificate")
}
