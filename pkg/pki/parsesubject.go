package pki

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// subjectTypes are the attribute types that ParseSubject knows, by the names of RFC 4514 section 3
// and openssl, and how their values are encoded (RFC 5280 appendix A.1).
var subjectTypes = map[string]struct {
	oid asn1.ObjectIdentifier
	tag cbasn1.Tag
	max int // characters, upper bounds of RFC 5280 appendix A.1
}{
	"CN":           {asn1.ObjectIdentifier{2, 5, 4, 3}, cbasn1.UTF8String, 64},
	"SERIALNUMBER": {asn1.ObjectIdentifier{2, 5, 4, 5}, cbasn1.PrintableString, 64},
	"C":            {asn1.ObjectIdentifier{2, 5, 4, 6}, cbasn1.PrintableString, 2},
	"L":            {asn1.ObjectIdentifier{2, 5, 4, 7}, cbasn1.UTF8String, 128},
	"ST":           {asn1.ObjectIdentifier{2, 5, 4, 8}, cbasn1.UTF8String, 128},
	"O":            {asn1.ObjectIdentifier{2, 5, 4, 10}, cbasn1.UTF8String, 64},
	"OU":           {asn1.ObjectIdentifier{2, 5, 4, 11}, cbasn1.UTF8String, 64},
	"DC":           {asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, cbasn1.IA5String, 63},
}

// ParseSubject reads a distinguished name such as "C=FR,O=Example,CN=Home Root" and returns its DER.
// The attributes stand in the name in the order given, so that the most general one comes first. A
// backslash before a character takes it as it is (RFC 4514 section 2.4). What a request may not have
// as its subject is refused here, too.
func ParseSubject(text string) ([]byte, error) {
	pairs, err := splitSubject(text)
	if err != nil {
		return nil, refusef("subject", "%v", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(name *cryptobyte.Builder) {
		for _, pair := range pairs {
			name.AddASN1(cbasn1.SET, func(rdn *cryptobyte.Builder) {
				rdn.AddASN1(cbasn1.SEQUENCE, func(attr *cryptobyte.Builder) {
					kind := subjectTypes[pair.kind]
					attr.AddASN1ObjectIdentifier(kind.oid)
					attr.AddASN1(kind.tag, func(value *cryptobyte.Builder) { value.AddBytes([]byte(pair.value)) })
				})
			})
		}
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, refusef("subject", "%v", err)
	}
	if _, err := checkSubject(der); err != nil {
		return nil, refusef("subject", "%v", err)
	}
	return der, nil
}

type subjectPair struct{ kind, value string }

func splitSubject(text string) ([]subjectPair, error) {
	var pairs []subjectPair
	for rest := text; ; {
		kind, after, found := strings.Cut(rest, "=")
		kind = strings.TrimSpace(kind)
		if !found {
			return nil, fmt.Errorf("%s is not TYPE=VALUE", quote(clip(rest, 60)))
		}
		known, ok := subjectTypes[strings.ToUpper(kind)]
		if !ok {
			return nil, fmt.Errorf("attribute type %s is none of C, ST, L, O, OU, DC, CN, serialNumber", quote(clip(kind, 60)))
		}
		value, more, err := cutValue(after)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		switch n := len([]rune(value)); {
		case n == 0:
			return nil, fmt.Errorf("%s: the value is empty", kind)
		case n > known.max:
			return nil, fmt.Errorf("%s: a value of %d characters, at most %d are allowed", kind, n, known.max)
		case known.max == 2 && n != 2:
			return nil, fmt.Errorf("%s: %s is not a country code of two letters", kind, quote(value))
		case known.tag == cbasn1.PrintableString && !isPrintable(value):
			return nil, fmt.Errorf("%s: %s holds more than letters, digits, spaces and '()+,-./:=?", kind, quote(value))
		}
		pairs = append(pairs, subjectPair{strings.ToUpper(kind), value})
		if len(pairs) > MaxRDNs {
			return nil, fmt.Errorf("more than %d attributes", MaxRDNs)
		}
		if !more.found {
			return pairs, nil
		}
		rest = more.rest
	}
}

// remainder is what follows a value: another attribute, if there was a comma.
type remainder struct {
	rest  string
	found bool
}

func cutValue(s string) (string, remainder, error) {
	var value strings.Builder
	s = strings.TrimLeft(s, " ")
	trailing := 0 // unescaped spaces at the end
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			i++
			if i == len(s) {
				return "", remainder{}, errors.New("nothing follows the backslash")
			}
			value.WriteByte(s[i])
			trailing = 0
		case ',':
			return value.String()[:value.Len()-trailing], remainder{s[i+1:], true}, nil
		case '+':
			return "", remainder{}, errors.New("attributes joined by + are not supported; a plus sign of the value is written \\+")
		case ' ':
			value.WriteByte(c)
			trailing++
		default:
			value.WriteByte(c)
			trailing = 0
		}
	}
	return value.String()[:value.Len()-trailing], remainder{}, nil
}

func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(" '()+,-./:=?", c) >= 0:
		default:
			return false
		}
	}
	return true
}
