package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A generalName is one name of a SubjectAltName, RFC 5280 4.2.1.6.
type generalName struct {
	kind   nameKind
	value  []byte
	nested bool // its encoding is constructed: elements follow, and no characters
}

type nameKind uint8 // the context-specific tag number

const (
	nameOther     nameKind = 0
	nameEmail     nameKind = 1
	nameDNS       nameKind = 2
	nameX400      nameKind = 3
	nameDirectory nameKind = 4
	nameEDIParty  nameKind = 5
	nameURI       nameKind = 6
	nameIP        nameKind = 7
	nameRID       nameKind = 8
)

func (k nameKind) String() string {
	switch k {
	case nameOther:
		return "otherName"
	case nameEmail:
		return "email"
	case nameDNS:
		return "DNS"
	case nameX400:
		return "x400Address"
	case nameDirectory:
		return "directoryName"
	case nameEDIParty:
		return "ediPartyName"
	case nameURI:
		return "URI"
	case nameIP:
		return "IP"
	case nameRID:
		return "registeredID"
	}
	return fmt.Sprintf("unknown kind %d", uint8(k))
}

// parseSANs reads the value of a SubjectAltName extension, of at most limit names.
func parseSANs(value []byte, limit int) ([]generalName, error) {
	input := cryptobyte.String(value)
	var list cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() || list.Empty() {
		return nil, errors.New("malformed")
	}
	var names []generalName
	for !list.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1(&name, &tag) || tag&0xc0 != 0x80 {
			return nil, errors.New("malformed")
		}
		if len(names) == limit {
			return nil, fmt.Errorf("more than %d names", limit)
		}
		names = append(names, generalName{kind: nameKind(tag & 0x1f), value: name, nested: constructed(tag)})
	}
	return names, nil
}

// checkSANs refuses an extension of which any name is not one we sign, and returns the
// display forms of all.
func checkSANs(value []byte) ([]string, error) {
	names, err := parseSANs(value, MaxSANs)
	if err != nil {
		return nil, fmt.Errorf("SubjectAltName: %w", err)
	}
	shown := make([]string, 0, len(names))
	for _, name := range names {
		if err := name.check(); err != nil {
			return nil, fmt.Errorf("SubjectAltName %s: %w", name.kind, err)
		}
		shown = append(shown, name.display())
	}
	return shown, nil
}

// SANStrings returns the names in the SubjectAltName among extensions, those of a
// certificate or of a request: "DNS:example.org", "IP:192.0.2.1", "email:…", "URI:…",
// in their order. It takes unchecked extensions: values are escaped as [EscapeText]
// does, of other names and registered identifiers only the type is shown, a directory name as
// [SubjectString] does, and an unreadable extension as nothing.
func SANStrings(extensions []pkix.Extension) []string {
	for _, ext := range extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		// Certificates of other origin may hold more than we would sign.
		names, err := parseSANs(ext.Value, MaxCertificateSize)
		if err != nil {
			return nil
		}
		shown := make([]string, 0, len(names))
		for _, name := range names {
			shown = append(shown, name.display())
		}
		return shown
	}
	return nil
}

func (n generalName) display() string {
	switch n.kind {
	case nameEmail, nameDNS, nameURI:
		return n.kind.String() + ":" + EscapeText(clip(string(n.value), MaxSANValue))
	case nameIP:
		if ip, ok := netip.AddrFromSlice(n.value); ok {
			return "IP:" + ip.String()
		}
		if network := n.network(); network != "" {
			return "IP:" + network
		}
		return fmt.Sprintf("IP:#%x", n.value[:min(len(n.value), 32)])
	case nameDirectory:
		return n.kind.String() + ":" + clip(SubjectString(n.value), MaxSANValue)
	case nameRID:
		var oid x509.OID
		if oid.UnmarshalBinary(n.value) == nil {
			return n.kind.String() + ":" + clip(oid.String(), MaxSANValue)
		}
	case nameOther:
		// Of what type the value is that follows is known to few.
		value := cryptobyte.String(n.value)
		var id cryptobyte.String
		var oid x509.OID
		if value.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) && oid.UnmarshalBinary(id) == nil {
			return n.kind.String() + ":" + clip(oid.String(), MaxSANValue)
		}
	}
	return n.kind.String()
}

