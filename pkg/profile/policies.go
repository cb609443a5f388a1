package profile

import (
	"encoding/asn1"
	"errors"
	"slices"
)

// caucase's own policies stand in this arc; the legacy one, used by early versions, is
// rewritten to it wherever it is met. It is 2.25.285541874270823339875695650038637483517, as
// the content of its encoding: the last component has 128 bits, too many for asn1.ObjectIdentifier.
var (
	policyArc       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 37476, 9000, 70, 0}
	policyLegacyArc = []byte{0x69, 0x83, 0xad, 0xd1, 0xae, 0xd5, 0xd4, 0xf0, 0xfa, 0x8d, 0x91, 0xbd, 0xc3, 0xb4, 0xbe, 0xef, 0xc5, 0x95, 0xab, 0x7d}
	policyAuto      = append(slices.Clone(policyArc), 0)
	oidUserNotice   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 2}
)

// autoSignedText stands as user notice in what no human has approved.
const autoSignedText = "Auto-signed caucase certificate"

// A policyInformation is RFC 5280 4.2.1.4 PolicyInformation, its identifier raw for the sake of
// the legacy arc.
type policyInformation struct {
	Policy     asn1.RawValue
	Qualifiers asn1.RawValue `asn1:"optional"`
}

type policyRules struct {
	keepOwn bool // policies in caucase's arc pass: we put them there
	add     bool // the certificate is auto-signed
}

// filterPolicies applies rules to the DER of CertificatePolicies (nil for none) and returns
// the DER of the result, nil when no policy is left.
func filterPolicies(der []byte, rules policyRules) ([]byte, error) {
	var policies []policyInformation
	if der != nil {
		if rest, err := asn1.Unmarshal(der, &policies); err != nil {
			return nil, err
		} else if len(rest) > 0 {
			return nil, errors.New("data after the certificate policies")
		}
	}
	arc, err := asn1.Marshal(policyArc)
	if err != nil {
		return nil, err
	}
	arc = arc[2:] // the identifier's content
	var kept []policyInformation
	seen := map[string]bool{}
	for _, p := range policies {
		if p.Policy.Class != asn1.ClassUniversal || p.Policy.Tag != asn1.TagOID {
			return nil, errors.New("policy identifier is not an object identifier")
		}
		id := p.Policy.Bytes
		if tail, ok := inArc(id, policyLegacyArc); ok {
			id = append(slices.Clone(arc), tail...)
			p.Policy = asn1.RawValue{Tag: asn1.TagOID, Bytes: id}
		}
		if _, own := inArc(id, arc); own && !rules.keepOwn {
			continue
		}
		// RFC 5280 4.2.1.4: a policy must not appear more than once.
		if seen[string(id)] {
			continue
		}
		seen[string(id)] = true
		kept = append(kept, p)
	}
	if rules.add {
		auto, err := autoSigned()
		if err != nil {
			return nil, err
		}
		kept = append(kept, auto)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return asn1.Marshal(kept)
}

// inArc reports whether the object identifier with this content stands in arc, or is it, and
// what follows the arc. A component never starts in the middle of another: arcs end where a
// component ends, which a byte without its high bit marks.
func inArc(id, arc []byte) (tail []byte, ok bool) {
	if len(id) < len(arc) || string(id[:len(arc)]) != string(arc) {
		return nil, false
	}
	return id[len(arc):], true
}

// autoSigned is the policy that marks a certificate no human has approved, with a user notice
// that says so (RFC 5280 4.2.1.4).
func autoSigned() (policyInformation, error) {
	type userNotice struct {
		ExplicitText string `asn1:"utf8"`
	}
	type qualifierInfo struct {
		ID        asn1.ObjectIdentifier
		Qualifier userNotice
	}
	id, err := asn1.Marshal(policyAuto)
	if err != nil {
		return policyInformation{}, err
	}
	qualifiers, err := asn1.Marshal([]qualifierInfo{{oidUserNotice, userNotice{autoSignedText}}})
	if err != nil {
		return policyInformation{}, err
	}
	return policyInformation{
		Policy:     asn1.RawValue{FullBytes: id},
		Qualifiers: asn1.RawValue{FullBytes: qualifiers},
	}, nil
}

// marshalPolicies returns the value of CertificatePolicies for a profile's own policies.
func marshalPolicies(ids []asn1.ObjectIdentifier, auto bool) ([]byte, error) {
	type policy struct{ ID asn1.ObjectIdentifier }
	if len(ids) == 0 {
		return filterPolicies(nil, policyRules{add: auto})
	}
	var list []policy
	for _, id := range ids {
		list = append(list, policy{id})
	}
	value, err := asn1.Marshal(list)
	if err != nil {
		return nil, err
	}
	return filterPolicies(value, policyRules{add: auto})
}
