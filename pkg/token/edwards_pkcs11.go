//go:build pkcs11

package token

import (
	"crypto"
	"crypto/ed25519"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	"cauase/pkg/keys"
)

// Of PKCS #11 3.0, which the library we use does not know yet.
const (
	keyTypeEdwards          = 0x40
	mechanismEdwardsKeyPair = 0x1055
	mechanismEdDSA          = 0x1057
)

// curveEd25519 is id-Ed25519 (RFC 8410), DER.
var curveEd25519 = []byte{0x06, 0x03, 0x2b, 0x65, 0x70}

func (m *module) generateEd25519(id []byte, public, private crypto11.AttributeSet) (pub crypto.PublicKey, err error) {
	public.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyTypeEdwards),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curveEd25519),
	})
	private.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyTypeEdwards),
	})
	err = m.with(func(session pkcs11.SessionHandle) error {
		made, key, err := m.raw.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanismEdwardsKeyPair, nil)}, public.ToSlice(), private.ToSlice())
		if err != nil {
			return judge(err)
		}
		if pub, err = m.pointOf(session, made); err == nil {
			err = m.stays(id)
		}
		if err != nil {
			return errors.Join(err, m.raw.DestroyObject(session, key), m.raw.DestroyObject(session, made))
		}
		return nil
	})
	return pub, err
}

// pointOf reads an Ed25519 public key. Some tokens wrap it into an OCTET STRING, as they do other points, and some do not.
func (m *module) pointOf(session pkcs11.SessionHandle, handle pkcs11.ObjectHandle) (ed25519.PublicKey, error) {
	values, err := m.raw.GetAttributeValue(session, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil {
		return nil, judge(err)
	}
	point := values[0].Value
	var inside []byte
	if len(point) != ed25519.PublicKeySize {
		if rest, err := asn1.Unmarshal(point, &inside); err == nil && len(rest) == 0 {
			point = inside
		}
	}
	if len(point) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("the token %s has an Ed25519 key of %d octets", m.uri.name(), len(point))
	}
	return ed25519.PublicKey(point), nil
}

func (m *module) findEd25519(id []byte) (key crypto.Signer, err error) {
	err = m.with(func(session pkcs11.SessionHandle) error {
		private, err := m.objects(session, id, pkcs11.CKO_PRIVATE_KEY)
		if err != nil {
			return err
		}
		public, err := m.objects(session, id, pkcs11.CKO_PUBLIC_KEY)
		if err != nil {
			return err
		}
		if len(private) == 0 || len(public) == 0 {
			return fmt.Errorf("%w: the token %s has no key with the id %x", keys.ErrUnusable, m.uri.name(), id)
		}
		pub, err := m.pointOf(session, public[0])
		key = edwardsKey{m, private[0], pub}
		return err
	})
	return key, err
}

// An edwardsKey is an Ed25519 key on a token.
type edwardsKey struct {
	m      *module
	handle pkcs11.ObjectHandle
	pub    ed25519.PublicKey
}

func (k edwardsKey) Public() crypto.PublicKey { return k.pub }

// Sign signs a message, which is not hashed before.
func (k edwardsKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, fmt.Errorf("%w: tokens are asked for Ed25519 of messages that are not hashed", ErrIncapable)
	}
	err = k.m.with(func(session pkcs11.SessionHandle) error {
		if err := k.m.raw.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanismEdDSA, nil)}, k.handle); err != nil {
			return err
		}
		signature, err = k.m.raw.Sign(session, message)
		return err
	})
	return signature, err
}
