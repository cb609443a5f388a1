package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Rerequest makes the DER of a request that is template but for its key: subject and
// attributes, extensions among them, are the same bytes.
func Rerequest(template *Request, key crypto.Signer) ([]byte, error) {
	spki, err := marshalSPKI(key.Public())
	if err != nil {
		return nil, fmt.Errorf("CSR: %w", err)
	}
	algorithm, err := SignatureAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	identifier, hash, err := algorithmIdentifier(algorithm)
	if err != nil {
		return nil, err
	}
	info := cryptobyte.String(template.CSR.RawTBSCertificateRequest)
	var fields, attributes cryptobyte.String
	if !info.ReadASN1(&fields, cbasn1.SEQUENCE) ||
		!fields.SkipASN1(cbasn1.INTEGER) || // version
		!fields.SkipASN1(cbasn1.SEQUENCE) || // subject
		!fields.SkipASN1(cbasn1.SEQUENCE) || // key
		!fields.ReadASN1Element(&attributes, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return nil, refusef("CSR", "not a PKCS#10 request (RFC 2986)")
	}
	var tbs cryptobyte.Builder
	tbs.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(template.CSR.RawSubject)
		b.AddBytes(spki)
		b.AddBytes(attributes)
	})
	toBeSigned, err := tbs.Bytes()
	if err != nil {
		return nil, fmt.Errorf("CSR: %w", err)
	}
	signature, err := key.Sign(rand.Reader, digest(hash, Octets{toBeSigned}), hash)
	if err != nil {
		return nil, fmt.Errorf("CSR: %w", err)
	}
	var csr cryptobyte.Builder
	csr.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(toBeSigned)
		b.AddBytes(identifier)
		b.AddASN1BitString(signature)
	})
	der, err := csr.Bytes()
	if err != nil {
		return nil, fmt.Errorf("CSR: %w", err)
	}
	// What we make we also accept, and it says what was asked for.
	made, err := ParseRequest(EncodeCSRPEM(der))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(made.CSR.RawSubject, template.CSR.RawSubject) || !SameKey(made.CSR.PublicKey, key.Public()) {
		return nil, errors.New("CSR: what was made is not what was asked for")
	}
	return der, nil
}
