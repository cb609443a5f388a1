package backup

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

// Names of the ways to encrypt the session keys to a recipient. The first is the reference's, which
// passes over entries for other recipients, whatever their cipher. The others are ours.
const (
	cipherRSA    = "rsa_oaep_sha1_mgf1_sha1"
	cipherP256   = "hpke_p256_hkdf_sha256_aes256_gcm"
	cipherP384   = "hpke_p384_hkdf_sha384_aes256_gcm"
	cipherP521   = "hpke_p521_hkdf_sha512_aes256_gcm"
	cipherX25519 = "hpke_ed25519_x25519_hkdf_sha256_aes256_gcm"
)

var errCannotDecrypt = errors.New("a key of this kind cannot decrypt a backup")

// maxSameID bounds the entries for one key that are tried. Honest backups have one.
const maxSameID = 8

// sessionKeys are what a backup is encrypted with, new for each: 32 bytes of HMAC key, then 32 of
// AES key.
type sessionKeys [64]byte

func (k *sessionKeys) mac() []byte { return k[:32] }
func (k *sessionKeys) aes() []byte { return k[32 : 32+2*aes.BlockSize] }

// Usable returns nil if backups can be made for pub: a key that pki.CheckPublicKey accepts, that is
// RSA, ECDSA on P-256, P-384 or P-521, or Ed25519, and of sound strength.
func Usable(pub crypto.PublicKey) error {
	if err := pki.CheckPublicKey(pub); err != nil {
		return err
	}
	if _, ok := pub.(*rsa.PublicKey); ok {
		return nil
	}
	_, err := agreementOf(pub)
	return err
}

// An agreement is how session keys are encrypted to a key that can only agree: HPKE in base mode
// (RFC 9180) with AES-256-GCM.
type agreement struct {
	name string
	kdf  hpke.KDF
	key  *ecdh.PublicKey
}

func agreementOf(pub crypto.PublicKey) (a agreement, err error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if a.key, err = pub.ECDH(); err != nil {
			return a, err
		}
		switch a.key.Curve() {
		case ecdh.P256():
			a.name, a.kdf = cipherP256, hpke.HKDFSHA256()
		case ecdh.P384():
			a.name, a.kdf = cipherP384, hpke.HKDFSHA384()
		case ecdh.P521():
			a.name, a.kdf = cipherP521, hpke.HKDFSHA512()
		}
	case ed25519.PublicKey:
		a.name, a.kdf = cipherX25519, hpke.HKDFSHA256()
		a.key, err = x25519Public(pub)
	default:
		err = fmt.Errorf("backups are not made for keys of type %s", pki.DescribeKey(pub))
	}
	return a, err
}

// What keys that are encrypted to a recipient are for.
const (
	forSession   = "cauase backup session keys"
	forTransport = "cauase backup transport key"
)

// info binds what is encrypted to its purpose, its cipher and its recipient.
func (a agreement) info(purpose, keyID string) []byte {
	return []byte(purpose + "\x00" + a.name + "\x00" + keyID)
}

// sealKeys makes the entry of the header for pub.
func sealKeys(keys *sessionKeys, pub crypto.PublicKey) (Recipient, error) {
	return sealTo(forSession, keys[:], pub)
}

// sealTo encrypts keys to pub.
func sealTo(purpose string, keys []byte, pub crypto.PublicKey) (Recipient, error) {
	if err := Usable(pub); err != nil {
		return Recipient{}, err
	}
	id, err := pki.KeyID(pub)
	if err != nil {
		return Recipient{}, err
	}
	r := Recipient{KeyID: hex.EncodeToString(id)}
	var sealed []byte
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		r.Cipher.Name = cipherRSA
		sealed, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, pub, keys, nil)
	default:
		var a agreement
		if a, err = agreementOf(pub); err != nil {
			return Recipient{}, err
		}
		r.Cipher.Name = a.name
		sealed, err = a.seal(purpose, r.KeyID, keys)
	}
	r.Key = hex.EncodeToString(sealed)
	return r, err
}

func (a agreement) seal(purpose, keyID string, keys []byte) ([]byte, error) {
	to, err := hpke.NewDHKEMPublicKey(a.key)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(to, a.kdf, hpke.AES256GCM(), a.info(purpose, keyID), keys)
}

// openKeys returns the session keys that key gets out of the header: what each entry for it holds,
// for there may be several, and only the payload shows which is right.
func openKeys(h Header, key crypto.PrivateKey) ([]*sessionKeys, error) {
	var found []*sessionKeys
	clear, err := openTo(forSession, len(sessionKeys{}), h.Recipients, key)
	for _, one := range clear {
		found = append(found, (*sessionKeys)(one))
	}
	return found, err
}

// openTo returns what each entry for key holds that has this size.
func openTo(purpose string, size int, recipients []Recipient, key crypto.PrivateKey) ([][]byte, error) {
	unseal, cipher, keyID, err := unsealer(purpose, key)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	entries, foreign := 0, ""
	for _, r := range recipients {
		if id, err := hex.DecodeString(r.KeyID); err != nil || !bytes.Equal(id, keyID) {
			continue
		}
		if r.Cipher.Name != cipher {
			foreign = r.Cipher.Name
			continue
		}
		if entries++; entries > maxSameID {
			return nil, ErrDamaged
		}
		sealed, err := hex.DecodeString(r.Key)
		if err != nil {
			continue
		}
		clear, err := unseal(sealed)
		if err == nil && len(clear) == size {
			found = append(found, clear)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case entries > 0:
		return nil, ErrDamaged
	case foreign != "":
		return nil, fmt.Errorf("%w: it names the key, with the cipher %.60q, which is not known for such a key", ErrNotRecipient, foreign)
	}
	return nil, ErrNotRecipient
}

// unsealer returns how key decrypts session keys, the name of that, and the identifier of the key.
// An RSA key needs only to be a crypto.Decrypter: it may live in hardware.
func unsealer(purpose string, key crypto.PrivateKey) (unseal func([]byte) ([]byte, error), name string, keyID []byte, err error) {
	owner, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil, "", nil, errCannotDecrypt
	}
	pub := owner.Public()
	if keyID, err = pki.KeyID(pub); err != nil {
		return nil, "", nil, err
	}
	if _, ok := pub.(*rsa.PublicKey); ok {
		decrypter, ok := key.(crypto.Decrypter)
		if !ok {
			return nil, "", nil, errCannotDecrypt
		}
		return func(sealed []byte) ([]byte, error) {
			return decrypter.Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA1})
		}, cipherRSA, keyID, nil
	}
	a, err := agreementOf(pub)
	if err != nil {
		return nil, "", nil, err
	}
	var exchange *ecdh.PrivateKey
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		exchange, err = key.ECDH()
	case ed25519.PrivateKey:
		exchange, err = x25519Private(key)
	default:
		err = errCannotDecrypt
	}
	if err != nil {
		return nil, "", nil, err
	}
	from, err := hpke.NewDHKEMPrivateKey(exchange)
	if err != nil {
		return nil, "", nil, err
	}
	info := a.info(purpose, hex.EncodeToString(keyID))
	return func(sealed []byte) ([]byte, error) {
		return hpke.Open(from, a.kdf, hpke.AES256GCM(), info, sealed)
	}, a.name, keyID, nil
}
