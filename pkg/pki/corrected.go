package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/net/idna"
)

// A Corrected is what a request asks for, in the form in which a certificate can have it.
type Corrected struct {
	Subject    []byte // DER
	CommonName string // the last one

	DNSNames       []string
	IPAddresses    []net.IP
	EmailAddresses []string
	URIs           []*url.URL

	Extensions []pkix.Extension // but for the alternative names

	Changes []string // what had to be changed for that, and from what: printable
	Notes   []string // what else of the request is of no use here
}

// CorrectRequest reads what a request asks for, written as appliances do, and corrects what certificates have not: old types of
// strings, extensions under Microsoft's attribute, names of hosts and addresses in the place of others. What cannot be corrected without
// guessing is an error that names it; what no certificate of ours has is left out. Kinds of names for which given says so (cn, org, ou,
// country, dns, ip, email, uri) are not looked at: the caller has others for them. Whether somebody holds the key [ParseForeign] tells.
func CorrectRequest(pemData []byte, given func(kind string) bool) (Corrected, error) {
	c := corrector{given: given}
	if err := c.request(pemData); err != nil {
		return Corrected{}, refuse("request", err)
	}
	return c.Corrected, nil
}

type corrector struct {
	Corrected
	given func(kind string) bool
}

func (c *corrector) changed(format string, args ...any) {
	c.Changes = append(c.Changes, clip(EscapeText(fmt.Sprintf(format, args...)), maxWhy))
}

func (c *corrector) request(pemData []byte) error {
	der, err := onlyBlock(pemData, MaxCSRSize, typeCSR, typeCSRLegacy)
	if err != nil {
		return err
	}
	if err := checkDER(der); err != nil {
		return err
	}
	p, err := splitRequest(der)
	if err != nil {
		return err
	}
	if err := c.subject(p.subject); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if p.attributes == nil {
		c.changed("the field for attributes is missing, and taken as empty")
	}
	extensions, err := c.attributes(p.attributes)
	if err != nil {
		return err
	}
	return c.extensions(extensions)
}

// kindsOfSubject are the attributes that callers may have others for.
var kindsOfSubject = map[string]string{"2.5.4.3": "cn", "2.5.4.6": "country", "2.5.4.10": "org", "2.5.4.11": "ou"}

func (c *corrector) subject(raw []byte) error {
	attrs, err := parseName(raw)
	if err != nil {
		return err
	}
	var rdns [][][]byte
	for _, attr := range attrs {
		if !attr.joined {
			rdns = append(rdns, nil)
		}
		if kind := kindsOfSubject[attr.oid.String()]; kind != "" && c.given(kind) {
			continue
		}
		corrected, err := c.attribute(attr)
		if err != nil {
			return fmt.Errorf("%s: %w", attr.label(), err)
		}
		if last := &rdns[len(rdns)-1]; corrected != nil {
			*last = append(*last, corrected)
		}
	}
	rdns = slices.DeleteFunc(rdns, func(rdn [][]byte) bool { return len(rdn) == 0 })
	for i := range rdns {
		if sorted := slices.IsSortedFunc(rdns[i], bytes.Compare); !sorted {
			c.changed("subject: attributes of one RDN are sorted")
		}
		slices.SortFunc(rdns[i], bytes.Compare)
		rdns[i] = slices.CompactFunc(rdns[i], bytes.Equal)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range rdns {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				for _, attr := range rdn {
					b.AddBytes(attr)
				}
			})
		}
	})
	c.Subject, err = b.Bytes()
	return err
}

// attribute returns the DER of an attribute as a certificate can have it, nil for one that is left out.
func (c *corrector) attribute(a attribute) ([]byte, error) {
	text, ok := a.text()
	how := ""
	if a.tag == cbasn1.T61String && slices.ContainsFunc(a.value, func(b byte) bool { return b >= 0x80 }) {
		if how = ", read as Latin-1"; utf8.Valid(a.value) {
			text, how = string(a.value), ", read as UTF-8"
		}
	}
	switch {
	case len(a.value) == 0 || ok && strings.TrimSpace(text) == "":
		c.changed("%s is empty, and left out", a.label())
		return nil, nil
	case !ok && !utf8.Valid(a.value):
		return nil, fmt.Errorf("value is a %s that cannot be read", stringType(a.tag))
	case !ok:
		c.changed("%s is no text, and left out", a.label())
		return nil, nil
	}
	if a.oid.String() == "2.5.4.3" {
		c.CommonName = text
	}
	if a.check() == nil {
		return a.raw, nil
	}
	corrected := attribute{oid: a.oid, tag: stringFor(a.oid, text), value: []byte(text)}
	if err := corrected.check(); err != nil {
		return nil, err
	}
	c.changed("%s %s: %s → %s%s", a.label(), quote(text), stringType(a.tag), stringType(corrected.tag), how)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(a.oid)
		b.AddASN1(corrected.tag, func(b *cryptobyte.Builder) { b.AddBytes(corrected.value) })
	})
	return b.Bytes()
}

