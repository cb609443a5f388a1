package pki

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseRenewalRequest reads the request that comes with a renewal. All that counts of it is the key: names and
// extensions are those of the certificate that is renewed, and what a client repeats of them here is not looked at.
// It may be what [ParseRequest] refuses, as others have issued it. Form, key and signature are checked as there;
// subject and extensions of the result are empty.
func ParseRenewalRequest(pemData []byte) (*Request, error) {
	req, err := parsePossession(pemData)
	if err == nil {
		err = checkSelfSignature(req.CSR)
	}
	if err != nil {
		return nil, refuse("CSR", err)
	}
	return req, nil
}

// parsePossession reads of a request what proves that somebody holds a key: the key, and the signature, which is not verified yet.
func parsePossession(pemData []byte) (*Request, error) {
	der, err := onlyBlock(pemData, MaxCSRSize, typeCSR, typeCSRLegacy)
	if err != nil {
		return nil, err
	}
	if err := checkDER(der); err != nil {
		return nil, err
	}
	p, err := splitRequest(der)
	if err != nil {
		return nil, err
	}
	if p.version != 0 {
		return nil, fmt.Errorf("version %d: only 0 (v1) exists", p.version)
	}
	nameless, err := p.nameless()
	if err != nil {
		return nil, err
	}
	csr, err := parseCSR(nameless, p)
	if err != nil {
		return nil, err
	}
	csr.Raw, csr.RawTBSCertificateRequest = der, p.info // which is nobody else's
	id, err := keyIDOfSPKI(csr.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, err
	}
	if err := checkPublicKey(csr.PublicKey); err != nil {
		return nil, err
	}
	return &Request{CSR: csr, PEM: bytes.Clone(pemData), KeyID: id, Digest: sha256.Sum256(der)}, nil
}

// RequestedKey is the SubjectPublicKeyInfo in the DER of a request of which nothing else is looked at.
func RequestedKey(der []byte) ([]byte, error) {
	p, err := splitRequest(der)
	if err != nil {
		return nil, refuse("CSR", err)
	}
	return p.spki, nil
}

// nameless is the request with nothing but its key, and a signature over something else.
func (p requestParts) nameless() ([]byte, error) {
	const around = 32 // headers, version, and what is empty
	b := cryptobyte.NewBuilder(make([]byte, 0, len(p.spki)+len(p.signature)+around))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes([]byte{0x30, 0})
			b.AddBytes(p.spki)
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(*cryptobyte.Builder) {})
		})
		b.AddBytes(p.signature)
	})
	return b.Bytes()
}
