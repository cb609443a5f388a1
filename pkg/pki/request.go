package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A Request is a certificate signing request that may be kept, shown and signed.
type Request struct {
	CSR     *x509.CertificateRequest
	PEM     []byte   // as submitted, byte for byte
	KeyID   []byte   // of the requested key, see KeyID
	Digest  Digest   // the same for the same request, however its PEM was wrapped
	Subject string   // as SubjectString shows it
	SANs    []string // as SANStrings shows them
}

// ParseRequest reads a PKCS#10 request (RFC 2986) of at most MaxCSRSize bytes and
// checks all of it: exactly one PEM block of type CERTIFICATE REQUEST or NEW
// CERTIFICATE REQUEST, without headers and with only white space around it; strict
// DER; a key that [CheckPublicKey] accepts; a self-signature with SHA-256 or better;
// extensions and attributes that can be read and occur once; names that are printable
// and of the right syntax. It keeps a copy of pemData.
//
// CA:TRUE, keyCertSign and constraints are not refused: what is issued never has them.
func ParseRequest(pemData []byte) (*Request, error) {
	o, err := ParseOutline(pemData)
	if err != nil {
		return nil, err
	}
	return o.Check()
}

// An Outline is a request of which the form has been checked. Nothing has been computed with its key yet,
// which takes a thousand times as long: whoever can refuse it for another reason does so first.
type Outline struct{ req Request }

// Digest is that of the Request it may become.
func (o Outline) Digest() []byte { return o.req.Digest[:] }

// KeyID is that of the Request it may become.
func (o Outline) KeyID() []byte { return o.req.KeyID }

// ParseOutline is the part of ParseRequest that costs next to nothing.
func ParseOutline(pemData []byte) (Outline, error) {
	o, err := parseOutline(pemData)
	if err != nil {
		return Outline{}, refuse("CSR", err)
	}
	return o, nil
}

// Check does the rest: it checks the key, and the signature with it.
func (o Outline) Check() (*Request, error) {
	if err := checkPublicKey(o.req.CSR.PublicKey); err != nil {
		return nil, refuse("CSR", err)
	}
	if err := checkSelfSignature(o.req.CSR); err != nil {
		return nil, refuse("CSR", err)
	}
	return &o.req, nil
}

// parseOutline goes from what is cheap to check to what is not: an attacker chooses
// how far we get.
func parseOutline(pemData []byte) (o Outline, err error) {
	der, err := onlyBlock(pemData, MaxCSRSize, typeCSR, typeCSRLegacy)
	if err != nil {
		return o, err
	}
	if err := checkDER(der); err != nil {
		return o, err
	}
	subject, err := checkStructure(der)
	if err != nil {
		return o, err
	}
	attrs, err := checkSubject(subject)
	if err != nil {
		return o, err
	}
	// For RSA and Ed25519 this computes nothing with the key, and for ECDSA it
	// only checks a point of fixed size.
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return o, err
	}
	sans, err := checkExtensions(csr.Extensions)
	if err != nil {
		return o, err
	}
	if attrs == 0 && len(sans) == 0 {
		return o, errors.New("empty subject and no SubjectAltName: it names nobody")
	}
	if csr.PublicKey == nil {
		return o, errors.New("public key algorithm is not accepted: RSA, ECDSA or Ed25519 needed")
	}
	id, err := keyIDOfSPKI(csr.RawSubjectPublicKeyInfo)
	if err != nil {
		return o, err
	}
	return Outline{Request{
		CSR:     csr,
		PEM:     bytes.Clone(pemData),
		KeyID:   id,
		Digest:  sha256.Sum256(der),
		Subject: SubjectString(csr.RawSubject),
		SANs:    sans,
	}}, nil
}

// checkStructure looks at what x509 reads past, the version and attributes it ignores
// or of which it takes the first value, and returns the DER of the subject.
func checkStructure(der []byte) (subject []byte, err error) {
	input := cryptobyte.String(der)
	var csr, info, name, attributes cryptobyte.String
	var version int
	if !input.ReadASN1(&csr, cbasn1.SEQUENCE) ||
		!csr.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!info.ReadASN1Integer(&version) ||
		!info.ReadASN1Element(&name, cbasn1.SEQUENCE) ||
		!info.SkipASN1(cbasn1.SEQUENCE) || // subjectPublicKeyInfo
		!info.ReadASN1(&attributes, cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		!info.Empty() {
		return nil, errors.New("not a PKCS#10 request (RFC 2986)")
	}
	if version != 0 {
		return nil, fmt.Errorf("version %d: only 0 (v1) exists", version)
	}
	return name, checkAttributes(attributes)
}

// checkAttributes refuses attributes that are malformed or occur twice, RFC 2986 4.1.
// All but the extension request are otherwise ignored.
func checkAttributes(list cryptobyte.String) error {
	seen := make(map[string]bool)
	for !list.Empty() {
		var attr, oid, values cryptobyte.String
		if !list.ReadASN1(&attr, cbasn1.SEQUENCE) ||
			!attr.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
			!attr.ReadASN1(&values, cbasn1.SET) ||
			!attr.Empty() || values.Empty() {
			return errors.New("malformed attribute")
		}
		if seen[string(oid)] {
			return errors.New("an attribute occurs twice")
		}
		seen[string(oid)] = true
		if !isExtensionRequest(oid) {
			continue
		}
		if !values.SkipASN1(cbasn1.SEQUENCE) || !values.Empty() {
			return errors.New("extensionRequest is not exactly one list of extensions")
		}
	}
	return nil
}

// isExtensionRequest recognises the content bytes of OID 1.2.840.113549.1.9.14, RFC
// 2985 5.4.2.
func isExtensionRequest(oid []byte) bool {
	return bytes.Equal(oid, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e})
}

// checkSelfSignature proves that the requester holds the key. x509 itself would still
// accept SHA-1 in a request.
func checkSelfSignature(csr *x509.CertificateRequest) error {
	switch csr.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.PureEd25519:
	case x509.UnknownSignatureAlgorithm:
		return fmt.Errorf("signature algorithm %s is not known, or not with these parameters: SHA-256 or better needed", signatureOID(csr.Raw))
	default:
		return fmt.Errorf("signature algorithm %s is not accepted: SHA-256 or better needed", csr.SignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return errors.New("self-signature does not verify: it was not made with the requested key, or the request was changed")
	}
	return nil
}

// signatureOID returns the dotted OID of a signature algorithm that x509 does not
// know, or knows with other parameters.
func signatureOID(der []byte) string {
	input := cryptobyte.String(der)
	var csr, algorithm cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !input.ReadASN1(&csr, cbasn1.SEQUENCE) ||
		!csr.SkipASN1(cbasn1.SEQUENCE) ||
		!csr.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "(unreadable)"
	}
	return clip(oid.String(), 60)
}
