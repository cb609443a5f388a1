package profile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"cauase/pkg/pki"
)

// configOf reads the table of one profile as a configuration file has it.
func configOf(t testing.TB, text string) (Config, error) {
	t.Helper()
	var c Config
	err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&c)
	return c, err
}

func compiled(t testing.TB, text string) *Profile {
	t.Helper()
	c, err := configOf(t, text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile("web", c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const aWebServer = `
extended_key_usage = ["serverAuth"]
names = ["dns", "ip"]
max_names = 2
subject = { common_name = "request", organization = "Example", country = "DE", locality = "forbidden" }
key_types = ["ecdsa-p256", "rsa-2048"]
validity = "30d"
longest = "90d"
policies = ["1.3.6.1.4.1.32473.1"]
ocsp_url = "http://ocsp.example.org/"
critical = ["key_usage", "extended_key_usage"]
extension = [{ oid = "1.2.3", critical = false, der_hex = "0500" }]
`

func TestConfigured(t *testing.T) {
	p := compiled(t, aWebServer)
	crt := signDraft(t, p, func(d *Draft) {
		d.Subject = subjectOf(t, "2.5.4.3=www", "2.5.4.10=Somebody else")
		d.Extensions = append(d.Extensions, sanOf(t, "DNS:www.example.org", "IP:192.0.2.1"))
		d.CRLURL, d.IssuerURL = "http://ca.example.org/crl", "http://ca.example.org/crt"
	})
	if got, want := pki.SubjectString(crt.RawSubject), "CN=www,O=Example,C=DE"; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(pki.SANStrings(crt.Extensions)), "[DNS:www.example.org IP:192.0.2.1]"; got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	if crt.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(crt.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("usage %b, purposes %v", crt.KeyUsage, crt.ExtKeyUsage)
	}
	for _, url := range [][]string{crt.OCSPServer, crt.IssuingCertificateURL, crt.CRLDistributionPoints} {
		if len(url) != 1 {
			t.Errorf("OCSP %v, issuer %v, list %v", crt.OCSPServer, crt.IssuingCertificateURL, crt.CRLDistributionPoints)
		}
	}
	if len(crt.PolicyIdentifiers) != 1 || crt.PolicyIdentifiers[0].String() != "1.3.6.1.4.1.32473.1" {
		t.Errorf("policies %v", crt.PolicyIdentifiers)
	}
	if e := find(crt, asn1.ObjectIdentifier{1, 2, 3}); e == nil || e.Critical || !bytes.Equal(e.Value, []byte{5, 0}) {
		t.Errorf("the extension is %+v", e)
	}
	for _, e := range crt.Extensions {
		if want := e.Id.Equal(oidBasic) || e.Id.Equal(oidKeyUsage) || e.Id.Equal(oidExtKeyUsage); e.Critical != want {
			t.Errorf("extension %v: critical %v", e.Id, e.Critical)
		}
	}
}

func TestConfiguredDefaults(t *testing.T) {
	p := compiled(t, `extended_key_usage = ["clientAuth", "1.2.3.4"]`)
	crt := signDraft(t, p, func(d *Draft) { d.Subject = subjectOf(t, "2.5.4.11=anything", "2.5.4.3=x") })
	if got, want := pki.SubjectString(crt.RawSubject), "CN=x,OU=anything"; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if crt.KeyUsage != x509.KeyUsageDigitalSignature || len(crt.UnknownExtKeyUsage) != 1 {
		t.Errorf("usage %b, other purposes %v", crt.KeyUsage, crt.UnknownExtKeyUsage)
	}
}

func TestConfigErrors(t *testing.T) {
	const good = `extended_key_usage = ["serverAuth"]` + "\n" + `names = ["dns"]` + "\n"
	tests := []struct{ name, text, want string }{
		{"no purpose", `names = ["dns"]`, "profile.web.extended_key_usage: missing"},
		{"unknown purpose", `extended_key_usage = ["server"]`, `profile.web.extended_key_usage: "server" is none of clientAuth, codeSigning`},
		{"OCSP signing", `extended_key_usage = ["1.3.6.1.5.5.7.3.9"]`, "only the built-in profile ocsp"},
		{"OCSP signing by name", `extended_key_usage = ["OCSPSigning"]`, `"OCSPSigning" is none of`},
		{"any purpose", `extended_key_usage = ["2.5.29.37.0"]`, "every purpose"},
		{"purpose twice", `extended_key_usage = ["serverAuth", "1.3.6.1.5.5.7.3.1"]`, "twice"},
		{"huge identifier", `extended_key_usage = ["1.2.99999999999"]`, "nor an object identifier"},
		{"impossible identifier", `extended_key_usage = ["4.2.3"]`, "nor an object identifier"},
		{"identifier with zeros before", `extended_key_usage = ["1.02.3"]`, "nor an object identifier"},
		{"unknown usage", good + `key_usage = ["sign"]`, `profile.web.key_usage: "sign" is none of contentCommitment, dataEncipherment`},
		{"certificate signing", good + `key_usage = ["digitalSignature", "keyCertSign"]`, `profile.web.key_usage: "keyCertSign" is for CAs only`},
		{"list signing", good + `key_usage = ["cRLSign"]`, "for CAs only"},
		{"no usage", good + `key_usage = []`, "profile.web.key_usage: is empty"},
		{"encipher only alone", good + `key_usage = ["encipherOnly"]`, "without keyAgreement"},
		{"both only", good + `key_usage = ["keyAgreement", "encipherOnly", "decipherOnly"]`, "exclude each other"},
		{"unknown kind of name", good[:36] + `names = ["dns", "host"]`, `profile.web.names: "host" is none of dns, ip, email and uri`},
		{"many names", good + `max_names = 1000`, "profile.web.max_names: 1000 is not between 1 and 100"},
		{"negative", good + `max_names = -1`, "max_names"},
		{"more at least than at most", good + "min_names = 3\nmax_names = 2", "profile.web.min_names: 3 is not between 0 and 2"},
		{"a number, but no kinds", `extended_key_usage = ["serverAuth"]` + "\nmax_names = 3", "no names are allowed"},
		{"unknown attribute", good + `subject = { cn = "request" }`, `profile.web.subject: "cn" is none of domain_component, country`},
		{"long country", good + `subject = { country = "DEU" }`, `profile.web.subject.country: "DEU" has 3 characters: at most 2`},
		{"small country", good + `subject = { country = "de" }`, "two capital letters"},
		{"empty attribute", good + `subject = { organization = " " }`, "profile.web.subject.organization"},
		{"control character", good + `subject = { organization = "a\u001b" }`, "do not print"},
		{"not in IA5", good + `subject = { email_address = "ü@example.org" }`, "cannot have"},
		{"names nobody", `extended_key_usage = ["serverAuth"]` + "\nsubject = {}", "name nobody"},
		{"unknown type of key", good + `key_types = ["dsa"]`, `profile.web.key_types: "dsa" is none of ecdsa-p256`},
		{"no type of key", good + `key_types = []`, "profile.web.key_types: is empty"},
		{"no duration", good + `validity = "soon"`, `profile.web.validity: "soon" is not a duration`},
		{"no time", good + `validity = "0s"`, "profile.web.validity"},
		{"longer than longest", good + "validity = \"2d\"\nlongest = \"1d\"", "profile.web.validity: 2d is longer than longest, 1d"},
		{"unknown critical", good + `critical = ["all"]`, `profile.web.critical: "all" is none of`},
		{"policy", good + `policies = ["gold"]`, `profile.web.policies: "gold" is not an object identifier`},
		{"own policy", good + `policies = ["1.3.6.1.4.1.37476.9000.70.0.0"]`, "not for profiles"},
		{"policy twice", good + `policies = ["1.2.3", "1.2.3"]`, "twice"},
		{"OCSP over TLS", good + `ocsp_url = "https://ocsp.example.org"`, "profile.web.ocsp_url"},
		{"OCSP nowhere", good + `ocsp_url = "http:///x"`, "profile.web.ocsp_url"},
		{"extension without an identifier", good + `extension = [{ der_hex = "0500" }]`, `profile.web.extension: oid ""`},
		{"extension that is not DER", good + `extension = [{ oid = "1.2.3", der_hex = "05" }]`, "not one value in DER"},
		{"extension of two values", good + `extension = [{ oid = "1.2.3", der_hex = "05000500" }]`, "not one value in DER"},
		{"extension that is not hexadecimal", good + `extension = [{ oid = "1.2.3", der_hex = "x" }]`, "not hexadecimal"},
		{"extension twice", good + `extension = [{ oid = "1.2.3", der_hex = "0500" }, { oid = "1.2.3", der_hex = "0500" }]`, "twice"},
	}
	for _, oid := range []string{
		"2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.35", "2.5.29.14", "2.5.29.31", "2.5.29.32", "2.5.29.30",
		"1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.48.1.5", "2.16.840.1.113730.1.1", "1.3.6.1.4.1.311.21.10", "1.3.6.1.5.5.7.1.14",
	} {
		tests = append(tests, struct{ name, text, want string }{"extension " + oid, good + `extension = [{ oid = "` + oid + `", der_hex = "0500" }]`, "cannot be set this way"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := configOf(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Compile("web", c); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "profile.web.") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestNamesOfProfiles(t *testing.T) {
	c, err := configOf(t, `extended_key_usage = ["clientAuth"]`)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "Web", "1st", "-a", "a_b", strings.Repeat("a", 33), "as-requested", "server", "ocsp", "daemon-server"} {
		if _, err := NewSet(map[string]Config{name: c}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	s, err := NewSet(map[string]Config{"web": c})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"as-requested", "client", "code-signing", "email", "ocsp", "server", "server-client", "web"}
	if got := s.Names(); !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	for _, name := range want {
		if p, err := s.Lookup(name); err != nil || p.Name() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	for _, name := range []string{"", "wep", "daemon-server"} {
		if _, err := s.Lookup(name); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "server-client and web") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestValidity(t *testing.T) {
	const d, span = 24 * time.Hour, 93 * 24 * time.Hour
	const purpose = `extended_key_usage = ["clientAuth"]` + "\n"
	tests := []struct {
		name, text  string
		asked, want time.Duration
		err         string
	}{
		{"the span", "", 0, span, ""},
		{"shorter", "", d, d, ""},
		{"the whole span", "", span, span, ""},
		{"longer than the span", "", span + d, 0, "profile web: a validity of 94d is too long: at most 93d is allowed"},
		{"negative", "", -d, 0, "is none"},
		{"default", `validity = "30d"`, 0, 30 * d, ""},
		{"longer than the default", `validity = "30d"`, 60 * d, 60 * d, ""},
		{"a default longer than the span", `validity = "1y"`, 0, 365 * d, ""},
		{"the same, asked for", `validity = "1y"`, 365 * d, 365 * d, ""},
		{"longest", `longest = "2y"`, 730 * d, 730 * d, ""},
		{"longer than longest", `longest = "36h"`, 2 * d, 0, "at most 36h"},
		{"the span, longer than longest", `longest = "36h"`, 0, 36 * time.Hour, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compiled(t, purpose+tt.text)
			got, err := p.Validity(tt.asked, span)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, %v", got, err)
				}
				if renewed := p.RenewalValidity(tt.asked, span); renewed <= 0 || renewed > p.limit(span) {
					t.Errorf("a renewal is for %v", renewed)
				}
				return
			}
			if err != nil || got != tt.want || p.RenewalValidity(tt.asked, span) != got {
				t.Errorf("got %v, %v, renewed %v, want %v", got, err, p.RenewalValidity(tt.asked, span), tt.want)
			}
		})
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(aWebServer)
	f.Add(`extended_key_usage = ["1.3.6.1.5.5.7.3.9"]`)
	f.Add(`extended_key_usage = ["clientAuth"]` + "\n" + `extension = [{ oid = "2.5.29.19", der_hex = "30030101ff" }]`)
	f.Add(`extended_key_usage = ["clientAuth"]` + "\n" + `key_usage = ["keyAgreement", "decipherOnly"]`)
	pub := goldenKey(f)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := configOf(t, text)
		if err != nil {
			return
		}
		p, err := Compile("web", c)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "profile.web.") {
				t.Errorf("%v names no field", err)
			}
			return
		}
		d := draftOf(t, pub)
		if len(p.names.kinds) > 0 {
			d.Extensions = append(d.Extensions, sanOf(t, "DNS:a.example.org"))
		}
		if template, err := p.Template(d); err == nil {
			checkHarmless(t, p, template)
		}
	})
}

// TestManual looks in the manual for everything that can stand in a configuration, and for the built-in profiles.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	words := append(KeyNames(), sortedKeys(purposeIDs)...)
	for name := range usageBits {
		if name != "nonRepudiation" { // the former name of another one
			words = append(words, name)
		}
	}
	for _, k := range attributeKinds {
		words = append(words, k.name)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[ExtensionConfig]()} {
		for i := range of.NumField() {
			words = append(words, of.Field(i).Tag.Get("toml"))
		}
	}
	for _, p := range builtIn() {
		words = append(words, p.name)
	}
	for _, word := range words {
		if !strings.Contains(string(manual), "`"+word+"`") {
			t.Errorf("%s is not in docs/operations.md", word)
		}
	}
}

func TestGrantsMore(t *testing.T) {
	const span = 90 * 24 * time.Hour
	configured := func(change func(*Config)) *Profile {
		c := Config{ExtendedKeyUsage: []string{"serverAuth"}, Names: []string{"dns"}}
		change(&c)
		p, err := Compile("x", c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, p := range builtIn() {
		if got, want := p.GrantsMore(span), p.name == NameOCSP; got != want {
			t.Errorf("%s: %v", p.name, got)
		}
	}
	for name, tt := range map[string]struct {
		p    *Profile
		want bool
	}{
		"nothing special":   {configured(func(*Config) {}), false},
		"as long as others": {configured(func(c *Config) { c.Validity, c.Longest = "30d", "90d" }), false},
		"a longer validity": {configured(func(c *Config) { c.Validity = "91d" }), true},
		"a longer choice":   {configured(func(c *Config) { c.Longest = "91d" }), true},
		"an extension": {configured(func(c *Config) {
			c.Extensions = []ExtensionConfig{{OID: "1.3.6.1.4.1.32473.7", DER: "0500"}}
		}), true},
	} {
		if got := tt.p.GrantsMore(span); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