// stringFor is the type of string for a value, RFC 5280 appendix A.1: some attributes have but one.
func stringFor(oid asn1.ObjectIdentifier, text string) cbasn1.Tag {
	all := func(allowed func(byte) bool) bool {
		for _, b := range []byte(text) {
			if !allowed(b) {
				return false
			}
		}
		return true
	}
	switch oid.String() {
	case "2.5.4.5", "2.5.4.6", "2.5.4.46": // serialNumber, C, dnQualifier
		if all(isPrintableString) {
			return cbasn1.PrintableString
		}
	case "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25": // emailAddress, DC
		if all(func(b byte) bool { return b < utf8.RuneSelf }) {
			return cbasn1.IA5String
		}
	}
	return cbasn1.UTF8String
}

// attributesOf are those that say nothing about the certificate, by what they are.
var attributesOf = map[string]string{
	"1.2.840.113549.1.9.7":   "challenge password: not used; whoever can fetch the request reads it",
	"1.2.840.113549.1.9.2":   "unstructuredName: not used",
	"1.2.840.113549.1.9.8":   "unstructuredAddress: not used",
	"1.3.6.1.4.1.311.13.2.1": "Microsoft's enrollment name: not used",
	"1.3.6.1.4.1.311.13.2.2": "Microsoft's cryptographic provider: not used",
	"1.3.6.1.4.1.311.13.2.3": "Microsoft's version of the operating system: not used",
	"1.3.6.1.4.1.311.21.20":  "Microsoft's client information: not used",
	"1.3.6.1.4.1.311.21.13":  "Microsoft's archived key: not used",
	"1.2.840.113549.1.9.15":  "S/MIME capabilities: not used",
	"1.3.6.1.4.1.311.2.1.14": "",
	"1.2.840.113549.1.9.14":  "",
}

// attributes returns what extensions are asked for, by whichever attribute.
func (c *corrector) attributes(list cryptobyte.String) ([]pkix.Extension, error) {
	found := map[string]cryptobyte.String{}
	for !list.Empty() {
		var attr, oid, values cryptobyte.String
		if !list.ReadASN1(&attr, cbasn1.SEQUENCE) || !attr.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) || !attr.ReadASN1(&values, cbasn1.SET) {
			return nil, errors.New("its attributes cannot be read")
		}
		var id x509.OID
		if err := id.UnmarshalBinary(oid); err != nil {
			return nil, errors.New("an attribute has no type that can be read")
		}
		name := id.String()
		_, again := found[name]
		note, known := attributesOf[name]
		switch {
		case again:
			c.changed("attribute %s occurs twice, of which the first is taken", clip(name, 60))
			continue
		case !known:
			c.Notes = append(c.Notes, "attribute "+clip(name, 60)+": not known, and not used")
		case note != "":
			c.Notes = append(c.Notes, note)
		}
		found[name] = values
	}
	values, standard := found[idExtensionRequest]
	legacy, microsoft := found[idExtensionRequestMS]
	switch {
	case standard && microsoft && !bytes.Equal(values, legacy):
		c.changed("extensions are asked for twice, of which those of Microsoft's old attribute are left out")
	case microsoft && !standard:
		values = legacy
		c.changed("extensions are taken from Microsoft's old attribute %s", idExtensionRequestMS)
	case !standard:
		return nil, nil
	}
	return c.listed(values)
}

