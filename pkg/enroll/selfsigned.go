package enroll

import (
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
)

// SelfSign makes a certificate that no authority stands behind: who trusts it has it already. It has the names and usages
// that a request like template asks for, within the limits of every request, and is not that of a CA.
func SelfSign(template *x509.CertificateRequest, key crypto.Signer, from, until time.Time) (*x509.Certificate, error) {
	if !until.After(from) {
		return nil, errors.New("the certificate would end before it begins")
	}
	asked, err := sign(template, key)
	if err != nil {
		return nil, err
	}
	serial, err := pki.NewSerial()
	if err != nil {
		return nil, err
	}
	keyID, err := pki.KeyID(key.Public())
	if err != nil {
		return nil, err
	}
	// To the second, as certificates are.
	crt, err := profile.AsRequested().Template(profile.Draft{
		Subject: asked.CSR.RawSubject, Extensions: asked.CSR.Extensions, PublicKey: key.Public(), Serial: serial,
		NotBefore: from.Truncate(time.Second), NotAfter: until.Truncate(time.Second), IssuerKey: keyID,
	})
	if err != nil {
		return nil, err
	}
	self := &x509.Certificate{RawSubject: crt.RawSubject, SubjectKeyId: keyID, PublicKey: key.Public()}
	der, err := pki.SignCertificate(crt, self, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pki.ParseIssuedDER(der)
}
