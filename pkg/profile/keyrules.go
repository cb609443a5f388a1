package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/bits"
	"slices"

	"cauase/pkg/pki"
)

// keyRules are the types of keys that a profile allows, by their names in a configuration: those of
// [pki.KeyType], "ecdsa-p521", and "rsa" and "ecdsa" for all of their sizes. None: every key that [pki.CheckPublicKey] accepts.
type keyRules []string

// KeyNames lists the types of keys that a profile, or a rule, can name.
func KeyNames() []string {
	var names []string
	for _, t := range pki.KeyTypes() {
		names = append(names, string(t))
	}
	return append(names, "ecdsa-p521", "ecdsa", "rsa")
}

func (r keyRules) check(pub crypto.PublicKey) error {
	if len(r) == 0 {
		return nil
	}
	family, name := "", ""
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		family, name = "rsa", fmt.Sprintf("rsa-%d", pub.N.BitLen())
	case *ecdsa.PublicKey:
		family = "ecdsa"
		switch pub.Curve {
		case elliptic.P256():
			name = string(pki.KeyECDSAP256)
		case elliptic.P384():
			name = string(pki.KeyECDSAP384)
		case elliptic.P521():
			name = "ecdsa-p521"
		}
	default:
		if t, err := pki.KeyTypeOf(pub); err == nil {
			name = string(t)
		}
	}
	if slices.ContainsFunc(r, func(allowed string) bool { return allowed == name || allowed == family }) {
		return nil
	}
	return fmt.Errorf("the request's key is %s; only %s is allowed", pki.DescribeKey(pub), join(r, "or"))
}

// usagesOf returns the key usages that are possible with pub: only RSA encrypts keys and data, and only
// ECDH agrees on them (RFC 3279 2.3.1, RFC 8813 3, RFC 8410 5).
func usagesOf(pub crypto.PublicKey) x509.KeyUsage {
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	switch pub.(type) {
	case *rsa.PublicKey:
		return signs | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment
	case *ecdsa.PublicKey:
		return signs | x509.KeyUsageKeyAgreement | x509.KeyUsageEncipherOnly | x509.KeyUsageDecipherOnly
	}
	return signs
}

// marshalKeyUsage returns the value of the KeyUsage extension. Bit i of usage is bit i of the BIT STRING,
// which counts from the other end.
func marshalKeyUsage(usage x509.KeyUsage) ([]byte, error) {
	n := bits.Len16(uint16(usage))
	reversed := bits.Reverse16(uint16(usage))
	return asn1.Marshal(asn1.BitString{Bytes: []byte{byte(reversed >> 8), byte(reversed)}[:(n+7)/8], BitLength: n})
}
