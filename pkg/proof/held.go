package proof

import (
	"crypto"
	"crypto/x509"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A Held is a proof of possession of a certificate that somebody has already: an envelope that is signed with its key.
type Held struct {
	Statement
	Certificate *x509.Certificate // not verified in any way

	envelope *envelope.Envelope
}

// ParseHeld reads a proof of possession, of which nothing has been verified yet. Errors are ErrInvalid.
func ParseHeld(data []byte) (*Held, error) {
	e, err := envelope.Parse(data)
	if err != nil {
		return nil, invalid("%v", err)
	}
	s, crtPEM, err := decodeStatement(e.Payload())
	switch {
	case err != nil:
		return nil, err
	case e.Null():
		return nil, invalid("the envelope is not signed")
	case crtPEM == "":
		return nil, invalid("statement: crt_pem is needed, the certificate whose key signs")
	}
	crt, err := pki.ParseIssuedPEM([]byte(crtPEM))
	if err != nil {
		return nil, invalid("crt_pem: %v", err)
	}
	return &Held{s, crt, e}, nil
}

// Verify refuses a proof that was not signed with this key, which has to be the one of a certificate that is known to be ours.
func (h *Held) Verify(pub crypto.PublicKey) error { return h.envelope.Verify(pub) }

// SignHeld signs a statement with the key of a certificate.
func SignHeld(key crypto.Signer, crt *x509.Certificate, s Statement) ([]byte, error) {
	payload, err := s.encode(string(pki.EncodeCertificatePEM(crt.Raw)))
	if err != nil {
		return nil, err
	}
	return envelope.Sign(key, payload)
}
