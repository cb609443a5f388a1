package profile

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func newSet(t testing.TB, configured map[string]Config) *Set {
	t.Helper()
	s, err := NewSet(configured)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// draft is what a request that asks for this becomes before a profile looks at it.
func draft(t testing.TB, asked x509.CertificateRequest, key crypto.Signer) Leaf {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &asked, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return Leaf{
		Subject: csr.RawSubject, Extensions: csr.Extensions, PublicKey: csr.PublicKey, Serial: big.NewInt(99),
		NotBefore: now, NotAfter: now.Add(time.Hour), IssuerKey: []byte{1, 2, 3}, CRLURL: "http://ca.example/crl",
	}
}

func usages(t testing.TB, ids ...asn1.ObjectIdentifier) pkix.Extension {
	return pkix.Extension{Id: oidExtKeyUsage, Value: der(t, ids)}
}

func TestProfiles(t *testing.T) {
	set := newSet(t, map[string]Config{
		"lab": {
			KeyUsages: []string{"digitalSignature", "decipherOnly", "keyAgreement"}, ExtendedKeyUsages: []string{"serverAuth", "1.2.3.4"}, Critical: true,
			Names: map[string]int{"dns": 1}, Subject: []string{"CN"}, FixedSubject: map[string]string{"O": "Example Ltd", "C": "NL"},
			KeyTypes: []string{"ecdsa-p256"}, Validity: "1d", LongestValidity: "7d", OCSPURL: "http://ocsp.example",
			Extensions: []Extension{{OID: "1.3.6.1.4.1.99999.1", DER: "0500"}},
		},
	})
	key := newKey(t)
	for _, c := range []struct {
		name, profile string
		asked         x509.CertificateRequest
		refused       string
		check         func(t *testing.T, crt *x509.Certificate)
	}{
		{"a server", "server", x509.CertificateRequest{DNSNames: []string{"a.example"}, IPAddresses: []net.IP{{192, 0, 2, 1}}}, "", func(t *testing.T, crt *x509.Certificate) {
			if crt.KeyUsage != x509.KeyUsageDigitalSignature || len(crt.ExtKeyUsage) != 1 || crt.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth || len(crt.CRLDistributionPoints) != 1 {
				t.Errorf("usages %v %v, CRL %v", crt.KeyUsage, crt.ExtKeyUsage, crt.CRLDistributionPoints)
			}
		}},
		{"a server with an e-mail address", "server", x509.CertificateRequest{DNSNames: []string{"a.example"}, EmailAddresses: []string{"a@b"}}, "profile server: not what the profile allows: the request asks for the e-mail address a@b; only DNS names and IP addresses are allowed", nil},
		{"a server without names", "server", x509.CertificateRequest{Subject: pkix.Name{CommonName: "a.example"}}, "0 subject alternative names", nil},
		{"a server that would be a client", "server", x509.CertificateRequest{DNSNames: []string{"a.example"}, ExtraExtensions: []pkix.Extension{usages(t, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2})}}, "asks for the extended key usage clientAuth; only serverAuth", nil},
		{"a server with another field", "server", x509.CertificateRequest{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 42}, Value: "Ann"}}}, DNSNames: []string{"a.example"}}, "has a field GN", nil},
		{"a client", "client", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "x"}}}, "", nil},
		{"mail without an address", "email", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}}, "at least 1", nil},
		{"code signing", "code-signing", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}}, "", nil},
		{"a responder", "ocsp", x509.CertificateRequest{Subject: pkix.Name{CommonName: "responder"}}, "", func(t *testing.T, crt *x509.Certificate) {
			if len(crt.ExtKeyUsage) != 1 || crt.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning || find(crt, oidNoCheck) == nil || len(crt.CRLDistributionPoints) != 0 {
				t.Errorf("usages %v, CRL %v", crt.ExtKeyUsage, crt.CRLDistributionPoints)
			}
		}},
		{"all of a configured one", "lab", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}, DNSNames: []string{"a.example"}}, "", func(t *testing.T, crt *x509.Certificate) {
			if crt.Subject.String() != "CN=ann,O=Example Ltd,C=NL" || len(crt.OCSPServer) != 1 || find(crt, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}) == nil || !find(crt, oidExtKeyUsage).Critical {
				t.Errorf("%v %v", crt.Subject, crt.OCSPServer)
			}
		}},
		{"a fixed field that agrees", "lab", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann", Organization: []string{"Example Ltd"}}}, "", nil},
		{"a fixed field that differs", "lab", x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann", Organization: []string{"Evil"}}}, `O is "Evil"`, nil},
		{"too many names", "lab", x509.CertificateRequest{DNSNames: []string{"a.example", "b.example"}}, "more than 1 names", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := set.Profile(c.profile)
			if err != nil {
				t.Fatal(err)
			}
			template, err := p.Template(draft(t, c.asked, key))
			if c.refused != "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v, want %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			crt := sign(t, template, key.Public(), key)
			if c.check != nil {
				c.check(t, crt)
			}
			// A renewal carries on what was issued.
			renewal := draft(t, c.asked, key)
			renewal.Renewal, renewal.Subject, renewal.Extensions = true, crt.RawSubject, crt.Extensions
			template, err = p.Template(renewal)
			if err != nil {
				t.Fatal(err)
			}
			if again := sign(t, template, key.Public(), key); !reflect.DeepEqual(again.Extensions, crt.Extensions) || again.Subject.String() != crt.Subject.String() {
				t.Errorf("renewed as %v with %v", again.Subject, again.Extensions)
			}
		})
	}
}

