package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SANExtension returns the SubjectAltName with names as [SANStrings] writes them: "DNS:example.org", "IP:192.0.2.1", "email:…",
// "URI:…". It refuses what it refuses in a request.
func SANExtension(names []string) (pkix.Extension, error) {
	e := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}}
	var b cryptobyte.Builder
	var wrong error
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, name := range names {
			kind, value, err := parseSANText(name)
			if err != nil {
				wrong = err
				return
			}
			b.AddASN1(cbasn1.Tag(kind).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(value) })
		}
	})
	if wrong != nil {
		return e, wrong
	}
	value, err := b.Bytes()
	if err != nil {
		return e, err
	}
	if _, err := checkSANs(value); err != nil {
		return e, refuse("names", err)
	}
	e.Value = value
	return e, nil
}

func parseSANText(text string) (kind nameKind, value []byte, err error) {
	prefix, rest, found := strings.Cut(text, ":")
	if !found {
		return 0, nil, refusef("name", "%s has no kind before a colon, as in DNS:%s", quote(text), clip(EscapeText(text), 60))
	}
	switch prefix {
	case "DNS":
		return nameDNS, []byte(rest), nil
	case "email":
		return nameEmail, []byte(rest), nil
	case "URI":
		return nameURI, []byte(rest), nil
	case "IP":
		addr, err := netip.ParseAddr(rest)
		if err != nil || addr.Zone() != "" {
			return 0, nil, refusef("name", "%s is not an IP address", quote(rest))
		}
		return nameIP, addr.Unmap().AsSlice(), nil
	}
	return 0, nil, refusef("name", "%s is of a kind that is none of DNS, IP, email and URI", quote(text))
}
