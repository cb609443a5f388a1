package invite

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// raw makes a request whose SubjectAltName has these names, as no tool would write them. It is nil where it is no request
// that is taken at all.
func raw(t *testing.T, subject pkix.Name, names ...asn1.RawValue) *pki.Request {
	t.Helper()
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{Subject: subject}
	if len(names) > 0 {
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, pkitest.KeyOf(t, pki.KeyECDSAP256))
	if err != nil {
		return nil
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	if err != nil {
		return nil
	}
	return req
}

func san(tag int, value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
}

// Names that are nearly those which an invitation allows are not.
func TestNamesThatAreNearlyAllowed(t *testing.T) {
	const email, dns, uri, ip = 1, 2, 6, 7
	for name, test := range map[string]struct {
		allowed string
		subject pkix.Name
		sans    []asn1.RawValue
	}{
		"a wildcard in the wildcard":   {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "*.*.web.example")}},
		"a wildcard for the wildcard":  {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "*.web.example")}},
		"a wildcard in a label":        {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a*.web.example")}},
		"a wildcard behind one":        {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.*.example")}},
		"a wildcard below":             {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "*.a.web.example")}},
		"a wildcard, any common name":  {"cn:*", cn("*.web.example"), nil},
		"a wildcard in a common name":  {"cn:*", cn("a*"), nil},
		"a wildcard below cn":          {"cn:*.web.example", cn("*.web.example"), nil},
		"a trailing dot":               {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.web.example.")}},
		"a trailing dot, exactly":      {"dns:a.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.web.example.")}},
		"a trailing dot, common name":  {"dns:*.web.example", cn("a.web.example."), nil},
		"an empty label":               {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, ".web.example")}},
		"no name":                      {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "")}},
		"two labels":                   {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.b.web.example")}},
		"NUL":                          {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "evil.example\x00.web.example")}},
		"NUL in the common name":       {"cn:*.web.example", cn("evil\x00.web.example"), nil},
		"a line end":                   {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a\n.web.example")}},
		"a U-label":                    {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "bücher.web.example")}},
		"a U-label for an A-label":     {"dns:*.xn--bcher-kva.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.bücher.example")}},
		"a Kelvin sign for a k":        {"dns:k.example", cn("\u212a.example"), nil},
		"a full-width dot":             {"cn:*.web.example", cn("a\uff0eweb.example"), nil},
		"a slash":                      {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "evil.example/.web.example")}},
		"white space":                  {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, " a.web.example")}},
		"an address as a DNS name":     {"ip:10.0.0.0/8", pkix.Name{}, []asn1.RawValue{san(dns, "10.0.0.1")}},
		"an address as a common name":  {"ip:10.0.0.0/8", cn("10.0.0.1"), nil},
		"a network":                    {"ip:10.0.0.0/8", pkix.Name{}, []asn1.RawValue{san(ip, "\x0a\x00\x00\x00\xff\x00\x00\x00")}},
		"three bytes of an address":    {"ip:10.0.0.0/8", pkix.Name{}, []asn1.RawValue{san(ip, "\x0a\x00\x00")}},
		"no bytes of an address":       {"ip:0.0.0.0/0", pkix.Name{}, []asn1.RawValue{san(ip, "")}},
		"an IPv4 address in IPv6":      {"ip:10.0.0.0/8", pkix.Name{}, []asn1.RawValue{san(ip, strings.Repeat("\x00", 10)+"\xff\xff\x0b\x00\x00\x01")}},
		"a mail address in another":    {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "root@bank.example@example.org")}},
		"a quoted one":                 {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "\"root@bank.example\"@example.org")}},
		"two, with a comma":            {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "root@bank.example,x@example.org")}},
		"with a name of its owner":     {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "root <x@example.org")}},
		"no mailbox":                   {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "@example.org")}},
		"a mailbox that is any":        {"email:*@example.org", pkix.Name{}, []asn1.RawValue{san(email, "*@example.org")}},
		"a mail address as a DNS name": {"dns:example.org", pkix.Name{}, []asn1.RawValue{san(email, "a@example.org")}},
		"a URI in another case":        {"uri:spiffe://example.org/web", pkix.Name{}, []asn1.RawValue{san(uri, "spiffe://EXAMPLE.org/web")}},
		"a URI with a query":           {"uri:spiffe://example.org/web", pkix.Name{}, []asn1.RawValue{san(uri, "spiffe://example.org/web?x")}},
		"a URI at an allowed host":     {"dns:a.web.example", pkix.Name{}, []asn1.RawValue{san(uri, "https://a.web.example/")}},
		"another name":                 {"dns:a.web.example", pkix.Name{}, []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte("\x06\x01\x2a\xa0\x03\x0c\x01x")}}},
		"a registered identifier":      {"dns:a.web.example", pkix.Name{}, []asn1.RawValue{san(8, "\x2a\x03")}},
		"one that is, and one not":     {"dns:*.web.example", pkix.Name{}, []asn1.RawValue{san(dns, "a.web.example"), san(dns, "a.web.example.")}},
		"mail in the subject": {"cn:a email:*@example.org", pkix.Name{CommonName: "a", ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@example.org"}}}, nil},
		"a domain component": {"cn:a dns:*.example", pkix.Name{CommonName: "a", ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Value: "example"}}}, nil},
		"a title":              {"cn:*", pkix.Name{CommonName: "a", ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 12}, Value: "root"}}}, nil},
		"an empty common name": {"cn:* dns:a.example", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: ""}}}, []asn1.RawValue{san(dns, "a.example")}},
	} {
		t.Run(name, func(t *testing.T) {
			req := raw(t, test.subject, test.sans...)
			if req == nil {
				return // it is refused whoever has invited
			}
			if err := names(t, strings.Fields(test.allowed)...).Covers(req); err == nil {
				t.Errorf("%s allows %s %q", test.allowed, req.Subject, req.SANs)
			}
		})
	}
	for _, allowed := range []struct {
		names   string
		subject pkix.Name
		san     asn1.RawValue
	}{
		{"dns:*.web.example", pkix.Name{}, san(dns, "A.WEB.example")},
		{"email:*@example.org", pkix.Name{}, san(email, "first.last+tag@Example.org")},
		{"ip:10.0.0.0/8", pkix.Name{}, san(ip, "\x0a\x00\x00\x01")},
		{"uri:spiffe://example.org/web", pkix.Name{}, san(uri, "spiffe://example.org/web")},
	} {
		req := raw(t, allowed.subject, allowed.san)
		if req == nil {
			t.Errorf("%s: not taken", allowed.names)
		} else if err := names(t, allowed.names).Covers(req); err != nil {
			t.Error(err)
		}
	}
}

// Whatever byte of it is another, an invitation is none, or nobody's.
func TestNoByteOfAnInvitationCanBeAltered(t *testing.T) {
	key := pkitest.KeyOf(t, pki.KeyECDSAP256)
	good := sign(t, key, sample(t))
	payload, err := envelopePayload(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good.Text() {
		altered := []byte(good.Text())
		if altered[i]++; altered[i] == 'z'+1 {
			altered[i] = 'a'
		}
		s, err := Parse(string(altered))
		if err == nil {
			err = s.Verify(key.Public())
		}
		if err == nil {
			// The digits of the message around what is signed have several spellings.
			if again, _ := envelopePayload(s); string(again) != string(payload) || s.ID != good.ID {
				t.Fatalf("byte %d can be altered", i)
			}
		}
	}
}

func envelopePayload(s *Signed) ([]byte, error) {
	word := strings.TrimPrefix(s.Text(), Prefix)
	data, err := encoding.DecodeString(word)
	if err != nil {
		return nil, err
	}
	e, err := envelope.Parse(data)
	if err != nil {
		return nil, err
	}
	return e.Payload(), nil
}
