package envelope

import (
	"crypto"

	"cauase/pkg/pki"
)

// SignLink returns the envelope by which a CA, whose key is given, vouches for its successor. The
// certificates are DER.
func SignLink(key crypto.Signer, old, successor []byte) ([]byte, error) {
	payload, err := EncodeLink(Link{
		OldPEM: string(pki.EncodeCertificatePEM(old)),
		NewPEM: string(pki.EncodeCertificatePEM(successor)),
	})
	if err != nil {
		return nil, err
	}
	return Sign(key, payload)
}
