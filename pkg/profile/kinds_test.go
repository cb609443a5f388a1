package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// sanOf makes the extension of names such as pki.SANStrings shows.
func sanOf(t testing.TB, names ...string) pkix.Extension {
	t.Helper()
	var list []asn1.RawValue
	for _, name := range names {
		kind, value, _ := strings.Cut(name, ":")
		tag := map[string]int{"email": 1, "DNS": 2, "URI": 6, "IP": 7, "registeredID": 8}[kind]
		raw := []byte(value)
		if kind == "IP" {
			raw = netip.MustParseAddr(value).AsSlice()
		}
		list = append(list, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: raw})
	}
	return pkix.Extension{Id: oidSubjectAltName, Value: der(t, list)}
}

// subjectOf makes a subject of attributes such as "2.5.4.3=host".
func subjectOf(t testing.TB, attributes ...string) []byte {
	t.Helper()
	rdns := pkix.RDNSequence{}
	for _, a := range attributes {
		oid, value, _ := strings.Cut(a, "=")
		id, err := parseOID(oid)
		if err != nil {
			t.Fatal(err)
		}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: id, Value: value}})
	}
	return der(t, rdns)
}

func draftOf(t testing.TB, pub crypto.PublicKey) Draft {
	t.Helper()
	return Draft{
		Subject: subjectOf(t, "2.5.4.3=host"), PublicKey: pub, Serial: big.NewInt(99),
		NotBefore: now, NotAfter: now.Add(time.Hour), IssuerKey: []byte{1, 2, 3},
	}
}

func signDraft(t testing.TB, p *Profile, change func(*Draft)) *x509.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	d := draftOf(t, key.Public())
	change(&d)
	template, err := p.Template(d)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, template, d.PublicKey, key)
}

