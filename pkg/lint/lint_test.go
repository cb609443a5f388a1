package lint

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
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	zlint "github.com/zmap/zlint/v3/lint"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
)

var now = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

// keyOf makes a key of each type once.
var keyOf = func() func(testing.TB, pki.KeyType) crypto.Signer {
	var made sync.Map
	return func(t testing.TB, keyType pki.KeyType) crypto.Signer {
		t.Helper()
		once, _ := made.LoadOrStore(keyType, sync.OnceValues(keyType.Generate))
		key, err := once.(func() (crypto.Signer, error))()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
}()

func newCA(t testing.TB, keyType pki.KeyType) *x509.Certificate {
	t.Helper()
	subject, err := profile.CommonName("Caucase CAS at ca.example.org:8009")
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf(t, keyType)
	template, err := profile.CA{Subject: subject, PublicKey: key.Public(), Serial: big.NewInt(7), NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}.Template()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

func newLinter(t testing.TB) *Linter {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func der(t testing.TB, value any) []byte {
	t.Helper()
	out, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func extension(t testing.TB, critical bool, value any, arc ...int) pkix.Extension {
	t.Helper()
	return pkix.Extension{Id: append(asn1.ObjectIdentifier{2, 5, 29}, arc...), Critical: critical, Value: der(t, value)}
}

func usage(t testing.TB, bits byte, critical bool) pkix.Extension {
	t.Helper()
	n := 8
	for n > 0 && bits&(1<<(8-n)) == 0 {
		n--
	}
	return extension(t, critical, asn1.BitString{Bytes: []byte{bits}, BitLength: n}, 15)
}

func purposes(t testing.TB, last ...int) pkix.Extension {
	t.Helper()
	var ids []asn1.ObjectIdentifier
	for _, n := range last {
		ids = append(ids, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, n})
	}
	return extension(t, false, ids, 37)
}

type policy struct{ ID asn1.ObjectIdentifier }

// A request is what a host or a person asks for.
type request struct {
	name string
	csr  *x509.CertificateRequest
}

// requests are what intake lets in and deployed clients ask for; each is issued as it is.
func requests(t testing.TB) []request {
	t.Helper()
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	named := func(cn string, extensions ...pkix.Extension) *x509.CertificateRequest {
		return &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, ExtraExtensions: extensions}
	}
	return []request{
		{"plain", named("plain")},
		{"everything", &x509.CertificateRequest{
			Subject:         pkix.Name{CommonName: "www.example.org", Organization: []string{"Example"}, OrganizationalUnit: []string{"IT"}, Country: []string{"DE"}},
			DNSNames:        []string{"www.example.org", "*.example.org"},
			IPAddresses:     []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")},
			EmailAddresses:  []string{"ops@example.org"},
			URIs:            []*url.URL{parse("spiffe://example.org/web")},
			ExtraExtensions: []pkix.Extension{usage(t, 0x80, true), purposes(t, 1, 2), extension(t, false, []policy{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}}}, 32)},
		}},
		{"no subject", &x509.CertificateRequest{DNSNames: []string{"only.example.org"}}},
		{"UTF8String", named("Jürgen Müller 🎩")},
		{"signer", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "signer"}, EmailAddresses: []string{"a@example.org"}, ExtraExtensions: []pkix.Extension{usage(t, 0xc0, false), purposes(t, 4)}}},
		{"would be a CA", named("would be a CA", usage(t, 0x86, true), purposes(t, 9, 1), extension(t, true, struct{ CA bool }{true}, 19))},
		{"long name", named(strings.Repeat("long", 16))},
		{"name longer than RFC 5280 has it", named(strings.Repeat("longer", 11))},
		{"agreement", named("agreement", usage(t, 0x88, true))},
		{"usages not critical", named("usage", usage(t, 0x80, false))},
		{"code", named("code", usage(t, 0x80, true), purposes(t, 3, 8))},
		{"underscores", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "c"}, DNSNames: []string{"_dmarc.example.org", "my_host.example.org", "a.my_zone.org", "a_b"}}},
		{"short names", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", "db"}}},
		{"upper case", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, DNSNames: []string{"WWW.Example.ORG"}}},
		{"internationalised", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, DNSNames: []string{"xn--bcher-kva.example"}}},
		{"invalid A-label", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, DNSNames: []string{"xn--zz--a.example", "ab--cd.example"}}},
		{"URN", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, URIs: []*url.URL{parse("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")}}},
		{"URI without an authority", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, URIs: []*url.URL{parse("file:///etc/passwd")}}},
		{"URI with a short host", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, URIs: []*url.URL{parse("https://db/"), parse("spiffe://cluster/ns/x"), parse("http://192.0.2.1/"), parse("ldap://h_1:389/")}}},
		{"e-mail address at a short host", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, EmailAddresses: []string{"root@localhost"}}},
		{"e-mail address in the subject", &x509.CertificateRequest{RawSubject: der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@example.org"}}})}},
		{"openssl's subject", &x509.CertificateRequest{Subject: pkix.Name{Country: []string{"AU"}, Province: []string{"Some-State"}, Organization: []string{"Internet Widgits Pty Ltd"}, CommonName: "h", SerialNumber: "12"}}},
		{"two attributes in one", &x509.CertificateRequest{RawSubject: der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "a"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "b"}}})}},
		{"long organisation", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h", Organization: []string{strings.Repeat("o", 65)}, OrganizationalUnit: []string{strings.Repeat("u", 65)}, Locality: []string{strings.Repeat("l", 129)}, Province: []string{strings.Repeat("s", 129)}, StreetAddress: []string{strings.Repeat("s", 129)}, PostalCode: []string{strings.Repeat("1", 41)}, SerialNumber: strings.Repeat("1", 65)}}},
		{"spaces around", &x509.CertificateRequest{Subject: pkix.Name{CommonName: " h "}}},
		{"key encipherment", named("h", usage(t, 0xa0, true), purposes(t, 1))},
		{"any purpose", named("h", extension(t, false, []asn1.ObjectIdentifier{{2, 5, 29, 37, 0}}, 37))},
		{"critical names", &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}, ExtraExtensions: []pkix.Extension{extension(t, true, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a.example")}}, 17)}}},
		{"names not critical, no subject", &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{extension(t, false, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a.example")}}, 17)}}},
		{"any policy", named("h", extension(t, false, []policy{{asn1.ObjectIdentifier{2, 5, 29, 32, 0}}}, 32))},
		{"numeric string", &x509.CertificateRequest{RawSubject: der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: 18, Bytes: []byte("12")}}}})}},
		{"IA5 common name", &x509.CertificateRequest{RawSubject: der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: 22, Bytes: []byte("12")}}}})}},
		{"UTF8 country", &x509.CertificateRequest{RawSubject: der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: asn1.RawValue{Tag: 12, Bytes: []byte("DE")}}}, {{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "h"}}})}},
	}
}

