package keys

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

// SealedCustody is the custody of keys that are kept in the database encrypted under the KEK of their authority: the reference is a byte
// for the form, 1, then the nonce, then what AES-256-GCM makes of the key in PKCS#8.
const SealedCustody = "sealed"

const (
	sealedForm = 1
	kekSize    = 32
	nonceSize  = 12
)

// seal encrypts clear with a key of 32 bytes, under a random nonce that comes first. Each KEK encrypts a few keys in its life, far from where
// random nonces could meet.
func seal(key, clear, about []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize, nonceSize+len(clear)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, clear, about), nil
}

var errUnsealed = errors.New("it cannot be decrypted")

func unseal(key, sealed, about []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < nonceSize {
		return nil, errUnsealed
	}
	clear, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], about)
	if err != nil {
		return nil, errUnsealed
	}
	return clear, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// about is the associated data of a key. As each part says how long it is, no two purposes have the same.
func (p Purpose) about() []byte {
	return parts("cauase sealed key 1", []byte(p.Authority), binary.BigEndian.AppendUint64(nil, uint64(p.Generation.UnixMicro())), p.KeyID)
}

// parts joins what is told apart by its length.
func parts(label string, list ...[]byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(label))), label...)
	for _, one := range list {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(one))), one...)
	}
	return out
}

// sealKey encrypts a private key for a purpose.
func sealKey(kek []byte, purpose Purpose, key crypto.Signer) (Ref, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Ref{}, errors.New("the key has no PKCS #8 form") // the error must not quote the key
	}
	defer clear(der)
	if purpose.KeyID, err = pki.KeyID(key.Public()); err != nil {
		return Ref{}, err
	}
	sealed, err := seal(kek, der, purpose.about())
	if err != nil {
		return Ref{}, err
	}
	return Ref{Custody: SealedCustody, Ref: append([]byte{sealedForm}, sealed...)}, nil
}

// openKey decrypts the key that ref holds, if it was encrypted for this purpose.
func openKey(kek []byte, purpose Purpose, ref Ref) (crypto.Signer, error) {
	if len(ref.Ref) == 0 || ref.Ref[0] != sealedForm {
		return nil, fmt.Errorf("%w: it is sealed in a form that is not known here", ErrUnusable)
	}
	der, err := unseal(kek, ref.Ref[1:], purpose.about())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	defer clear(der)
	return parseKey(der)
}

// parseKey reads PKCS#8. Its errors do not say what is wrong with a key, as that is secret.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be parsed", ErrUnusable)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: it is not of a kind that signs", ErrUnusable)
	}
	return signer, nil
}
