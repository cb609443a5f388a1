package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Why VerifyIssued refuses a certificate that could be read.
var (
	ErrExpired       = errors.New("certificate has expired")
	ErrNotYetValid   = errors.New("certificate is not valid yet")
	ErrUnknownIssuer = errors.New("certificate was not issued by this authority")
)

// VerifyIssued finds which of the self-signed certificates cas issued crt, and checks
// that both are valid at now and that crt is not itself a CA certificate ([ErrInvalid]).
// Validity counts whole seconds, first and last included (RFC 5280 4.1.2.5).
//
// It fails with [ErrUnknownIssuer] (also for a bad signature), [ErrNotYetValid] or
// [ErrExpired], the latter two for either certificate. Revocation, extended key usage
// and name constraints are not looked at: the first needs a database, and the others
// do not apply to certificates whose every use is our own.
func VerifyIssued(crt *x509.Certificate, cas []*x509.Certificate, now time.Time) (*x509.Certificate, error) {
	if crt.IsCA {
		return nil, refusef("certificate", "is one of a CA")
	}
	ca := findIssuer(crt, cas)
	if ca == nil {
		return nil, fmt.Errorf("issuer %s: %w", quote(SubjectString(crt.RawIssuer)), ErrUnknownIssuer)
	}
	if err := CheckValidity(crt, now); err != nil {
		return nil, err
	}
	if err := CheckValidity(ca, now); err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	return ca, nil
}

// CheckValidity reports whether now lies between crt's NotBefore and NotAfter, whole
// seconds, both included. The error is [ErrNotYetValid] or [ErrExpired].
func CheckValidity(crt *x509.Certificate, now time.Time) error {
	switch now := now.Unix(); {
	case now < crt.NotBefore.Unix():
		return fmt.Errorf("not before %s: %w", crt.NotBefore.UTC().Format(time.RFC3339), ErrNotYetValid)
	case now > crt.NotAfter.Unix():
		return fmt.Errorf("not after %s: %w", crt.NotAfter.UTC().Format(time.RFC3339), ErrExpired)
	}
	return nil
}

// AsCA marks crt as a CA certificate, whatever its own extensions say, because an operator has
// declared it to be one. keyID identifies it if it has no subject key identifier. This is for
// CAs of our own only: those of others have to be marked as such.
func AsCA(crt *x509.Certificate, keyID []byte) {
	if len(crt.SubjectKeyId) == 0 {
		crt.SubjectKeyId = keyID
	}
	crt.BasicConstraintsValid, crt.IsCA = true, true
	if crt.KeyUsage != 0 {
		crt.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
}

// findIssuer returns the CA certificate whose key signed crt, or nil. Several CA
// certificates of an authority may share one subject, so the key identifier decides which
// to try. What is issued carries its CA's own authority key identifier, which other
// implementations may have computed differently from the subject key identifier. A CA made by
// others may have no identifier at all.
func findIssuer(crt *x509.Certificate, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if NamesIssuer(crt, ca) && crt.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// NamesIssuer reports whether a certificate says of itself that ca has issued it, by name and key identifier. No signature
// is verified.
func NamesIssuer(crt, ca *x509.Certificate) bool {
	if !bytes.Equal(crt.RawIssuer, ca.RawSubject) {
		return false
	}
	id := crt.AuthorityKeyId
	return len(id) == 0 || len(ca.SubjectKeyId) == 0 || bytes.Equal(id, ca.SubjectKeyId) || bytes.Equal(id, ca.AuthorityKeyId)
}
