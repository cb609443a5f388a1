package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cauase/pkg/pki"
)

// An attributeKind is a kind of subject attribute that a profile may rule.
type attributeKind struct {
	name   string // in a configuration
	id     asn1.ObjectIdentifier
	max    int    // characters, RFC 5280 appendix A.1
	params string // of encoding/asn1; empty: PrintableString where that will do, else UTF8String
}

// attributeKinds are listed in the order in which they stand in a subject.
var attributeKinds = []attributeKind{
	{"domain_component", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, 63, "ia5"},
	{"country", asn1.ObjectIdentifier{2, 5, 4, 6}, 2, "printable"},
	{"state", asn1.ObjectIdentifier{2, 5, 4, 8}, 128, ""},
	{"locality", asn1.ObjectIdentifier{2, 5, 4, 7}, 128, ""},
	{"postal_code", asn1.ObjectIdentifier{2, 5, 4, 17}, 40, ""},
	{"street_address", asn1.ObjectIdentifier{2, 5, 4, 9}, 128, ""},
	{"organization", asn1.ObjectIdentifier{2, 5, 4, 10}, 64, ""},
	{"organizational_unit", asn1.ObjectIdentifier{2, 5, 4, 11}, 64, ""},
	{"title", asn1.ObjectIdentifier{2, 5, 4, 12}, 64, ""},
	{"surname", asn1.ObjectIdentifier{2, 5, 4, 4}, 40, ""},
	{"given_name", asn1.ObjectIdentifier{2, 5, 4, 42}, 40, ""},
	{"serial_number", asn1.ObjectIdentifier{2, 5, 4, 5}, 64, "printable"},
	{"user_id", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, 256, ""},
	{"common_name", asn1.ObjectIdentifier{2, 5, 4, 3}, 64, ""},
	{"email_address", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, 255, "ia5"},
}

// subjectRules say what becomes of the requested subject. The zero subjectRules take it as it is.
type subjectRules struct {
	empty bool // whatever was asked for
	// ruled has the subject be of the attributes of rules, in the order of attributeKinds. Any other
	// is refused.
	ruled bool
	rules map[string]attributeRule // by attributeKind.name
}

// An attributeRule is either a fixed value, or what the request has.
type attributeRule struct{ fixed []byte } // the DER of the value

// An attributeValue is AttributeTypeAndValue, its value as it came.
type attributeValue struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// rdnSET is a RelativeDistinguishedName: encoding/asn1 goes by the end of a type's name.
type rdnSET []attributeValue

// apply returns the DER of the subject for a request that asks for the one in asked.
func (r subjectRules) apply(asked []byte) ([]byte, error) {
	if r.empty {
		return []byte{asn1.TagSequence | 0x20, 0}, nil
	}
	if !r.ruled {
		return asked, nil
	}
	var in, out []rdnSET
	if rest, err := asn1.Unmarshal(asked, &in); err != nil || len(rest) > 0 {
		return nil, errors.New("the request's subject cannot be read")
	}
	given := map[string][]attributeValue{}
	for _, rdn := range in {
		for _, value := range rdn {
			kind, err := r.kindOf(value)
			if err != nil {
				return nil, err
			}
			given[kind] = append(given[kind], value)
		}
	}
	for _, kind := range attributeKinds {
		rule, allowed := r.rules[kind.name]
		switch {
		case !allowed:
		case rule.fixed != nil:
			out = append(out, rdnSET{{kind.id, asn1.RawValue{FullBytes: rule.fixed}}})
		default:
			for _, value := range given[kind.name] {
				out = append(out, rdnSET{value})
			}
		}
	}
	return asn1.Marshal(out)
}

// Requested returns the part of a requested subject that would be in the certificate because somebody asked for it, and not because
// the profile says so. What the profile refuses stays.
func (p *Profile) Requested(subject []byte) []byte {
	r := p.subject
	switch {
	case p.copies, !r.ruled && !r.empty:
		return subject
	case r.empty:
		return []byte{asn1.TagSequence | 0x20, 0}
	}
	var in, out []rdnSET
	if rest, err := asn1.Unmarshal(subject, &in); err != nil || len(rest) > 0 {
		return subject
	}
	for _, rdn := range in {
		for _, value := range rdn {
			if kind, err := r.kindOf(value); err != nil || r.rules[kind].fixed == nil {
				out = append(out, rdnSET{value})
			}
		}
	}
	der, err := asn1.Marshal(out)
	if err != nil {
		return subject
	}
	return der
}

// kindOf returns the name of an attribute's kind, or why it must not be asked for.
func (r subjectRules) kindOf(value attributeValue) (string, error) {
	i := slices.IndexFunc(attributeKinds, func(k attributeKind) bool { return k.id.Equal(value.ID) })
	if i >= 0 {
		if _, allowed := r.rules[attributeKinds[i].name]; allowed {
			return attributeKinds[i].name, nil
		}
	}
	shown := "an attribute"
	if one, err := asn1.Marshal([]rdnSET{{value}}); err == nil {
		shown = pki.SubjectString(one)
	}
	return "", fmt.Errorf("the request asks for the subject %s; %s", shown, r.allowed())
}

func (r subjectRules) allowed() string {
	var names []string
	for _, k := range attributeKinds {
		if _, ok := r.rules[k.name]; ok {
			names = append(names, k.name)
		}
	}
	if len(names) == 0 {
		return "no subject is allowed"
	}
	return "only " + join(names, "and") + " may be in it"
}

// Words in a configuration that say what becomes of an attribute. Anything else is a fixed value.
const (
	wordRequest   = "request"
	wordForbidden = "forbidden"
)

// compileSubject reads the table "subject" of a profile. Attributes that it does not name are forbidden.
func compileSubject(table map[string]string) (subjectRules, error) {
	if table == nil {
		return subjectRules{}, nil
	}
	r := subjectRules{ruled: true, rules: map[string]attributeRule{}}
	for _, name := range sortedKeys(table) {
		i := slices.IndexFunc(attributeKinds, func(k attributeKind) bool { return k.name == name })
		if i < 0 {
			var known []string
			for _, k := range attributeKinds {
				known = append(known, k.name)
			}
			return r, fieldError("subject", "%q is none of %s", name, join(known, "and"))
		}
		switch text := table[name]; text {
		case wordForbidden:
		case wordRequest:
			r.rules[name] = attributeRule{}
		default:
			fixed, err := attributeKinds[i].marshal(text)
			if err != nil {
				return r, fieldError("subject."+name, "%q %w", text, err)
			}
			r.rules[name] = attributeRule{fixed: fixed}
		}
	}
	return r, nil
}

// marshal returns the DER of a value from a configuration.
func (k attributeKind) marshal(text string) ([]byte, error) {
	switch n := utf8.RuneCountInString(text); {
	case strings.TrimSpace(text) == "":
		return nil, errors.New("is empty")
	case n > k.max:
		return nil, fmt.Errorf("has %d characters: at most %d allowed", n, k.max)
	case pki.EscapeText(text) != text:
		return nil, errors.New("has characters that do not print")
	case k.name == "country" && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "", k.name == "country" && n != 2:
		return nil, errors.New("is not a country code of two capital letters (ISO 3166)")
	}
	value, err := asn1.MarshalWithParams(text, k.params)
	if err != nil {
		return nil, errors.New("has characters that this attribute cannot have")
	}
	return value, nil
}

// CommonName returns the DER of a subject that is just a common name.
func CommonName(cn string) ([]byte, error) {
	return asn1.Marshal(pkix.Name{CommonName: cn}.ToRDNSequence())
}
