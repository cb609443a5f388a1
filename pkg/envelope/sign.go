package envelope

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"

	// The three digests, so that crypto.Hash.New finds them.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/pki"
)

// RSA modulus bounds in bits, those of issued keys: an envelope is verified with the
// key of whatever certificate came along, before that certificate is known to be ours.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// signDigest is the one digest every peer knows.
const signDigest = "sha256"

func hashOf(digest string) (crypto.Hash, error) {
	switch digest {
	case "sha256":
		return crypto.SHA256, nil
	case "sha384":
		return crypto.SHA384, nil
	case "sha512":
		return crypto.SHA512, nil
	}
	return 0, refuse("envelope", "digest %.20q is not one of sha256, sha384, sha512", digest)
}

// signedBytes is what a signature covers. The digest's name is part of it, so that a
// signature cannot be moved to a weaker digest.
func signedBytes(payload, digest string) []byte {
	return []byte(payload + digest + " ")
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// pssOptions asks for the longest salt that fits, emLen - hLen - 2 of RFC 8017 9.1.1.
// The reference verifies with exactly this length, so it is given as a number: what
// "auto" means depends on whether one signs or verifies, and on the FIPS mode.
func pssOptions(pub *rsa.PublicKey, hash crypto.Hash) *rsa.PSSOptions {
	emLen := (pub.N.BitLen() - 1 + 7) / 8
	return &rsa.PSSOptions{SaltLength: emLen - hash.Size() - 2, Hash: hash}
}

func checkRSA(pub *rsa.PublicKey) error {
	if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return refuse("envelope", "signing key of RSA %d: %d to %d accepted", bits, minRSABits, maxRSABits)
	}
	return nil
}

// Verify checks that the envelope was signed with the private half of pub: RSA-PSS with
// MGF1 over the same digest and a salt of maximum length, or, between peers of this
// implementation, ECDSA (ASN.1) and pure Ed25519. The error is ErrBadSignature, also
// for an unsigned envelope, or ErrInvalid for a key of a kind or size not used here.
func (e *Envelope) Verify(pub crypto.PublicKey) error {
	if e.Null() {
		return fmt.Errorf("%w: the envelope is not signed", ErrBadSignature)
	}
	hash, err := hashOf(e.digest)
	if err != nil {
		return err
	}
	signed := signedBytes(e.payload, e.digest)
	ok := false
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(pub); err != nil {
			return err
		}
		ok = rsa.VerifyPSS(pub, hash, sum(hash, signed), e.signature, pssOptions(pub, hash)) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, sum(hash, signed), e.signature)
	case ed25519.PublicKey:
		ok = len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, signed, e.signature)
	default:
		return refuse("envelope", "signing key is %s: RSA, ECDSA or Ed25519 needed", pki.DescribeKey(pub))
	}
	if !ok {
		return ErrBadSignature
	}
	return nil
}

// Sign wraps payload, which must be UTF-8, in an envelope signed with key over SHA-256,
// and returns its JSON.
func Sign(key crypto.Signer, payload []byte) ([]byte, error) {
	text, signed := string(payload), signedBytes(string(payload), signDigest)
	var signature []byte
	var err error
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		if err := checkRSA(pub); err != nil {
			return nil, err
		}
		signature, err = key.Sign(rand.Reader, sum(crypto.SHA256, signed), pssOptions(pub, crypto.SHA256))
	case *ecdsa.PublicKey:
		signature, err = key.Sign(rand.Reader, sum(crypto.SHA256, signed), crypto.SHA256)
	case ed25519.PublicKey:
		signature, err = key.Sign(rand.Reader, signed, crypto.Hash(0))
	default:
		return nil, fmt.Errorf("envelope: cannot sign with %s", pki.DescribeKey(pub))
	}
	if err != nil {
		return nil, fmt.Errorf("envelope: signing: %w", err)
	}
	digest, err := jsontext.AppendQuote(nil, signDigest)
	if err != nil {
		return nil, err
	}
	encoded, err := jsontext.AppendQuote(nil, base64.StdEncoding.EncodeToString(signature)+"\n")
	if err != nil {
		return nil, err
	}
	return marshal(wire{Payload: &text, Digest: digest, Signature: encoded})
}
