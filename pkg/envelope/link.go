package envelope

import (
	"crypto"

	"cauase/pkg/pki"
)

// FollowsGenerations is a comment (RFC 9110 10.1.5) in the User-Agent of clients of ours that follow to a successor
// with a subject of its own. Those of earlier versions, which are without it, refuse one.
const FollowsGenerations = "(generations)"

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
