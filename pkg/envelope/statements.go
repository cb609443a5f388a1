package envelope

import (
	"crypto"
	"crypto/x509"
	"strings"

	"cauase/pkg/pki"
)

// Statements makes what an authority says about certificates of CAs, each as one envelope. It is
// what package ca asks for.
type Statements struct{}

// Succession returns the envelope by which old, whose key is given, vouches for its successor.
func (Statements) Succession(key crypto.Signer, old, next *x509.Certificate) ([]byte, error) {
	return SignLink(key, old.Raw, next.Raw)
}

// Predecessor returns the old one of what Succession has returned.
func (Statements) Predecessor(statement []byte) (*x509.Certificate, error) {
	e, err := Parse(statement)
	if err != nil {
		return nil, err
	}
	link, err := DecodeLink(e.Payload())
	if err != nil {
		return nil, err
	}
	return pki.ParseCertificatePEM([]byte(link.OldPEM))
}

// ServerCA returns the envelope by which a CA, whose key is given, vouches for those that sign the
// daemon's own HTTPS certificate.
func (Statements) ServerCA(key crypto.Signer, cas []*x509.Certificate) ([]byte, error) {
	var bundle strings.Builder
	for _, crt := range cas {
		bundle.Write(pki.EncodeCertificatePEM(crt.Raw))
	}
	payload, err := EncodeServerCA(ServerCA{PEM: bundle.String()})
	if err != nil {
		return nil, err
	}
	return Sign(key, payload)
}

// Withdrawal returns the envelope by which a CA, whose key is given, says that an earlier one is to be trusted no longer.
func (Statements) Withdrawal(key crypto.Signer, by, withdrawn *x509.Certificate) ([]byte, error) {
	payload, err := EncodeWithdrawal(Withdrawal{
		WithdrawnPEM: string(pki.EncodeCertificatePEM(withdrawn.Raw)), ByPEM: string(pki.EncodeCertificatePEM(by.Raw)),
	})
	if err != nil {
		return nil, err
	}
	return Sign(key, payload)
}

// LogKey returns the envelope by which a CA, whose key is given, vouches for the key and epochs of the daemon's log that payload names.
func (Statements) LogKey(key crypto.Signer, payload []byte) ([]byte, error) {
	if _, err := DecodeLogKey(payload); err != nil {
		return nil, err
	}
	return Sign(key, payload)
}

// VouchesLog reports whether statement is what LogKey has returned for this payload, by the key with this public one.
func (Statements) VouchesLog(statement, payload []byte, by crypto.PublicKey) bool {
	e, err := Parse(statement)
	return err == nil && string(e.Payload()) == string(payload) && e.Verify(by) == nil
}
