package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"cauase/pkg/pki"
)

// A contentView is what the extensions of a certificate or a request say. What cannot be read is shown as it
// is: nothing is left out because it is not known here.
type contentView struct {
	KeyUsages []string        `json:"key_usages,omitempty"`
	Usages    []string        `json:"usages,omitempty"`
	Policies  []string        `json:"policies,omitempty"`
	Others    []extensionView `json:"other_extensions,omitempty"`
}

type extensionView struct {
	OID      string `json:"oid"`
	Name     string `json:"name,omitempty"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"` // of the DER, hexadecimal
}

// Extensions that certificateView shows itself, or that every certificate has.
var elsewhere = []string{oidBasicConstraints, oidSubjectKeyID, oidAuthorityKeyID}

const (
	oidSubjectKeyID     = "2.5.29.14"
	oidKeyUsage         = "2.5.29.15"
	oidSubjectAltName   = "2.5.29.17"
	oidBasicConstraints = "2.5.29.19"
	oidPolicies         = "2.5.29.32"
	oidAuthorityKeyID   = "2.5.29.35"
	oidExtKeyUsage      = "2.5.29.37"
)

var extensionNames = map[string]string{
	oidSubjectKeyID: "SubjectKeyIdentifier", oidKeyUsage: "KeyUsage", oidSubjectAltName: "SubjectAltName",
	oidBasicConstraints: "BasicConstraints", oidPolicies: "CertificatePolicies", oidAuthorityKeyID: "AuthorityKeyIdentifier",
	oidExtKeyUsage: "ExtendedKeyUsage", "2.5.29.30": "NameConstraints", "2.5.29.31": "CRLDistributionPoints",
	"1.3.6.1.5.5.7.1.1": "AuthorityInfoAccess", "1.3.6.1.5.5.7.1.24": "TLSFeature", "1.3.6.1.5.5.7.48.1.5": "OCSPNoCheck",
}

func extensionName(oid string) string {
	if name := extensionNames[oid]; name != "" {
		return name
	}
	return oid
}

// viewContent shows extensions, without those in except, and without names, which are shown in their own place.
func viewContent(extensions []pkix.Extension, except ...string) (v contentView) {
	for _, ext := range extensions {
		oid := ext.Id.String()
		var found []string
		ok := true
		switch oid {
		case oidSubjectAltName:
			if len(pki.SANStrings([]pkix.Extension{ext})) > 0 {
				continue
			}
			ok = false
		case oidKeyUsage:
			found, ok = keyUsages(ext.Value)
			v.KeyUsages = append(v.KeyUsages, found...)
		case oidExtKeyUsage:
			found, ok = extendedKeyUsages(ext.Value)
			v.Usages = append(v.Usages, found...)
		case oidPolicies:
			found, ok = policies(ext.Value)
			v.Policies = append(v.Policies, found...)
		default:
			ok = slices.Contains(except, oid)
		}
		if !ok {
			v.Others = append(v.Others, extensionView{OID: oid, Name: extensionNames[oid], Critical: ext.Critical, Value: hex.EncodeToString(ext.Value)})
		}
	}
	return v
}

// keyUsageNames are those of RFC 5280 4.2.1.3, in the order of their bits.
var keyUsageNames = []string{
	"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement",
	"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
}

func keyUsages(value []byte) (names []string, ok bool) {
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(value, &bits); err != nil || len(rest) > 0 || bits.BitLength > 16 {
		return nil, false
	}
	for i := range bits.BitLength {
		if bits.At(i) == 0 {
			continue
		}
		if i >= len(keyUsageNames) {
			return nil, false
		}
		names = append(names, keyUsageNames[i])
	}
	return names, true
}

