package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
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

	// Foreign says that it is one of [ParseForeign]: only its key can be certified, and subject and extensions are not in CSR.
	Foreign bool
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

// ParseStored reads a request that ParseRequest or [ParseForeign] has accepted and that was kept since, by rules that may have become
// stricter: then it is a foreign one. That its maker holds the key was proved then, and is not computed again: whoever keeps requests has to see that this is still the same, by its
// digest.
func ParseStored(pemData []byte) (*Request, error) {
	o, err := ParseOutline(pemData)
	if err != nil {
		if foreign, unusable := parseForeign(pemData); unusable == nil {
			return foreign, nil
		}
		return nil, err
	}
	if err := checkPublicKey(o.req.CSR.PublicKey); err != nil {
		return nil, refuse("CSR", err)
	}
	if err := checkSignatureAlgorithm(o.req.CSR); err != nil {
		return nil, refuse("CSR", err)
	}
	return &o.req, nil
}

// An Outline is a request of which the form has been checked. Nothing has been computed with its key yet,
// which takes a thousand times as long: whoever can refuse it for another reason does so first.
type Outline struct{ req Request }

// cheapModulus is the size of RSA keys, in bits, with which a signature is verified as fast as with one of P-256.
const cheapModulus = 4096

// Cheap reports whether Check computes no longer than a query takes.
func (o Outline) Cheap() bool {
	switch key := o.req.CSR.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return key.N.BitLen() <= cheapModulus
	case ed25519.PublicKey:
		return true
	}
	return false
}

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
	parts, extensions, err := checkStructure(der)
	if err != nil {
		return o, err
	}
	attrs, err := checkSubject(parts.subject)
	if err != nil {
		return o, err
	}
	sans, err := checkExtensions(extensions)
	if err != nil {
		return o, err
	}
	// Whatever else there is, shown to users by programs of theirs that refuse the whole for it.
	if err := checkValues(der); err != nil {
		return o, err
	}
	// For RSA and Ed25519 this computes nothing with the key, and for ECDSA it
	// only checks a point of fixed size.
	csr, err := parseCSR(der, parts)
	if err != nil {
		return o, err
	}
	if attrs == 0 && len(sans) == 0 {
		return o, errors.New("empty subject and no SubjectAltName: it names nobody")
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
// or of which it takes the first value, and returns the pieces of the request and what extensions are asked for.
func checkStructure(der []byte) (p requestParts, extensions []pkix.Extension, err error) {
	p, err = splitRequest(der)
	if err != nil {
		return p, nil, err
	}
	if p.version != 0 {
		return p, nil, fmt.Errorf("version %d: only 0 (v1) exists", p.version)
	}
	if p.attributes == nil {
		return p, nil, errors.New("the field for attributes is missing, which has to be there even if there is none (RFC 2986 4.1): " +
			"make the request anew with another program")
	}
	extensions, err = checkAttributes(p.attributes)
	return p, extensions, err
}

// A requestParts is a PKCS#10 request cut into pieces that nobody has looked at yet.
type requestParts struct {
	info       cryptobyte.String // certificationRequestInfo, an element
	version    int
	subject    cryptobyte.String // element
	spki       cryptobyte.String // element
	attributes cryptobyte.String // content; nil: the field is not there
	signature  cryptobyte.String // algorithm and signature, elements
}

func splitRequest(der []byte) (p requestParts, err error) {
	notOne := errors.New("not a PKCS#10 request (RFC 2986)")
	input := cryptobyte.String(der)
	var csr cryptobyte.String
	if !input.ReadASN1(&csr, cbasn1.SEQUENCE) || !csr.ReadASN1Element(&p.info, cbasn1.SEQUENCE) {
		return p, notOne
	}
	p.signature = csr
	element := p.info
	var info cryptobyte.String
	if !element.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!info.ReadASN1Integer(&p.version) ||
		!info.ReadASN1Element(&p.subject, cbasn1.SEQUENCE) ||
		!info.ReadASN1Element(&p.spki, cbasn1.SEQUENCE) {
		return p, notOne
	}
	if info.Empty() {
		return p, nil
	}
	if !info.ReadASN1(&p.attributes, cbasn1.Tag(0).ContextSpecific().Constructed()) || !info.Empty() {
		return p, notOne
	}
	if p.attributes == nil {
		p.attributes = cryptobyte.String{}
	}
	return p, nil
}

// Object identifiers of attributes (RFC 2985 5.4.2 and Microsoft's, as of Windows 2000).
const (
	idExtensionRequest   = "1.2.840.113549.1.9.14"
	idExtensionRequestMS = "1.3.6.1.4.1.311.2.1.14"
)

// checkAttributes refuses attributes that are malformed or occur twice, RFC 2986 4.1. All but the extension
// request, which it returns, are otherwise ignored.
func checkAttributes(list cryptobyte.String) (extensions []pkix.Extension, err error) {
	if err := checkSorted(list); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	var requested, legacy cryptobyte.String
	seen := make(map[string]bool)
	for !list.Empty() {
		var attr, oid, values cryptobyte.String
		if !list.ReadASN1(&attr, cbasn1.SEQUENCE) ||
			!attr.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
			!attr.ReadASN1(&values, cbasn1.SET) ||
			!attr.Empty() || values.Empty() {
			return nil, errors.New("malformed attribute")
		}
		var id x509.OID
		if err := id.UnmarshalBinary(oid); err != nil {
			return nil, errors.New("malformed attribute: its OBJECT IDENTIFIER cannot be read")
		}
		name := clip(id.String(), 60)
		if seen[string(oid)] {
			return nil, fmt.Errorf("an attribute occurs twice: %s", name)
		}
		seen[string(oid)] = true
		if err := checkSorted(values); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		if err := checkValues(values); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		switch name {
		case idExtensionRequest:
			if !values.ReadASN1Element(&requested, cbasn1.SEQUENCE) || !values.Empty() {
				return nil, errors.New("extensionRequest is not exactly one list of extensions")
			}
		case idExtensionRequestMS:
			legacy = values
		}
	}
	// Most programs do not look there: who approves would not see what is asked for.
	if legacy != nil && !bytes.Equal(legacy, requested) {
		return nil, fmt.Errorf("extensions, such as alternative names, are asked for by Microsoft's old attribute %s, where they would be lost: "+
			"make the request anew, with the attribute of PKCS#10, %s (extensionRequest)", idExtensionRequestMS, idExtensionRequest)
	}
	if requested == nil {
		return nil, nil
	}
	return parseExtensions(requested)
}

// parseExtensions reads a list of extensions, each of which may occur once (RFC 5280 4.2).
func parseExtensions(element cryptobyte.String) ([]pkix.Extension, error) {
	var list cryptobyte.String
	if !element.ReadASN1(&list, cbasn1.SEQUENCE) || !element.Empty() {
		return nil, errors.New("malformed extensions")
	}
	var all []pkix.Extension
	seen := make(map[string]bool)
	for !list.Empty() {
		var fields, value cryptobyte.String
		var ext pkix.Extension
		if !list.ReadASN1(&fields, cbasn1.SEQUENCE) || !fields.ReadASN1ObjectIdentifier(&ext.Id) ||
			fields.PeekASN1Tag(cbasn1.BOOLEAN) && !fields.ReadASN1Boolean(&ext.Critical) ||
			!fields.ReadASN1(&value, cbasn1.OCTET_STRING) || !fields.Empty() {
			return nil, errors.New("malformed extension")
		}
		if seen[ext.Id.String()] {
			return nil, fmt.Errorf("duplicate extension %s", clip(ext.Id.String(), 60))
		}
		seen[ext.Id.String()] = true
		ext.Value = value
		all = append(all, ext)
	}
	return all, nil
}

// checkSignatureAlgorithm is there as x509 itself would still accept SHA-1 in a request.
func checkSignatureAlgorithm(csr *x509.CertificateRequest) error {
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
	return nil
}

// checkSelfSignature proves that the requester holds the key.
func checkSelfSignature(csr *x509.CertificateRequest) error {
	if err := checkSignatureAlgorithm(csr); err != nil {
		return err
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
