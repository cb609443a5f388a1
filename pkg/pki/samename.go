package pki

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SameName reports whether two names in DER (x509 RawSubject or RawIssuer) are one to a verifier
// that compares them as RFC 5280 7.1 has it: attribute by attribute, whatever string type a value
// has, without regard to case, to white space around it and to how much there is within it.
//
// This is the comparison for refusing a name because it is somebody else's. Where a name has to be
// the expected one, as in a chain, byte for byte is the stricter test. What cannot be read is equal
// to its own bytes only.
func SameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	nameA, errA := parseName(a)
	nameB, errB := parseName(b)
	return errA == nil && errB == nil && sameRDNs(nameA, nameB)
}

// sameRDNs compares two names RDN by RDN.
func sameRDNs(nameA, nameB []attribute) bool {
	if len(nameA) != len(nameB) {
		return false
	}
	for len(nameA) > 0 {
		rdnA, rdnB := rdnSize(nameA), rdnSize(nameB)
		if rdnA != rdnB || !sameRDN(nameA[:rdnA], nameB[:rdnB]) {
			return false
		}
		nameA, nameB = nameA[rdnA:], nameB[rdnB:]
	}
	return true
}

// rdnSize returns how many attributes the first RDN of a name that is not empty has.
func rdnSize(name []attribute) int {
	for i, attr := range name[1:] {
		if !attr.joined {
			return i + 1
		}
	}
	return len(name)
}

// sameRDN compares two sets of attributes of the same size. DER sorts them by their bytes, which
// may differ where values are the same.
func sameRDN(a, b []attribute) bool {
	if len(a) == 1 {
		return a[0].matches(b[0])
	}
	left := make([]matchKey, len(b))
	for i, attr := range b {
		left[i] = attr.matchKey()
	}
	for _, attr := range a {
		i := slices.Index(left, attr.matchKey())
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// matches reports whether two attributes have the same matchKey.
func (a attribute) matches(b attribute) bool {
	if !a.oid.Equal(b.oid) {
		return false
	}
	textA, isA := a.text()
	textB, isB := b.text()
	if isA && isB {
		return textA == textB || prepareText(textA) == prepareText(textB)
	}
	return !isA && !isB && a.tag == b.tag && bytes.Equal(a.value, b.value)
}

// A matchKey is an attribute in the form in which == decides whether two match.
type matchKey struct {
	oid   string
	text  bool
	value string
}

func (a attribute) matchKey() matchKey {
	if text, ok := a.text(); ok {
		return matchKey{a.oid.String(), true, prepareText(text)}
	}
	return matchKey{a.oid.String(), false, string(rune(a.tag)) + string(a.value)}
}

// text transcodes the value to Unicode (RFC 4518 2.1), if it is a string at all.
func (a attribute) text() (string, bool) {
	switch a.tag {
	case cbasn1.UTF8String, cbasn1.PrintableString, cbasn1.IA5String, tagNumericString, tagVisibleString:
		return string(a.value), utf8.Valid(a.value)
	case cbasn1.T61String:
		// Everybody takes it for Latin-1.
		text := make([]rune, len(a.value))
		for i, c := range a.value {
			text[i] = rune(c)
		}
		return string(text), true
	case tagBMPString:
		units := make([]uint16, len(a.value)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(a.value[2*i:])
		}
		return string(utf16.Decode(units)), len(a.value)%2 == 0
	case tagUniversalString:
		text := make([]rune, len(a.value)/4)
		for i := range text {
			c := binary.BigEndian.Uint32(a.value[4*i:])
			if c > unicode.MaxRune || !utf8.ValidRune(rune(c)) {
				return "", false
			}
			text[i] = rune(c)
		}
		return string(text), len(a.value)%4 == 0
	}
	return "", false
}

// prepareText is the preparation of strings of RFC 4518 for comparisons that ignore case: steps
// map, normalize, and insignificant space handling. What step prohibit would call undefined is
// compared nevertheless, which can only find more names equal.
func prepareText(s string) string {
	if isPlain(s) {
		return strings.ToLower(s)
	}
	s = strings.Map(mapRune, s)
	// Normalization may bring up letters that were not folded, and folding what is not normal.
	for range 2 {
		s = norm.NFKC.String(cases.Fold().String(s))
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}

// isPlain reports whether preparation does no more to s than to fold the case of ASCII letters.
func isPlain(s string) bool {
	space := true // what has been before s, and what follows it, is as good as one
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == ' ' && space {
			return false
		}
		space = c == ' '
	}
	return !space || s == ""
}

// mapRune is step map of RFC 4518 2.2, without case folding: to a space, to nothing (-1), or to the
// rune itself.
func mapRune(r rune) rune {
	switch {
	case r >= '\t' && r <= '\r', r == 0x85, unicode.Is(unicode.Z, r):
		return ' '
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
		return -1
	case r == 0x34f, r == 0x1806, r == 0xfffc:
		return -1
	}
	return r
}