// submit has intake read what a client would send, and a profile make the template.
func submit(t testing.TB, csr *x509.CertificateRequest, key crypto.Signer, issuer *x509.Certificate, change func(*profile.Draft)) *x509.Certificate {
	t.Helper()
	made, err := x509.CreateCertificateRequest(rand.Reader, csr, key)
	if err != nil {
		t.Fatal(err)
	}
	req, err := pki.ParseRequest(pki.EncodeCSRPEM(made))
	if err != nil {
		t.Fatalf("intake: %v", err)
	}
	serial, err := pki.NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	draft := profile.Draft{
		Subject: req.CSR.RawSubject, Extensions: req.CSR.Extensions, PublicKey: key.Public(), Serial: serial,
		NotBefore: now, NotAfter: now.AddDate(0, 3, 0), IssuerKey: issuer.SubjectKeyId, CRLURL: "http://ca.example.org:8009/cas/crl/1",
	}
	change(&draft)
	template, err := profile.AsRequested().Template(draft)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// broken are those of the requests that are refused, with the rules that they break: all are of a type
// of string that the attribute does not have (RFC 5280 appendix A), which strict parsers refuse.
var broken = map[string][]string{
	"UTF8 country":                   {"e_subject_dn_country_not_printable_string"},
	"names not critical, no subject": nil, // the profile mends it
}

// lintsOf returns the names of the rules that err says are broken.
func lintsOf(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var found *Error
	if !errors.As(err, &found) {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found.Findings {
		names = append(names, f.Lint)
	}
	return names
}

func TestWhatClientsAskFor(t *testing.T) {
	l := newLinter(t)
	strict, err := excusing(nil)
	if err != nil {
		t.Fatal(err)
	}
	needed := map[string]bool{}
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyECDSAP384, pki.KeyEd25519, pki.KeyRSA2048} {
		ca, key := newCA(t, keyType), keyOf(t, keyType)
		for _, r := range requests(t) {
			for _, auto := range []bool{false, true} {
				template := submit(t, r.csr, key, ca, func(d *profile.Draft) { d.AutoSigned = auto })
				err := l.Check(template, ca, key.Public())
				if names := lintsOf(t, err); !slices.Equal(names, broken[r.name]) {
					t.Errorf("%s, %s: %v, want %v: %v", keyType, r.name, names, broken[r.name], err)
				}
				for _, name := range lintsOf(t, strict.Check(template, ca, key.Public())) {
					needed[name] = true
				}
			}
		}
	}
	for name, why := range excuses {
		if !needed[name] {
			t.Errorf("%s is excused (%s) but never broken: remove it from the list", name, why)
		}
	}
}

// TestProfiles checks that the profiles that are not the request's own doing break no rule at all.
func TestProfiles(t *testing.T) {
	strict, err := excusing(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := profile.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	dns := extension(t, false, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a.example.org")}}, 17)
	email := extension(t, false, []asn1.RawValue{{Class: 2, Tag: 1, Bytes: []byte("a@example.org")}}, 17)
	names := map[string][]pkix.Extension{
		profile.NameServer: {dns}, profile.NameServerClient: {dns}, profile.NameDaemonServer: {dns},
		profile.NameClient: {email}, profile.NameEmail: {email},
	}
	subject, err := profile.CommonName("somebody")
	if err != nil {
		t.Fatal(err)
	}
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyECDSAP384, pki.KeyEd25519, pki.KeyRSA2048} {
		ca, key := newCA(t, keyType), keyOf(t, keyType)
		profiles := []*profile.Profile{profile.DaemonServer()}
		for _, name := range set.Names() {
			p, err := set.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			profiles = append(profiles, p)
		}
		for _, p := range profiles {
			template, err := p.Template(profile.Draft{
				Subject: subject, Extensions: names[p.Name()], PublicKey: key.Public(), Serial: big.NewInt(99), IssuerKey: ca.SubjectKeyId,
				NotBefore: now, NotAfter: now.AddDate(0, 1, 0), CRLURL: "http://ca.example.org/crl", IssuerURL: "http://ca.example.org/crt",
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := strict.Check(template, ca, key.Public()); err != nil {
				t.Errorf("%s, %s: %v", p.Name(), keyType, err)
			}
		}
	}
}

func TestBroken(t *testing.T) {
	l := newLinter(t)
	ca, key := newCA(t, pki.KeyECDSAP256), keyOf(t, pki.KeyECDSAP256)
	names := func(tag int, values ...string) pkix.Extension {
		list := []asn1.RawValue{}
		for _, v := range values {
			list = append(list, asn1.RawValue{Class: 2, Tag: tag, Bytes: []byte(v)})
		}
		return extension(t, false, list, 17)
	}
	subject := func(value asn1.RawValue, arc ...int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.RawSubject = der(t, pkix.RDNSequence{{{Type: append(asn1.ObjectIdentifier{2, 5, 4}, arc...), Value: value}}})
		}
	}
	with := func(e ...pkix.Extension) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, e...) }
	}
	tests := []struct {
		name   string
		change func(*x509.Certificate)
		lint   string
	}{
		{"DNS name that is not ASCII", with(names(2, "b\xfccher.example.org")), "e_ext_san_dns_not_ia5_string"},
		{"no names", with(names(2)), "e_ext_san_no_entries"},
		{"empty DNS name", with(names(2, "")), "e_ext_san_empty_name"},
		{"long label", with(names(2, strings.Repeat("a", 64)+".example.org")), "e_rfc_dnsname_label_too_long"},
		{"address of 8 bytes", with(names(7, "\x0a\x00\x00\x00\xff\x00\x00\x00")), "parse"},
		{"e-mail address with a name", with(names(1, "A <a@example.org>")), "e_ext_san_rfc822_format_invalid"},
		{"relative URI", with(names(6, "/here")), "e_ext_san_uri_relative"},
		{"names not critical without a subject", func(c *x509.Certificate) { c.RawSubject = []byte{0x30, 0}; with(names(2, "a.example.org"))(c) }, "e_ext_san_not_critical_without_subject"},
		{"no purpose", with(extension(t, false, []asn1.ObjectIdentifier{}, 37)), "e_ext_cannot_be_empty_sequence"},
		{"no usage", with(usage(t, 0, true)), "e_ext_key_usage_without_bits"},
		{"CA's usage", with(usage(t, 0x04, true)), "e_ext_key_usage_cert_sign_without_ca"},
		{"critical key identifier", with(extension(t, true, []byte{1, 2}, 14)), "e_ext_subject_key_identifier_critical"},
		{"policy twice", with(extension(t, false, []policy{{asn1.ObjectIdentifier{1, 2, 3}}, {asn1.ObjectIdentifier{1, 2, 3}}}, 32)), "e_ext_cert_policy_duplicate"},
		{"name constraints", with(extension(t, true, []asn1.RawValue{}, 30)), "e_ext_name_constraints_not_in_ca"},
		{"country of three letters", subject(asn1.RawValue{Tag: 19, Bytes: []byte("DEU")}, 6), "country"},
		{"serial number in UTF-8", subject(asn1.RawValue{Tag: 12, Bytes: []byte("1")}, 5), "e_subject_dn_serial_number_not_printable_string"},
		{"empty attribute", subject(asn1.RawValue{Tag: 12}, 3), "empty_attribute"},
		{"over before it begins", func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Hour) }, "validity"},
		{"long serial number", func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 168) }, "e_serial_number_longer_than_20_octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := submit(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}}, key, ca, func(*profile.Draft) {})
			tt.change(template)
			err := l.Check(template, ca, key.Public())
			if names := lintsOf(t, err); !slices.Contains(names, tt.lint) {
				t.Errorf("%v, want %s: %v", names, tt.lint, err)
			}
		})
	}
}