func builtInNamed(t testing.TB, name string) *Profile {
	t.Helper()
	s, err := NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkHarmless fails if a template could be used to sign in the CA's name.
func checkHarmless(t testing.TB, p *Profile, template *x509.Certificate) {
	t.Helper()
	if template.IsCA || !template.BasicConstraintsValid || template.KeyUsage != 0 || len(template.ExtKeyUsage) > 0 || len(template.UnknownExtKeyUsage) > 0 {
		t.Errorf("CA %v, usage %v", template.IsCA, template.KeyUsage)
	}
	seen := map[string]bool{}
	for _, e := range template.ExtraExtensions {
		if seen[e.Id.String()] {
			t.Errorf("extension %v twice", e.Id)
		}
		seen[e.Id.String()] = true
		switch {
		case e.Id.Equal(oidKeyUsage):
			var bits asn1.BitString
			if _, err := asn1.Unmarshal(e.Value, &bits); err != nil || bits.At(5) == 1 || bits.At(6) == 1 {
				t.Errorf("key usage %x: %v", e.Value, err)
			}
		case e.Id.Equal(oidExtKeyUsage):
			var ids []asn1.ObjectIdentifier
			if _, err := asn1.Unmarshal(e.Value, &ids); err != nil || slices.ContainsFunc(ids, oidOCSPSigning.Equal) != (p.name == NameOCSP) {
				t.Errorf("extended key usage %v: %v", ids, err)
			}
		case e.Id.Equal(oidOCSPNoCheck):
			if p.name != NameOCSP {
				t.Error("the mark of an OCSP responder")
			}
		case e.Id.Equal(oidSubjectAltName), e.Id.Equal(oidCertificatePolicies):
		case reserved(e.Id) != "":
			t.Errorf("extension %v", e.Id)
		}
	}
}

func TestBuiltIn(t *testing.T) {
	ec, rsaKey := pkitest.Key(t), new(rsa.PublicKey)
	rsaKey.N, rsaKey.E = new(big.Int).SetBit(big.NewInt(1), 2047, 1), 65537
	const sig, enc, agree = x509.KeyUsageDigitalSignature, x509.KeyUsageKeyEncipherment, x509.KeyUsageKeyAgreement
	tests := []struct {
		profile    string
		names      []string
		ecdsa, rsa x509.KeyUsage
		purposes   []x509.ExtKeyUsage
		noCheck    bool
	}{
		{NameServer, []string{"DNS:a.example.org", "IP:192.0.2.1"}, sig, sig | enc, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, false},
		{NameClient, []string{"email:a@example.org", "URI:spiffe://x/y"}, sig, sig, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, false},
		{NameClient, nil, sig, sig, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, false},
		{NameServerClient, []string{"DNS:a.example.org"}, sig, sig | enc, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, false},
		{NameEmail, []string{"email:a@example.org"}, sig | agree, sig | enc, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, false},
		{NameCodeSigning, nil, sig, sig, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, false},
		{NameOCSP, nil, sig, sig, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, true},
	}
	for _, tt := range tests {
		t.Run(tt.profile, func(t *testing.T) {
			p := builtInNamed(t, tt.profile)
			for _, key := range []struct {
				pub  crypto.PublicKey
				want x509.KeyUsage
			}{{ec.Public(), tt.ecdsa}, {rsaKey, tt.rsa}} {
				d := draftOf(t, key.pub)
				// What the request asks for beside its names does not count.
				d.Extensions = []pkix.Extension{{Id: oidKeyUsage, Value: unhex(t, "030206c0")}, {Id: oidBasic, Critical: true, Value: unhex(t, "30030101ff")}}
				if tt.names != nil {
					d.Extensions = append(d.Extensions, sanOf(t, tt.names...))
				}
				d.CRLURL = "http://ca.example.org/crl"
				template, err := p.Template(d)
				if err != nil {
					t.Fatal(err)
				}
				checkHarmless(t, p, template)
				crt := sign(t, template, key.pub, ec)
				if crt.KeyUsage != key.want || !slices.Equal(crt.ExtKeyUsage, tt.purposes) || !slices.Equal(pki.SANStrings(crt.Extensions), tt.names) {
					t.Errorf("usage %b, purposes %v, names %v", crt.KeyUsage, crt.ExtKeyUsage, pki.SANStrings(crt.Extensions))
				}
				if (find(crt, oidOCSPNoCheck) != nil) != tt.noCheck || (len(crt.CRLDistributionPoints) == 0) != tt.noCheck {
					t.Errorf("OCSP no check %v, list %v", find(crt, oidOCSPNoCheck), crt.CRLDistributionPoints)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server, web := builtInNamed(t, NameServer), compiled(t, aWebServer)
	names := func(list ...string) func(*Draft) {
		return func(d *Draft) { d.Extensions = append(d.Extensions, sanOf(t, list...)) }
	}
	tests := []struct {
		name    string
		profile *Profile
		change  func(*Draft)
		want    string
	}{
		{"e-mail address", server, names("DNS:a.example", "email:a@b"), "profile server: the request asks for the e-mail address a@b; only DNS names and IP addresses are allowed"},
		{"registered ID", server, names("registeredID:\x2a"), "profile server: the request asks for a name of the kind registeredID; only"},
		{"no name", server, func(*Draft) {}, "profile server: the request has no subject alternative name: at least 1 of DNS names and IP addresses needed"},
		{"names where there are none", builtInNamed(t, NameCodeSigning), names("DNS:a.example"), "the DNS name a.example; no subject alternative name is allowed"},
		{"two extensions", server, func(d *Draft) { names("DNS:a.example")(d); names("DNS:b.example")(d) }, "two subject alternative name extensions"},
		{"unreadable names", server, func(d *Draft) { d.Extensions = []pkix.Extension{{Id: oidSubjectAltName, Value: []byte{5, 0}}} }, "cannot be read"},
		{"too many names", web, names("DNS:a.example", "DNS:b.example", "DNS:c.example"), "profile web: the request asks for 3 subject alternative names: at most 2 allowed"},
		{"attribute that is not listed", web, func(d *Draft) { d.Subject = subjectOf(t, "2.5.4.11=IT") }, "profile web: the request asks for the subject OU=IT; only country, organization and common_name may be in it"},
		{"forbidden attribute", web, func(d *Draft) { d.Subject = subjectOf(t, "2.5.4.7=Bonn") }, "the subject L=Bonn; only"},
		{"unknown attribute", web, func(d *Draft) { d.Subject = subjectOf(t, "1.2.3=x") }, "the subject 1.2.3="},
		{"unreadable subject", web, func(d *Draft) { d.Subject = []byte{5, 0} }, "subject cannot be read"},
		{"type of key", web, func(d *Draft) { d.PublicKey = p521.Public() }, "profile web: the request's key is ECDSA P-521; only ecdsa-p256 or rsa-2048 is allowed"},
		{"usage that the key has not", compiled(t, "extended_key_usage = [\"clientAuth\"]\nkey_usage = [\"keyEncipherment\"]"), func(*Draft) {}, "nothing the key may be used for is possible with ECDSA P-256"},
		{"nobody named", builtInNamed(t, NameClient), func(d *Draft) { d.Subject = []byte{0x30, 0} }, ErrNothingNamed.Error()},
		{"OCSP unattended", builtInNamed(t, NameOCSP), func(d *Draft) { d.AutoSigned = true }, "profile ocsp: never signed without the approval of a user"},
		{"two hosts of the daemon", DaemonServer(), names("DNS:a.example", "DNS:b.example"), "at most 1 allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := draftOf(t, goldenKey(t))
			tt.change(&d)
			if _, err := tt.profile.Template(d); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestRenewalKeeps has certificates renewed whose profile has changed since they were made.
func TestRenewalKeeps(t *testing.T) {
	old := compiled(t, aWebServer)
	set, err := NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	made := signDraft(t, old, func(d *Draft) { d.Extensions = []pkix.Extension{sanOf(t, "DNS:a.example")} })
	ocsp := signDraft(t, builtInNamed(t, NameOCSP), func(*Draft) {})
	tests := []struct {
		name    string
		crt     *x509.Certificate
		profile *Profile
		lost    []asn1.ObjectIdentifier
	}{
		{"same rules", made, old, nil},
		{"stricter rules", made, compiled(t, "extended_key_usage = [\"clientAuth\"]\nkey_types = [\"ed25519\"]\nsubject = { common_name = \"request\" }"), nil},
		{"profile gone", made, set.ForRenewal("web"), nil},
		{"OCSP responder", ocsp, set.ForRenewal(NameOCSP), nil},
		{"OCSP responder with a profile gone", ocsp, set.ForRenewal("web"), []asn1.ObjectIdentifier{oidExtKeyUsage, oidOCSPNoCheck}},
		{"OCSP responder, as requested", ocsp, set.ForRenewal(""), []asn1.ObjectIdentifier{oidExtKeyUsage, oidOCSPNoCheck}},
		{"extra extension, as requested", made, set.ForRenewal(NameAsRequested), []asn1.ObjectIdentifier{{1, 2, 3}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next := signDraft(t, tt.profile, func(d *Draft) {
				d.Subject, d.Extensions, d.Renewal = tt.crt.RawSubject, tt.crt.Extensions, true
			})
			if !slices.Equal(next.RawSubject, tt.crt.RawSubject) {
				t.Errorf("subject %s", next.Subject)
			}
			remade := []asn1.ObjectIdentifier{oidSubjectKeyID, oidAuthorityKeyID, {2, 5, 29, 31}, {1, 3, 6, 1, 5, 5, 7, 1, 1}}
			for _, e := range tt.crt.Extensions {
				if slices.ContainsFunc(remade, e.Id.Equal) {
					continue
				}
				got := find(next, e.Id)
				switch lost := slices.ContainsFunc(tt.lost, e.Id.Equal); {
				case lost && got != nil:
					t.Errorf("extension %v is kept", e.Id)
				case !lost && (got == nil || got.Critical != e.Critical || !slices.Equal(got.Value, e.Value)):
					t.Errorf("extension %v is now %+v", e.Id, got)
				}
			}
		})
	}
}

func TestAutoSignedIsMarked(t *testing.T) {
	for _, p := range []*Profile{builtInNamed(t, NameServer), compiled(t, aWebServer)} {
		crt := signDraft(t, p, func(d *Draft) {
			d.Extensions, d.AutoSigned = []pkix.Extension{sanOf(t, "DNS:a.example")}, true
		})
		if !slices.ContainsFunc(crt.PolicyIdentifiers, policyAuto.Equal) {
			t.Errorf("%s: policies %v", p.Name(), crt.PolicyIdentifiers)
		}
	}
}

func TestDaemonServer(t *testing.T) {
	for host, want := range map[string]string{"ca.example.org": "DNS:ca.example.org", "192.0.2.1": "IP:192.0.2.1", "2001:db8::1": "IP:2001:db8::1"} {
		extensions, err := ServerExtensions(host)
		if err != nil {
			t.Fatal(err)
		}
		crt := signDraft(t, DaemonServer(), func(d *Draft) { d.Extensions = extensions })
		if got := pki.SANStrings(crt.Extensions); len(crt.Subject.Names) > 0 || !slices.Equal(got, []string{want}) {
			t.Errorf("subject %s, names %v", crt.Subject, got)
		}
		// As the daemon's certificates have been: SAN, key usage, extended key usage.
		var order []string
		for _, e := range crt.Extensions[len(crt.Extensions)-3:] {
			order = append(order, e.Id.String())
		}
		if !slices.Equal(order, []string{"2.5.29.17", "2.5.29.15", "2.5.29.37"}) || !find(crt, oidSubjectAltName).Critical || !find(crt, oidKeyUsage).Critical {
			t.Errorf("extensions %v", order)
		}
		if crt.KeyUsage != x509.KeyUsageDigitalSignature {
			t.Errorf("usage %b", crt.KeyUsage)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	san := sanOf(f, "DNS:a.example.org")
	f.Add(subjectOf(f, "2.5.4.3=host"), san.Value, unhex(f, "03020780"), unhex(f, "300a06082b06010505070309"), []byte{5, 0}, false, false)
	f.Add([]byte{0x30, 0}, san.Value, unhex(f, "030307ff80"), unhex(f, "300606042a030405"), policySequence(f, "2a0304"), true, false)
	f.Add(subjectOf(f, "2.5.4.11=x"), []byte{}, []byte{}, []byte{}, []byte{}, false, true)
	set, err := NewSet(nil)
	if err != nil {
		f.Fatal(err)
	}
	profiles := []*Profile{compiled(f, aWebServer), set.ForRenewal("gone"), DaemonServer()}
	for _, name := range set.Names() {
		p, err := set.Lookup(name)
		if err != nil {
			f.Fatal(err)
		}
		profiles = append(profiles, p)
	}
	pub := goldenKey(f)
	f.Fuzz(func(t *testing.T, subject, names, usage, purposes, other []byte, renewal, auto bool) {
		d := draftOf(t, pub)
		d.Subject, d.Renewal, d.AutoSigned = subject, renewal, auto
		for _, e := range []struct {
			id    asn1.ObjectIdentifier
			value []byte
		}{{oidSubjectAltName, names}, {oidKeyUsage, usage}, {oidExtKeyUsage, purposes}, {oidCertificatePolicies, other}, {oidBasic, other}, {oidNameCon, other}, {oidPoison, other}, {oidOCSPNoCheck, other}} {
			if len(e.value) > 0 {
				d.Extensions = append(d.Extensions, pkix.Extension{Id: e.id, Value: e.value})
			}
		}
		for _, p := range profiles {
			if p.usage == 0 && !p.copies && !renewal {
				continue // only for renewals
			}
			template, err := p.Template(d)
			if err != nil {
				continue
			}
			if p.name == NameOCSP && renewal {
				continue // keeps what it finds, which we made
			}
			checkHarmless(t, p, template)
		}
	})
}
