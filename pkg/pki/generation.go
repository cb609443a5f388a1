package pki

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The subject of a later generation of a CA is that of the first one, followed by an RDN of its own: a
// serialNumber (X.520 6.2.9; one of the attribute types that every implementation must know, RFC 5280 4.1.2.4),
// with the day on which its certificate begins and the beginning of its key identifier. So verifiers that find
// issuers by name find the right one. The key identifier makes it unique, without a count that several daemons would have to agree
// on, and that a restore would set back.
const (
	generationKeyID  = 8 // bytes
	generationLayout = "20060102"
)

var (
	generationPattern = regexp.MustCompile(`^[0-9]{8}-[0-9a-f]{16}$`)
	oidSerialNumber   = asn1.ObjectIdentifier{2, 5, 4, 5}
)

// GenerationSubject returns the subject of the generation of a CA whose first one, or any other one, has the
// name in DER, whose certificate is valid from then on, and whose key is pub.
func GenerationSubject(name []byte, from time.Time, pub crypto.PublicKey) ([]byte, error) {
	keyID, err := KeyID(pub)
	if err != nil {
		return nil, err
	}
	base := TrimGeneration(name)
	switch attrs, err := parseName(base); {
	case err != nil:
		return nil, refusef("subject", "%v", err)
	case len(attrs) == MaxRDNs:
		return nil, refusef("subject", "it has %d attributes, and there may be no more", len(attrs))
	}
	value := from.UTC().Format(generationLayout) + "-" + hex.EncodeToString(keyID[:generationKeyID])
	input := cryptobyte.String(base)
	var rdns cryptobyte.String
	input.ReadASN1(&rdns, cbasn1.SEQUENCE) // as parseName has done
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(name *cryptobyte.Builder) {
		name.AddBytes(rdns)
		name.AddASN1(cbasn1.SET, func(rdn *cryptobyte.Builder) {
			rdn.AddASN1(cbasn1.SEQUENCE, func(attr *cryptobyte.Builder) {
				attr.AddASN1ObjectIdentifier(oidSerialNumber)
				attr.AddASN1(cbasn1.PrintableString, func(v *cryptobyte.Builder) { v.AddBytes([]byte(value)) })
			})
		})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	return der, nil
}

// TrimGeneration returns the name of a CA without what tells this generation from the others, as
// [GenerationSubject] has added it. It returns any other name as it is.
func TrimGeneration(name []byte) []byte {
	attrs, err := parseName(name)
	if err != nil || len(withoutLast(attrs, isGeneration)) == len(attrs) {
		return name
	}
	input := cryptobyte.String(name)
	var rdns cryptobyte.String
	input.ReadASN1(&rdns, cbasn1.SEQUENCE)
	rest, rdn := rdns, cryptobyte.String(nil)
	for !rest.Empty() {
		rest.ReadASN1Element(&rdn, cbasn1.SET)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(n *cryptobyte.Builder) { n.AddBytes(rdns[:len(rdns)-len(rdn)]) })
	trimmed, err := b.Bytes()
	if err != nil {
		return name
	}
	return trimmed
}

// isGeneration reports whether a serialNumber is that of a generation.
func isGeneration(a attribute) bool {
	return a.tag == cbasn1.PrintableString && generationPattern.Match(a.value)
}

// withoutLast leaves out the last RDN of a name if it is a serialNumber that fits, and not all there is.
func withoutLast(attrs []attribute, fits func(attribute) bool) []attribute {
	if len(attrs) < 2 {
		return attrs
	}
	last := attrs[len(attrs)-1]
	if last.joined || !last.oid.Equal(oidSerialNumber) || !fits(last) {
		return attrs
	}
	return attrs[:len(attrs)-1]
}

// SameAuthority reports whether two names in DER are those of generations of one CA: the same, byte for byte, but for
// what tells generations apart.
func SameAuthority(a, b []byte) bool {
	return bytes.Equal(TrimGeneration(a), TrimGeneration(b))
}

// ClaimsAuthority reports whether a verifier, or a person, could take a name for that of the CA called ca, however it is spelt: for
// that of any of its generations, those of the future included. It compares as [SameName] does.
func ClaimsAuthority(name, ca []byte) bool {
	if bytes.Equal(name, ca) {
		return true
	}
	claimed, err := parseName(name)
	if err != nil {
		return false
	}
	own, err := parseName(ca)
	if err != nil {
		return false
	}
	base := withoutLast(own, isGeneration)
	return sameRDNs(claimed, own) || sameRDNs(claimed, base) ||
		sameRDNs(withoutLast(claimed, func(attribute) bool { return true }), base)
}
