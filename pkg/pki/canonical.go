package pki

import (
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// A CanonicalName is a name in the one form in which it is compared: what verifiers take for the same name has the same Text.
type CanonicalName struct {
	Kind string // one of the kinds below
	Text string // characters that print, at most maxCanonical bytes
	// Under is the domain directly above a host's name or a wildcard: that of "a.web.example" and of "*.web.example" is "web.example".
	Under string
}

// The kinds of canonical names.
const (
	CanonicalCN      = "CN"
	CanonicalDNS     = "DNS"
	CanonicalIP      = "IP"
	CanonicalEmail   = "email"
	CanonicalURI     = "URI"
	CanonicalSubject = "subject" // all of it, of what has no other name
)

const (
	// maxCanonical bounds the text of a canonical name, so that an index can hold it. Longer ones end in a digest.
	maxCanonical = 256
	// MaxCanonicalNames bounds how many names CanonicalNames returns. Requests have at most [MaxSANs]; what others have
	// issued may have as many as fit into a certificate.
	MaxCanonicalNames = 1000
)

// CanonicalNames returns the names in a subject and in the SubjectAltName among extensions, those of a certificate or of a
// request, each once: common names first, then the alternative ones in their order. Kinds of alternative names that say nothing of
// whom they name, but of which type they are, are left out. It takes unchecked input; of what is malformed it returns what can be read.
func CanonicalNames(subject []byte, extensions []pkix.Extension) []CanonicalName {
	names := commonNames(subject)
	for _, ext := range extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		sans, err := parseSANs(ext.Value, MaxCertificateSize)
		if err != nil {
			break
		}
		for _, san := range sans {
			if name := san.canonical(); name.Text != "" {
				names = append(names, name)
			}
		}
		break
	}
	if attrs, err := parseName(subject); len(names) == 0 && err == nil && len(attrs) > 0 {
		names = append(names, CanonicalName{Kind: CanonicalSubject, Text: bounded(SubjectString(subject))})
	}
	return distinct(names)
}

// NamesOfIssued is CanonicalNames of a certificate, whoever has issued it, read as leniently as [ParseIssuedDER] does and without looking at
// anything else. Of what is no certificate there are none.
func NamesOfIssued(der []byte) []CanonicalName {
	if len(der) > MaxCertificateSize || checkDER(der) != nil {
		return nil
	}
	p, err := splitCertificate(der)
	if err != nil {
		return nil
	}
	return CanonicalNames(p.subject, p.extensions)
}

// distinct bounds names and their texts, and leaves repetitions out.
func distinct(names []CanonicalName) []CanonicalName {
	seen := make(map[CanonicalName]bool, len(names))
	return slices.DeleteFunc(names, func(n CanonicalName) bool {
		if len(seen) >= MaxCanonicalNames || seen[n] {
			return true
		}
		seen[n] = true
		return false
	})
}

func commonNames(subject []byte) (names []CanonicalName) {
	attrs, err := parseName(subject)
	if err != nil {
		return nil
	}
	for _, attr := range attrs {
		if !attr.oid.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			continue
		}
		if text, ok := attr.text(); ok && text != "" {
			names = append(names, canonicalCN(text))
		}
	}
	return names
}

// canonicalCN is that of a common name: a host, an address or a mail address has the form that it has among alternative names,
// and anything else that of RFC 4518, without regard to case.
func canonicalCN(text string) CanonicalName {
	n := CanonicalName{Kind: CanonicalCN}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		n.Text = addr.Unmap().String()
		return n
	}
	if host := canonicalHost(text); strings.Contains(host, ".") && checkDNS(host) == nil {
		n.Text, n.Under = host, above(host)
		return n
	}
	if checkEmail(text) == nil {
		n.Text = bounded(canonicalEmail(text))
		return n
	}
	n.Text = bounded(prepareText(text))
	return n
}

// canonical is the canonical form of an alternative name, the zero one for kinds that have none.
func (n generalName) canonical() (c CanonicalName) {
	switch n.kind {
	case nameDNS:
		host := canonicalHost(string(n.value))
		c = CanonicalName{CanonicalDNS, bounded(host), ""}
		if c.Text == host {
			c.Under = above(host)
		}
	case nameIP:
		c = CanonicalName{Kind: CanonicalIP, Text: strings.TrimPrefix(n.display(), "IP:")}
		if addr, ok := netip.AddrFromSlice(n.value); ok {
			c.Text = addr.Unmap().String()
		}
	case nameEmail:
		c = CanonicalName{Kind: CanonicalEmail, Text: bounded(canonicalEmail(string(n.value)))}
	case nameURI:
		c = CanonicalName{Kind: CanonicalURI, Text: bounded(canonicalURI(string(n.value)))}
	}
	return c
}

// toASCII turns U-labels into A-labels, and letters into small ones, and leaves anything else to be compared as it is.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

func canonicalHost(name string) string {
	name = strings.TrimSuffix(name, ".")
	if !utf8.ValidString(name) {
		return name
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		if ascii, err := toASCII.ToASCII(name); err == nil {
			name = ascii
		}
	}
	return strings.ToLower(name)
}

func above(host string) string {
	_, domain, _ := strings.Cut(host, ".")
	return domain
}

// canonicalEmail folds the domain only: what is before the @ is the receiver's own affair (RFC 5280 7.5).
func canonicalEmail(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at+1] + canonicalHost(address[at+1:])
}

// canonicalURI folds scheme and host (RFC 5280 7.4).
func canonicalURI(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return text
	}
	rest := text[len(u.Scheme):]
	if _, after, found := strings.Cut(rest, u.Host); found && u.Host != "" && strings.HasPrefix(rest, "://") {
		before := rest[:len(rest)-len(after)-len(u.Host)]
		rest = before + strings.ToLower(u.Host) + after
	}
	return strings.ToLower(u.Scheme) + rest
}

// bounded has a text print and fit into an index.
func bounded(text string) string {
	shown := EscapeText(text)
	if len(shown) <= maxCanonical {
		return shown
	}
	sum := sha256.Sum256([]byte(text))
	return clip(shown, maxCanonical-3-2*sha256.Size) + hex.EncodeToString(sum[:])
}
