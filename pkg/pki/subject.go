package pki

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Universal tags of the string types that the tables of cryptobyte leave out.
const (
	tagNumericString   = cbasn1.Tag(18)
	tagVisibleString   = cbasn1.Tag(26)
	tagUniversalString = cbasn1.Tag(28)
	tagBMPString       = cbasn1.Tag(30)
)

// An attribute is one AttributeTypeAndValue of a name, RFC 5280 4.1.2.4.
type attribute struct {
	oid    asn1.ObjectIdentifier
	tag    cbasn1.Tag
	value  []byte
	raw    []byte // all of it
	joined bool   // in the same RDN as the attribute before it
}

var errName = errors.New("malformed name")

// parseName reads the DER of a Name. It stops at MaxRDNs attributes.
func parseName(raw []byte) ([]attribute, error) {
	input := cryptobyte.String(raw)
	var rdns cryptobyte.String
	if !input.ReadASN1(&rdns, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, errName
	}
	var attrs []attribute
	for !rdns.Empty() {
		var rdn cryptobyte.String
		if !rdns.ReadASN1(&rdn, cbasn1.SET) {
			return nil, errName
		}
		if rdn.Empty() {
			return nil, fmt.Errorf("%w: an RDN without attributes", errName)
		}
		for joined := false; !rdn.Empty(); joined = true {
			var pair, value cryptobyte.String
			attr := attribute{joined: joined}
			before := rdn
			if !rdn.ReadASN1(&pair, cbasn1.SEQUENCE) ||
				!pair.ReadASN1ObjectIdentifier(&attr.oid) ||
				!pair.ReadAnyASN1(&value, &attr.tag) || !pair.Empty() {
				return nil, errName
			}
			if len(attrs) == MaxRDNs {
				return nil, fmt.Errorf("name of more than %d attributes", MaxRDNs)
			}
			attr.value, attr.raw = value, before[:len(before)-len(rdn)]
			attrs = append(attrs, attr)
		}
	}
	return attrs, nil
}

// checkSubject refuses names that are malformed, oversized, or would show as something
// else than they are. It returns the number of attributes.
func checkSubject(raw []byte) (int, error) {
	attrs, err := parseName(raw)
	if err != nil {
		return 0, fmt.Errorf("subject: %w", err)
	}
	for _, attr := range attrs {
		if err := attr.check(); err != nil {
			return 0, fmt.Errorf("subject %s: %w", attr.label(), err)
		}
	}
	if err := checkRDNs(attrs); err != nil {
		return 0, fmt.Errorf("subject %w", err)
	}
	if err := checkValues(raw); err != nil {
		return 0, fmt.Errorf("subject: %w", err)
	}
	return len(attrs), nil
}

// checkRDNs refuses attributes that stand in one RDN and are not sorted, as DER has sets, or twice the same. Two of one type
// should not be there either (X.501 9.3), and are: Go makes them of several organizations.
func checkRDNs(attrs []attribute) error {
	for i, attr := range attrs {
		if !attr.joined {
			continue
		}
		before := attrs[i-1]
		switch bytes.Compare(before.raw, attr.raw) {
		case 0:
			return fmt.Errorf("%s: twice the same in one RDN", attr.label())
		case 1:
			return fmt.Errorf("%s+%s: the attributes of one RDN are a SET, which DER has sorted (X.690 11.6)", before.label(), attr.label())
		}
	}
	return nil
}

func (a attribute) check() error {
	switch {
	case len(a.value) == 0:
		return errors.New("empty value")
	case len(a.value) > MaxNameValue:
		return fmt.Errorf("value of %d bytes: at most %d accepted", len(a.value), MaxNameValue)
	}
	switch a.tag {
	case cbasn1.UTF8String, cbasn1.PrintableString, cbasn1.IA5String, tagNumericString:
	case cbasn1.T61String, tagBMPString, tagUniversalString:
		// T61String means something else to every reader (RFC 5280 4.1.2.4 has
		// it for old names only), and so what would be shown is not what was
		// asked for.
		return fmt.Errorf("value is an obsolete %s: UTF8String needed", stringType(a.tag))
	default:
		return fmt.Errorf("value is a %s: UTF8String needed", stringType(a.tag))
	}
	if err := checkString(a.tag, a.value); err != nil {
		return err
	}
	return checkText(string(a.value))
}

func stringType(tag cbasn1.Tag) string {
	switch tag {
	case cbasn1.UTF8String:
		return "UTF8String"
	case cbasn1.PrintableString:
		return "PrintableString"
	case cbasn1.IA5String:
		return "IA5String"
	case cbasn1.T61String:
		return "T61String"
	case tagNumericString:
		return "NumericString"
	case tagVisibleString:
		return "VisibleString"
	case tagBMPString:
		return "BMPString"
	case tagUniversalString:
		return "UniversalString"
	}
	return fmt.Sprintf("value of DER tag %#x", uint8(tag))
}

// label names the attribute as RFC 4514 section 3 and openssl do, unknown ones by
// their dotted OID.
func (a attribute) label() string {
	oid := a.oid.String()
	if label, known := attributeLabels[oid]; known {
		return label
	}
	return clip(oid, 60)
}

// attributeLabels are the names of attribute types in RFC 4514 and openssl.
var attributeLabels = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.17":                   "postalCode",
	"2.5.4.42":                   "GN",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
}

// SubjectString returns the DER of a Name (an x509 RawSubject or RawIssuer) as RFC
// 4514 writes it, most specific first: "CN=alice,O=Example". What does not print is
// escaped as [EscapeText] does. It takes any bytes; those that are not a Name come out
// as "(unreadable name)", an empty Name as "".
func SubjectString(raw []byte) string {
	attrs, err := parseName(raw)
	if err != nil {
		return "(unreadable name)"
	}
	// RDNs are reversed, attributes within one are not.
	var rdns []string
	for _, attr := range attrs {
		text := attr.label() + "=" + attr.display()
		if attr.joined {
			rdns[len(rdns)-1] += "+" + text
			continue
		}
		rdns = append(rdns, text)
	}
	slices.Reverse(rdns)
	return strings.Join(rdns, ",")
}

func (a attribute) display() string {
	switch a.tag {
	case cbasn1.UTF8String, cbasn1.PrintableString, cbasn1.IA5String, tagNumericString:
		return escapeValue(clip(string(a.value), MaxNameValue))
	}
	return "#" + clip(hex.EncodeToString(a.value), MaxNameValue)
}

// escapeValue keeps a value from reading as several, RFC 4514 section 2.4.
func escapeValue(s string) string {
	var b strings.Builder
	for i, c := range []byte(s) {
		switch {
		case strings.IndexByte(`"+,;<=>\`, c) >= 0,
			c == '#' && i == 0,
			c == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return EscapeText(b.String())
}