// TestNoCertificate checks that what cannot be signed at all is an error, but no finding.
func TestNoCertificate(t *testing.T) {
	l := newLinter(t)
	ca, key := newCA(t, pki.KeyECDSAP256), keyOf(t, pki.KeyECDSAP256)
	template := submit(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}}, key, ca, func(*profile.Draft) {})
	negative := *template
	negative.SerialNumber = big.NewInt(-1)
	stranger := *ca
	stranger.PublicKey = "no key"
	for name, err := range map[string]error{
		"negative serial number": l.Check(&negative, ca, key.Public()),
		"no key":                 l.Check(template, ca, "no key"),
		"issuer without a key":   l.Check(template, &stranger, key.Public()),
	} {
		var found *Error
		if err == nil || errors.As(err, &found) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMessage checks what a user reads, of content that a stranger chose.
func TestMessage(t *testing.T) {
	l := newLinter(t)
	ca, key := newCA(t, pki.KeyECDSAP256), keyOf(t, pki.KeyECDSAP256)
	template := submit(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}}, key, ca, func(*profile.Draft) {})
	template.RawSubject = der(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: "\x1b[2J"}}})
	err := l.Check(template, ca, key.Public())
	if err == nil {
		t.Fatal("not refused")
	}
	for _, want := range []string{"a country is a code of two letters", "country", "RFC 5280: A.1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("%q has a control character", err)
	}
}