// listed reads the list of extensions in the values of an attribute.
func (c *corrector) listed(values cryptobyte.String) (all []pkix.Extension, err error) {
	var list cryptobyte.String
	if values.Empty() {
		c.changed("the attribute for extensions has no value")
		return nil, nil
	}
	if !values.ReadASN1(&list, cbasn1.SEQUENCE) || !values.Empty() {
		return nil, errors.New("the extensions that it asks for cannot be read")
	}
	seen := map[string]bool{}
	for !list.Empty() {
		ext, err := looseExtension(&list)
		if err != nil {
			return nil, errors.New("the extensions that it asks for cannot be read")
		}
		id := ext.Id.String()
		if seen[id] {
			c.changed("extension %s occurs twice, of which the first is taken", clip(id, 60))
			continue
		}
		seen[id] = true
		all = append(all, ext)
	}
	return all, nil
}

func (c *corrector) extensions(all []pkix.Extension) error {
	for _, ext := range all {
		if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			if err := c.names(ext.Value); err != nil {
				return fmt.Errorf("SubjectAltName: %w", err)
			}
			continue
		}
		if _, err := checkExtensions([]pkix.Extension{ext}); err != nil {
			c.changed("%v: left out", err)
			continue
		}
		c.Extensions = append(c.Extensions, ext)
	}
	return nil
}

func (c *corrector) names(value []byte) error {
	names, err := parseSANs(value, MaxSANs)
	if len(value) == 2 && value[0] == 0x30 {
		c.changed("the list of alternative names is empty, and left out")
		return nil
	}
	if err != nil {
		return err
	}
	kinds := map[nameKind]string{nameDNS: "dns", nameIP: "ip", nameEmail: "email", nameURI: "uri"}
	for _, name := range names {
		switch kind := kinds[name.kind]; {
		case kind == "":
			c.changed("%s is a kind of name that is not certified, and left out", name.display())
			continue
		case c.given(kind):
			continue
		}
		corrected := name.corrected()
		if err := corrected.check(); err != nil {
			return fmt.Errorf("%s: %w", name.kind, cmpErr(name.check(), err))
		}
		if corrected.kind != name.kind || !bytes.Equal(corrected.value, name.value) {
			c.changed("%s → %s", name.display(), corrected.display())
		}
		if err := c.add(corrected); err != nil {
			return err
		}
	}
	return nil
}

// cmpErr is the first error of two that is one.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// corrected is the name as it must have been meant, or itself.
func (n generalName) corrected() generalName {
	if n.check() == nil || n.nested {
		return n
	}
	text := strings.TrimSpace(string(n.value))
	address, err := netip.ParseAddr(text)
	isAddress := err == nil && address.Zone() == ""
	switch {
	case isAddress && (n.kind == nameDNS || n.kind == nameIP):
		return generalName{kind: nameIP, value: address.AsSlice()}
	case n.kind == nameIP && (len(n.value) == 8 || len(n.value) == 32):
		half := len(n.value) / 2 // with the mask of a single address
		if ones, _ := net.IPMask(n.value[half:]).Size(); ones == 8*half {
			return generalName{kind: nameIP, value: n.value[:half]}
		}
	case n.kind == nameDNS:
		return generalName{kind: nameDNS, value: []byte(aLabels(strings.TrimSuffix(text, ".")))}
	case n.kind == nameEmail:
		if at := strings.LastIndexByte(text, '@'); at > 0 {
			text = text[:at+1] + aLabels(text[at+1:])
		}
		return generalName{kind: nameEmail, value: []byte(text)}
	case n.kind == nameURI:
		return generalName{kind: nameURI, value: []byte(text)}
	}
	return n
}

// aLabels is a host in A-labels (RFC 5890), or itself if it is none.
func aLabels(host string) string {
	wildcard, name := "", host
	if rest, found := strings.CutPrefix(host, "*."); found {
		wildcard, name = "*.", rest
	}
	if ascii, err := idna.Lookup.ToASCII(name); err == nil && utf8.ValidString(host) && ascii != "" {
		return wildcard + ascii
	}
	return host
}

func (c *corrector) add(n generalName) error {
	switch n.kind {
	case nameDNS:
		c.DNSNames = append(c.DNSNames, string(n.value))
	case nameIP:
		c.IPAddresses = append(c.IPAddresses, net.IP(n.value))
	case nameEmail:
		c.EmailAddresses = append(c.EmailAddresses, string(n.value))
	case nameURI:
		uri, err := url.Parse(string(n.value))
		if err != nil {
			return err
		}
		c.URIs = append(c.URIs, uri)
	}
	return nil
}
