package invite

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strings"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// request makes a request for a subject and names as the flags of cauase say them.
func request(t *testing.T, subject pkix.Name, sans ...string) *pki.Request {
	t.Helper()
	template := &x509.CertificateRequest{Subject: subject}
	for _, san := range sans {
		kind, value, _ := strings.Cut(san, ":")
		switch kind {
		case "dns":
			template.DNSNames = append(template.DNSNames, value)
		case "ip":
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(value))
		case "email":
			template.EmailAddresses = append(template.EmailAddresses, value)
		case "uri":
			u, err := url.Parse(value)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, pkitest.KeyOf(t, pki.KeyECDSAP256))
	if err != nil {
		t.Fatal(err)
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func cn(name string) pkix.Name { return pkix.Name{CommonName: name} }

func TestWhichNamesAreCovered(t *testing.T) {
	for _, test := range []struct {
		allowed string
		subject pkix.Name
		sans    string
		ok      bool
	}{
		{"cn:alice", cn("alice"), "", true},
		{"cn:alice", cn("Alice"), "", false},
		{"cn:alice", cn("alice "), "", false},
		{"cn:alice", cn("alic"), "", false},
		{"cn:alice", cn("*"), "", false},
		{"cn:alice", cn("alice"), "dns:alice", false},
		{"cn:alice", cn("alice"), "email:alice@example.org", false},
		{"cn:alice", pkix.Name{CommonName: "alice", Organization: []string{"Example"}}, "", false},
		{"cn:alice o:Example", pkix.Name{CommonName: "alice", Organization: []string{"Example"}}, "", true},
		{"cn:alice o:Example", pkix.Name{CommonName: "alice", Organization: []string{"Example", "Other"}}, "", false},
		{"cn:alice ou:Ops c:FR", pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"Ops"}, Country: []string{"FR"}}, "", true},
		{"cn:alice c:FR", pkix.Name{CommonName: "alice", Country: []string{"DE"}}, "", false},
		{"cn:alice", pkix.Name{CommonName: "alice", Locality: []string{"Paris"}}, "", false},
		{"cn:alice", pkix.Name{CommonName: "alice", SerialNumber: "1"}, "", false},
		{"cn:alice", pkix.Name{CommonName: "alice", ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "bob"}}}, "", false},
		{"cn:alice cn:bob", cn("bob"), "", true},
		{"cn:*", cn("anybody at all"), "", true},
		{"cn:*", cn("x"), "dns:x.example", false},
		{"cn:*.web.example", cn("a.web.example"), "", true},
		{"cn:*.web.example", cn("A.Web.Example"), "", true},
		{"cn:*.web.example", cn("a b.web.example"), "", false},
		{"cn:*.web.example", cn("a.web.example"), "dns:a.web.example", false},

		{"dns:a.web.example", cn("a.web.example"), "dns:a.web.example", true},
		{"dns:A.web.Example", cn("a.WEB.example"), "dns:a.web.EXAMPLE", true},
		{"dns:*.web.example", pkix.Name{}, "dns:a.web.example", true},
		{"dns:*.web.example", cn("a.web.example"), "dns:a.web.example", true},
		{"dns:*.web.example", cn("a.web.example"), "dns:a.web.example dns:b.web.example", true},
		{"dns:*.web.example", cn("other"), "dns:a.web.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:a.b.web.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:web.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:aweb.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:a.web.example.org", false},
		{"dns:*.web.example", pkix.Name{}, "dns:a.web.example dns:a.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:*.web.example", false},
		{"dns:*.web.example", cn("*.web.example"), "dns:a.web.example", false},
		{"dns:*.web.example", pkix.Name{}, "dns:xn--bcher-kva.web.example", true},
		{"dns:*.xn--bcher-kva.example", pkix.Name{}, "dns:A.XN--bcher-kva.example", true},
		{"dns:*.web.example", pkix.Name{}, "ip:10.0.0.1", false},
		{"dns:*.web.example", pkix.Name{}, "email:a@a.web.example", false},
		{"dns:*.web.example", pkix.Name{}, "uri:https://a.web.example/", false},
		{"dns:*.b.web.example dns:*.web.example", pkix.Name{}, "dns:a.b.web.example dns:b.web.example", true},

		{"ip:10.0.0.1", pkix.Name{}, "ip:10.0.0.1", true},
		{"ip:10.0.0.1", pkix.Name{}, "ip:10.0.0.2", false},
		{"ip:10.0.0.0/8", pkix.Name{}, "ip:10.200.0.1", true},
		{"ip:10.0.0.0/8", pkix.Name{}, "ip:11.0.0.1", false},
		{"ip:10.0.0.0/8", pkix.Name{}, "ip:10.0.0.1 ip:11.0.0.1", false},
		{"ip:2001:db8::/32", pkix.Name{}, "ip:2001:db8::1", true},
		{"ip:2001:db8::1", pkix.Name{}, "ip:2001:db8:0::1", true},
		{"ip:2001:db8::/32", pkix.Name{}, "ip:2001:db9::1", false},
		{"ip:0.0.0.0/0", pkix.Name{}, "ip:2001:db8::1", false},
		{"ip:10.0.0.0/8", cn("10.0.0.1"), "ip:10.0.0.1", false},
		{"ip:10.0.0.0/8", pkix.Name{}, "dns:host", false},

		{"email:alice@example.org", pkix.Name{}, "email:alice@EXAMPLE.org", true},
		{"email:alice@example.org", pkix.Name{}, "email:Alice@example.org", false},
		{"email:*@example.org", pkix.Name{}, "email:bob@example.org", true},
		{"email:*@example.org", pkix.Name{}, "email:bob@sub.example.org", false},
		{"email:*@example.org", pkix.Name{}, "email:bob@example.org.evil.example", false},

		{"uri:spiffe://example.org/web", pkix.Name{}, "uri:spiffe://example.org/web", true},
		{"uri:spiffe://example.org/web", pkix.Name{}, "uri:spiffe://example.org/web/", false},
		{"uri:spiffe://example.org/web", pkix.Name{}, "uri:SPIFFE://example.org/web2", false},
	} {
		err := names(t, strings.Fields(test.allowed)...).Covers(request(t, test.subject, strings.Fields(test.sans)...))
		if (err == nil) != test.ok {
			t.Errorf("%s for %v %s: %v", test.allowed, test.subject, test.sans, err)
		}
		if err != nil && !strings.Contains(err.Error(), "which is for") {
			t.Errorf("%v does not say what is allowed", err)
		}
	}
}

