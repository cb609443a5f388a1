package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
)

// CheckCA accepts a CA certificate that clients trust: self-signed, with a key identifier by which
// its revocation lists are found. One without a key usage may be used for everything (RFC 5280 4.2.1.3).
func CheckCA(crt *x509.Certificate) error {
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case !crt.BasicConstraintsValid || !crt.IsCA:
		return errors.New("not a CA certificate")
	case crt.KeyUsage != 0 && crt.KeyUsage&usage != usage:
		return errors.New("CA certificate may not sign certificates and revocation lists")
	case len(crt.SubjectKeyId) == 0:
		return errors.New("CA certificate without key identifier")
	case len(crt.UnhandledCriticalExtensions) > 0:
		return errors.New("CA certificate with a critical extension that is not known")
	case !bytes.Equal(crt.RawIssuer, crt.RawSubject):
		return errors.New("CA certificate is not its own issuer")
	}
	if err := CheckPublicKey(crt.PublicKey); err != nil {
		return err
	}
	return CheckSelfSignature(crt)
}

// CheckSelfSignature verifies the signature of a certificate that says it is signed with its own key.
// An old hash does not count: nobody relies on this signature.
func CheckSelfSignature(crt *x509.Certificate) error {
	var insecure x509.InsecureAlgorithmError
	err := crt.CheckSignature(crt.SignatureAlgorithm, crt.RawTBSCertificate, crt.Signature)
	if err != nil && !errors.As(err, &insecure) {
		return errors.New("CA certificate is not signed with its own key")
	}
	return nil
}