// The default gives exactly what it always gave.
func TestAsRequested(t *testing.T) {
	p, err := newSet(t, nil).Profile(AsRequested)
	if err != nil {
		t.Fatal(err)
	}
	l := draft(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"x.example"}, ExtraExtensions: []pkix.Extension{usages(t, oidOCSPSigning, extKeyUsages[0].id)}}, newKey(t))
	got, err := p.Template(l)
	if err != nil {
		t.Fatal(err)
	}
	want, err := l.Template()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestValidity(t *testing.T) {
	const day = 24 * time.Hour
	set := newSet(t, map[string]Config{"short": {Validity: "1d", LongestValidity: "7d"}, "long": {LongestValidity: "2y"}})
	for _, c := range []struct {
		profile     string
		asked, want time.Duration // 0: refused
	}{
		{AsRequested, 0, 93 * day}, {AsRequested, day, day}, {AsRequested, 94 * day, 0}, {AsRequested, -day, 0},
		{"short", 0, day}, {"short", 7 * day, 7 * day}, {"short", 8 * day, 0},
		{"long", 0, 93 * day}, {"long", 730 * day, 730 * day}, {"long", 731 * day, 0},
	} {
		p, err := set.Profile(c.profile)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Validity(c.asked, 93*day)
		if (err != nil) != (c.want == 0) || got != c.want {
			t.Errorf("%s, %v: %v, %v", c.profile, c.asked, got, err)
		}
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	for field, c := range map[string]Config{
		"key_usages":          {KeyUsages: []string{"keyCertSign"}},
		"extended_key_usages": {ExtendedKeyUsages: []string{"OCSPSigning"}},
		"names":               {Names: map[string]int{"otherName": 1}},
		"min_names":           {MinNames: 1},
		"subject":             {Subject: []string{"CN", "CN"}},
		"fixed_subject":       {FixedSubject: map[string]string{"C": "NLD"}},
		"key_types":           {KeyTypes: []string{"dsa"}},
		"validity":            {Validity: "1w"},
		"longest_validity":    {Validity: "2d", LongestValidity: "1d"},
		"ocsp_url":            {OCSPURL: "ldap://x"},
		"extensions[0]":       {Extensions: []Extension{{OID: "2.5.29.19", DER: "3000"}}},
	} {
		var wrong *ConfigError
		if _, err := Compile("x", c); !errors.As(err, &wrong) || wrong.Field != field || wrong.Profile != "x" {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, name := range []string{"server", AsRequested, "X", "", "x_y", ServerInternal} {
		if _, err := NewSet(map[string]Config{name: {}}); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
	if _, err := newSet(t, nil).Profile("none"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// FuzzDuration: whatever stands in a file is a duration or an error.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"", "1d", "0s", "100y", "101y", "9223372036854775807s", "d", "-1d", "1.5h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := duration(text); err == nil && (d < 0 || text != "" && d == 0 || d > 100*365*24*time.Hour) {
			t.Errorf("%q is %v", text, d)
		}
	})
}