// simple reports whether names of this kind are characters, octets or an OBJECT IDENTIFIER.
func (n generalName) simple() bool {
	switch n.kind {
	case nameEmail, nameDNS, nameURI, nameIP, nameRID:
		return true
	}
	return false
}

// network is an address and a mask of as many bytes, which RFC 5280 has in name constraints only, and
// some put into certificates: "192.0.2.0/24"; "" for anything else.
func (n generalName) network() string {
	half := len(n.value) / 2
	addr, ok := netip.AddrFromSlice(n.value[:half])
	if !ok || len(n.value)%2 != 0 {
		return ""
	}
	mask := net.IPMask(n.value[half:])
	if ones, bits := mask.Size(); bits > 0 {
		return fmt.Sprintf("%s/%d", addr, ones)
	}
	return fmt.Sprintf("%s/%s", addr, mask) // bits with gaps
}

func (n generalName) check() error {
	if len(n.value) > MaxSANValue {
		return fmt.Errorf("%d bytes: at most %d accepted", len(n.value), MaxSANValue)
	}
	if n.nested && n.simple() {
		return errors.New("malformed: its encoding is constructed")
	}
	switch n.kind {
	case nameEmail:
		return checkEmail(string(n.value))
	case nameDNS:
		return checkDNS(string(n.value))
	case nameURI:
		return checkURI(string(n.value))
	case nameIP:
		if len(n.value) == 8 || len(n.value) == 32 {
			return fmt.Errorf("%s is a network: certificates are for single addresses", n.network())
		}
		if len(n.value) != 4 && len(n.value) != 16 {
			return fmt.Errorf("address of %d bytes: 4 or 16 needed", len(n.value))
		}
		return nil
	}
	return errors.New("this kind of name is not accepted")
}

// checkDNS accepts host names in the preferred syntax of RFC 1034 3.5 as amended by
// RFC 1123 2.1, with underscores because services use them, and with "*" as the whole
// leftmost label (RFC 6125 6.4.3).
func checkDNS(name string) error {
	labels := strings.Split(name, ".")
	if labels[0] == "*" {
		if labels = labels[1:]; len(labels) == 0 {
			return fmt.Errorf("%s matches every name", quote(name))
		}
	}
	return checkLabels(name, labels)
}

// checkEmail accepts the dot-atom form of RFC 5322 3.4.1, which is all of RFC 5280's
// rfc822Name that anyone uses.
func checkEmail(addr string) error {
	at := strings.LastIndexByte(addr, '@')
	if at < 1 || at > 64 {
		return fmt.Errorf("%s is not a mail address", quote(addr))
	}
	for _, atom := range strings.Split(addr[:at], ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return r >= 0x80 || !isLetterOrDigit(byte(r)) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return fmt.Errorf("%s is not a mail address", quote(addr))
		}
	}
	return checkHostName(addr[at+1:])
}

// checkURI accepts what RFC 5280 4.2.1.6 does, an absolute URI, and refuses user info,
// which would put one host before the reader's eyes and another into use.
func checkURI(s string) error {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("%s contains the byte %#02x", quote(s), c)
		}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Errorf("%s is not a URI", quote(s))
	case u.Scheme == "":
		return fmt.Errorf("%s is not absolute", quote(s))
	case u.User != nil:
		return fmt.Errorf("%s contains user information", quote(s))
	case u.Opaque == "" && u.Host == "" && u.Path == "":
		return fmt.Errorf("%s names nothing", quote(s))
	}
	return nil
}
