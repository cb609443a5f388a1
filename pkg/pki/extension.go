package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxItems bounds the usages and policies in one extension.
const maxItems = 100

// checkExtensions refuses requested extensions that cannot be read, or demand what
// issuing would silently drop; x509 has refused those that occur twice. Extensions only
// a CA may have are fine: they are dropped when issuing, as every peer of ours does.
func checkExtensions(extensions []pkix.Extension) (sans []string, err error) {
	for _, ext := range extensions {
		id := ext.Id.String()
		switch id {
		case "2.5.29.17":
			sans, err = checkSANs(ext.Value)
		case "2.5.29.15":
			err = named("KeyUsage", checkKeyUsage(ext.Value))
		case "2.5.29.37":
			err = named("ExtendedKeyUsage", checkExtKeyUsage(ext.Value))
		case "2.5.29.19":
			err = named("BasicConstraints", checkBasicConstraints(ext.Value))
		case "2.5.29.32":
			err = named("CertificatePolicies", checkPolicies(ext.Value))
		case "2.5.29.14", "2.5.29.35", "2.5.29.31":
			// Key identifiers and CRL distribution points: ours replace them.
		case "2.5.29.30", "2.5.29.33", "2.5.29.36", "2.5.29.54":
			// Name and policy constraints, policy mappings, inhibit anyPolicy:
			// without meaning in what we issue.
		default:
			// Critical says: do not use the certificate without heeding this
			// (RFC 5280 4.2). We would issue it without.
			if ext.Critical {
				err = fmt.Errorf("critical extension %s is not known here and would be lost", clip(id, 60))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return sans, nil
}

func named(extension string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", extension, err)
	}
	return nil
}

var errExtension = errors.New("malformed extension value")

// checkKeyUsage, RFC 5280 4.2.1.3: a BIT STRING of at most nine named bits.
func checkKeyUsage(value []byte) error {
	input := cryptobyte.String(value)
	var bits asn1.BitString
	if !input.ReadASN1BitString(&bits) || !input.Empty() || len(bits.Bytes) > 2 {
		return errExtension
	}
	return nil
}

// checkExtKeyUsage, RFC 5280 4.2.1.12: a non-empty list of OIDs.
func checkExtKeyUsage(value []byte) error {
	input := cryptobyte.String(value)
	var list cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() || list.Empty() {
		return errExtension
	}
	for n := 0; !list.Empty(); n++ {
		if n == maxItems {
			return fmt.Errorf("more than %d usages", maxItems)
		}
		// What encoding/asn1 cannot represent could be read here, but not issued.
		var usage asn1.ObjectIdentifier
		if !list.ReadASN1ObjectIdentifier(&usage) {
			return errExtension
		}
	}
	return nil
}

// checkBasicConstraints, RFC 5280 4.2.1.9. An explicit FALSE is a default that DER
// says to leave out; it is too common to insist.
func checkBasicConstraints(value []byte) error {
	input := cryptobyte.String(value)
	var fields cryptobyte.String
	if !input.ReadASN1(&fields, cbasn1.SEQUENCE) || !input.Empty() {
		return errExtension
	}
	var isCA bool
	if fields.PeekASN1Tag(cbasn1.BOOLEAN) && !fields.ReadASN1Boolean(&isCA) {
		return errExtension
	}
	var pathLen uint32
	if fields.PeekASN1Tag(cbasn1.INTEGER) && !fields.ReadASN1Integer(&pathLen) {
		return errExtension
	}
	if !fields.Empty() {
		return errExtension
	}
	return nil
}

// checkPolicies, RFC 5280 4.2.1.4: a non-empty list of policies, with qualifiers whose
// meaning is not looked at. They reach the certificate as they are, so that they must be DER.
func checkPolicies(value []byte) error {
	if err := checkDER(value); err != nil {
		return err
	}
	if err := checkValues(value); err != nil {
		return err
	}
	input := cryptobyte.String(value)
	var list cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() || list.Empty() {
		return errExtension
	}
	for n := 0; !list.Empty(); n++ {
		if n == maxItems {
			return fmt.Errorf("more than %d policies", maxItems)
		}
		var policy cryptobyte.String
		if !list.ReadASN1(&policy, cbasn1.SEQUENCE) || !readOID(&policy) {
			return errExtension
		}
		if !policy.Empty() && !readQualifiers(&policy) {
			return errExtension
		}
	}
	return nil
}

// readQualifiers reads a non-empty list of qualifiers, each an OID and what belongs to it.
func readQualifiers(s *cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, cbasn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var qualifier, value cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadASN1(&qualifier, cbasn1.SEQUENCE) || !readOID(&qualifier) ||
			!qualifier.ReadAnyASN1(&value, &tag) || !qualifier.Empty() {
			return false
		}
	}
	return true
}

// readOID takes any OID, also those with arcs beyond 64 bits (2.25 and a UUID), which
// encoding/asn1 cannot represent and caucase's legacy policies have.
func readOID(s *cryptobyte.String) bool {
	var der cryptobyte.String
	if !s.ReadASN1(&der, cbasn1.OBJECT_IDENTIFIER) {
		return false
	}
	var oid x509.OID
	return oid.UnmarshalBinary(der) == nil
}