// extendedKeyUsages names the usages in an extension (RFC 5280 4.2.1.12).
func extendedKeyUsages(value []byte) (names []string, ok bool) {
	input := cryptobyte.String(value)
	var list cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, false
	}
	for !list.Empty() {
		oid, ok := readOID(&list)
		if !ok {
			return nil, false
		}
		names = append(names, usageName(oid))
	}
	return names, true
}

func usageName(oid string) string {
	for _, u := range knownUsages {
		if oid == append(slices.Clone(keyPurposes), u.arc).String() {
			return u.short
		}
	}
	switch oid {
	case "2.5.29.37.0":
		return "any usage (" + oid + ")"
	case "1.3.6.1.5.5.7.3.9":
		return "OCSP signing (" + oid + ")"
	}
	return oid
}

// policies names the policies in an extension, with what qualifies them (RFC 5280 4.2.1.4).
func policies(value []byte) (names []string, ok bool) {
	input := cryptobyte.String(value)
	var list cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var policy, qualifiers cryptobyte.String
		if !list.ReadASN1(&policy, cbasn1.SEQUENCE) {
			return nil, false
		}
		oid, ok := readOID(&policy)
		if !ok {
			return nil, false
		}
		name := policyName(oid)
		if !policy.Empty() && !policy.ReadASN1(&qualifiers, cbasn1.SEQUENCE) {
			return nil, false
		}
		for !qualifiers.Empty() {
			text, ok := qualifier(&qualifiers)
			if !ok {
				return nil, false
			}
			if oid != policyAutoSigned {
				name += " " + text
			}
		}
		names = append(names, name)
	}
	return names, true
}

// qualifier shows one: the address of a practice statement, or else the bytes.
func qualifier(list *cryptobyte.String) (string, bool) {
	var one, value cryptobyte.String
	var tag cbasn1.Tag
	if !list.ReadASN1(&one, cbasn1.SEQUENCE) {
		return "", false
	}
	oid, ok := readOID(&one)
	if !ok || !one.ReadAnyASN1(&value, &tag) {
		return "", false
	}
	if oid == "1.3.6.1.5.5.7.2.1" && tag == cbasn1.IA5String {
		return "CPS " + safe(string(value)), true
	}
	return fmt.Sprintf("qualifier %s #%x", oid, []byte(value)), true
}

// readOID reads any OID, however large its numbers are.
func readOID(s *cryptobyte.String) (string, bool) {
	var der cryptobyte.String
	var oid x509.OID
	if !s.ReadASN1(&der, cbasn1.OBJECT_IDENTIFIER) || oid.UnmarshalBinary(der) != nil {
		return "", false
	}
	return oid.String(), true
}

// policyAutoSigned is the one policy that daemons set themselves.
const policyAutoSigned = "1.3.6.1.4.1.37476.9000.70.0.0"

func policyName(oid string) string {
	if oid == policyAutoSigned {
		return "signed automatically (" + oid + ")"
	}
	return oid
}

// safe escapes text from outside for terminals: what does not print, and of consecutive spaces, with which it
// could imitate another column or line, all but the first.
func safe(s string) string {
	s = pki.EscapeText(s)
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", ` \x20`)
	}
	return s
}

// safeNames escapes names, and quotes those that could be read as several.
func safeNames(names []string) []string {
	shown := make([]string, 0, len(names))
	for _, name := range names {
		if name = safe(name); strings.ContainsAny(name, ", ") {
			name = `"` + strings.ReplaceAll(name, `"`, `\x22`) + `"`
		}
		shown = append(shown, name)
	}
	return shown
}

func (p *printer) content(v contentView) {
	p.field("key usage", strings.Join(v.KeyUsages, ", "))
	p.field("usages", strings.Join(v.Usages, ", "))
	p.field("policies", strings.Join(v.Policies, ", "))
	for _, ext := range v.Others {
		text := ext.OID
		if ext.Name != "" {
			text += " " + ext.Name
		}
		if ext.Critical {
			text += " critical"
		}
		p.field("extension", text+" #"+ext.Value)
	}
}