func TestNamesThatCannotBeAllowed(t *testing.T) {
	for text, why := range map[string]string{
		"":                       "begins with none of",
		"alice":                  "begins with none of",
		"CN:alice":               "begins with none of",
		"cn:":                    "is empty",
		"cn: alice":              "white space",
		"cn:ali*":                "whole first label",
		"cn:**":                  "whole first label",
		"cn:a\nb":                "does not print",
		"cn:\u202eb":             "does not print",
		"cn:\xff":                "does not print",
		"cn:*.":                  "empty label",
		"dns:":                   "is empty",
		"dns:*":                  "every name",
		"dns:*.*":                "every name",
		"dns:*.*.example":        "*",
		"dns:a*.example":         "*",
		"dns:a.*.example":        "*",
		"dns:example.":           "empty label",
		"dns:.example":           "empty label",
		"dns:bücher.example":     "A-labels",
		"dns:*.bücher.example":   "A-labels",
		"dns:10.0.0.1":           "IP address",
		"dns:*.10.0.0.1":         "IP address",
		"dns:[::1]":              "IP address",
		"dns:a b":                "character",
		"ip:10.0.0.1/8":          "did you mean 10.0.0.0/8",
		"ip:host":                "neither an address nor a network",
		"ip:10.0.0.0/33":         "neither an address nor a network",
		"ip:fe80::1%eth0":        "neither an address nor a network",
		"ip:::ffff:10.0.0.1":     "neither an address nor a network",
		"ip:::ffff:10.0.0.0/104": "neither an address nor a network",
		"email:alice":            "neither a mail address",
		"email:@example.org":     "neither a mail address",
		"email:*l@example.org":   "neither a mail address",
		"email:a@*.example.org":  "*",
		"uri:example":            "not a URI",
		"uri:https://*.example":  "no patterns of URIs",
		"o:Ex*":                  "whole first label",
	} {
		_, err := ParseNames([]string{text})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want: … %s …", text, err, why)
			continue
		}
		checkRefused(t, err)
	}
}

func TestTheOneNameThatIsMeant(t *testing.T) {
	for texts, want := range map[string]string{
		"cn:alice": "alice", "cn:alice dns:x": "alice", "cn:*": "", "cn:alice cn:bob": "", "dns:x": "", "cn:*.x": "",
	} {
		if got, _ := names(t, strings.Fields(texts)...).Only("cn"); got != want {
			t.Errorf("%s: %q, want %q", texts, got, want)
		}
	}
}
