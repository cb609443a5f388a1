package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// parseCSR has x509 read the DER of a request, and refuses what it reads past: fields that no field is defined for,
// parameters that an algorithm does not have, other encodings of the key. Users read requests in a list, with programs
// that show none of it for one that they cannot read.
func parseCSR(der []byte, p requestParts) (*x509.CertificateRequest, error) {
	if err := checkSignatureForm(p.signature); err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	spki, err := marshalSPKI(csr.PublicKey)
	if err != nil { // DSA, X25519, or one that x509 does not know
		return nil, errors.New("public key algorithm is not accepted: RSA, ECDSA or Ed25519 needed")
	}
	if !bytes.Equal(spki, p.spki) {
		return nil, errors.New("public key: more than a key, or parameters that keys of its algorithm do not have (RFC 5280 4.1.2.7)")
	}
	return csr, nil
}

// checkSignatureForm checks what follows the certificationRequestInfo: an algorithm with the parameters that RFC 4055
// and RFC 5758 want, a signature, and nothing else.
func checkSignatureForm(s cryptobyte.String) error {
	var algorithm, oid, signature cryptobyte.String
	if !s.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
		!s.ReadASN1(&signature, cbasn1.BIT_STRING) {
		return errors.New("not a PKCS#10 request (RFC 2986)")
	}
	if !s.Empty() {
		return errors.New("something follows the signature, where a request ends (RFC 2986 4.2)")
	}
	if !fitParameters(oid, algorithm) {
		return errors.New("signature algorithm: parameters that it does not have")
	}
	return nil
}

// Content of the OBJECT IDENTIFIERs of algorithms of which the parameters are checked.
var (
	pkcs1   = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01} // and the number of an algorithm
	ansiSig = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04}             // likewise
	rsaPSS  = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a}
	derNull = []byte{0x05, 0x00}
)

// fitParameters reports whether parameters may follow the algorithm. Those of PSS are left to x509, but for their number.
func fitParameters(oid, params cryptobyte.String) bool {
	switch {
	case bytes.Equal(oid, rsaPSS):
		return params.SkipASN1(cbasn1.SEQUENCE) && params.Empty()
	case bytes.HasPrefix(oid, pkcs1):
		return params.Empty() || bytes.Equal(params, derNull)
	case bytes.HasPrefix(oid, ansiSig):
		return params.Empty()
	default: // x509 knows it without parameters, or not at all
		return true
	}
}