// TestTogether has many check at once.
func TestTogether(t *testing.T) {
	l := newLinter(t)
	ca, key := newCA(t, pki.KeyECDSAP256), keyOf(t, pki.KeyECDSAP256)
	template := submit(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}}, key, ca, func(*profile.Draft) {})
	before := *template
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := l.Check(template, ca, key.Public()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if template.SignatureAlgorithm != before.SignatureAlgorithm {
		t.Error("the template has changed")
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyRSA2048} {
		b.Run(string(keyType), func(b *testing.B) {
			l := newLinter(b)
			ca, key := newCA(b, keyType), keyOf(b, keyType)
			template := submit(b, requests(b)[1].csr, key, ca, func(*profile.Draft) {})
			for b.Loop() {
				if err := l.Check(template, ca, key.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzJudge looks for bytes that the rules, or the parser, do not bear.
func FuzzJudge(f *testing.F) {
	l := newLinter(f)
	ca, key := newCA(f, pki.KeyECDSAP256), keyOf(f, pki.KeyECDSAP256)
	for _, r := range requests(f) {
		template := submit(f, r.csr, key, ca, func(*profile.Draft) {})
		template.SignatureAlgorithm = x509.ECDSAWithSHA256
		made, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(made)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		err := l.judge(der)
		var found *Error
		if err != nil && (!errors.As(err, &found) || len(found.Findings) == 0) {
			t.Fatalf("%v", err)
		}
	})
}

// TestPanic has a rule fall over.
func TestPanic(t *testing.T) {
	l := newLinter(t)
	ca, key := newCA(t, pki.KeyECDSAP256), keyOf(t, pki.KeyECDSAP256)
	rule := *l.lints[0]
	rule.Name, rule.Lint = "e_falls_over", nil
	l.lints = append(l.lints, &rule)
	template := submit(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "h"}}, key, ca, func(*profile.Draft) {})
	if names := lintsOf(t, l.Check(template, ca, key.Public())); !slices.Equal(names, []string{"e_falls_over"}) {
		t.Errorf("got %v", names)
	}
}

// TestExcusesAreDocumented looks for every excuse in the manual.
func TestExcusesAreDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range excuses {
		if strings.HasPrefix(name, "e_subject_") && strings.HasSuffix(name, "_max_length") {
			name = "e_subject_…_max_length"
		}
		if !strings.Contains(string(manual), "`"+name+"`") {
			t.Errorf("%s is not in docs/operations.md", name)
		}
	}
}

// Rules are asked without being configured, which none of them needs.
func TestRulesNeedNoConfiguration(t *testing.T) {
	for _, rule := range newLinter(t).lints {
		if _, is := rule.Lint().(zlint.Configurable); is {
			t.Errorf("%s wants to be configured", rule.Name)
		}
	}
}
