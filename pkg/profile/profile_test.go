package profile

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

var (
	now        = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	oidPoison  = asn1.ObjectIdentifier{1, 2, 3, 4}
	oidNameCon = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidBasic   = asn1.ObjectIdentifier{2, 5, 29, 19}
)

func der(t testing.TB, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	out, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign makes the certificate of a template and parses it with the standard library.
func sign(t testing.TB, template *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	return pkitest.Certificate(t, template, &x509.Certificate{RawSubject: der(t, pkix.Name{CommonName: "CA"}.ToRDNSequence())}, pub, key)
}

func leafWith(t testing.TB, change func(*Draft)) *x509.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	subject, err := CommonName("host")
	if err != nil {
		t.Fatal(err)
	}
	l := Draft{Subject: subject, PublicKey: key.Public(), Serial: big.NewInt(99), NotBefore: now, NotAfter: now.Add(time.Hour), IssuerKey: []byte{1, 2, 3}}
	change(&l)
	template, err := AsRequested().Template(l)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, template, key.Public(), key)
}

func find(crt *x509.Certificate, id asn1.ObjectIdentifier) *pkix.Extension {
	for i := range crt.Extensions {
		if crt.Extensions[i].Id.Equal(id) {
			return &crt.Extensions[i]
		}
	}
	return nil
}

func TestLeafAlwaysHas(t *testing.T) {
	crt := leafWith(t, func(l *Draft) { l.CRLURL = "http://ca.example/cas/crl/1" })
	if bc := find(crt, oidBasic); bc == nil || !bc.Critical || crt.IsCA {
		t.Errorf("basic constraints %v, CA %v", bc, crt.IsCA)
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if string(crt.SubjectKeyId) != string(keyID) || string(crt.AuthorityKeyId) != "\x01\x02\x03" {
		t.Errorf("SKI %x, AKI %x", crt.SubjectKeyId, crt.AuthorityKeyId)
	}
	if len(crt.CRLDistributionPoints) != 1 || crt.CRLDistributionPoints[0] != "http://ca.example/cas/crl/1" {
		t.Errorf("CRL distribution points %v", crt.CRLDistributionPoints)
	}
	for _, e := range crt.Extensions {
		if e.Critical != e.Id.Equal(oidBasic) {
			t.Errorf("extension %v: critical %v", e.Id, e.Critical)
		}
	}
	if crt := leafWith(t, func(*Draft) {}); len(crt.Extensions) != 3 {
		t.Errorf("a plain leaf has %d extensions, want 3", len(crt.Extensions))
	}
}

func TestRequestedExtensions(t *testing.T) {
	san := der(t, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a.example")}})
	serverAuth, ocsp := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
	bits := func(b ...byte) []byte { return der(t, asn1.BitString{Bytes: b, BitLength: 8 * len(b)}) }
	tests := []struct {
		name string
		in   pkix.Extension
		want []byte // nil: dropped
	}{
		{"subject alternative name", pkix.Extension{Id: oidSubjectAltName, Value: san}, san},
		{"critical subject alternative name", pkix.Extension{Id: oidSubjectAltName, Critical: true, Value: san}, san},
		{"extended key usage", pkix.Extension{Id: oidExtKeyUsage, Value: der(t, []asn1.ObjectIdentifier{serverAuth})}, der(t, []asn1.ObjectIdentifier{serverAuth})},
		{"OCSP signing among others", pkix.Extension{Id: oidExtKeyUsage, Critical: true, Value: der(t, []asn1.ObjectIdentifier{ocsp, serverAuth})}, der(t, []asn1.ObjectIdentifier{serverAuth})},
		{"OCSP signing alone", pkix.Extension{Id: oidExtKeyUsage, Value: der(t, []asn1.ObjectIdentifier{ocsp})}, nil},
		{"digital signature", pkix.Extension{Id: oidKeyUsage, Critical: true, Value: unhex(t, "03020780")}, unhex(t, "03020780")},
		{"certificate and CRL signing", pkix.Extension{Id: oidKeyUsage, Value: bits(0x06)}, nil},
		{"everything", pkix.Extension{Id: oidKeyUsage, Value: bits(0xff, 0x80)}, unhex(t, "030307f980")},
		{"encipher only without agreement", pkix.Extension{Id: oidKeyUsage, Value: bits(0x81)}, unhex(t, "03020780")},
		{"encipher only with agreement", pkix.Extension{Id: oidKeyUsage, Value: bits(0x09)}, unhex(t, "03020009")},
		{"decipher only without agreement", pkix.Extension{Id: oidKeyUsage, Value: bits(0x00, 0x80)}, nil},
		{"basic constraints", pkix.Extension{Id: oidBasic, Critical: true, Value: unhex(t, "30030101ff")}, nil},
		{"name constraints", pkix.Extension{Id: oidNameCon, Critical: true, Value: unhex(t, "3000")}, nil},
		{"unknown", pkix.Extension{Id: oidPoison, Value: []byte{5, 0}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			crt := leafWith(t, func(l *Draft) { l.Extensions = []pkix.Extension{tt.in} })
			if crt.IsCA || crt.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
				t.Error("the certificate can sign others")
			}
			if tt.in.Id.Equal(oidBasic) {
				return
			}
			got := find(crt, tt.in.Id)
			switch {
			case got == nil && tt.want != nil:
				t.Error("dropped")
			case got != nil && string(got.Value) != string(tt.want):
				t.Errorf("got %x, want %x", got.Value, tt.want)
			case got != nil && got.Critical != tt.in.Critical:
				t.Errorf("critical %v, want %v", got.Critical, tt.in.Critical)
			}
		})
	}
}

// The contents are object identifiers, the way the protocol's documents and old
// certificates have them.
const (
	arcHex    = "2b0601040182a464c62846" + "00" // 1.3.6.1.4.1.37476.9000.70.0
	legacyHex = "6983add1aed5d4f0fa8d91bdc3b4beefc595ab7d"
)

func policySequence(t testing.TB, contents ...string) []byte {
	var list []struct{ ID asn1.RawValue }
	for _, c := range contents {
		list = append(list, struct{ ID asn1.RawValue }{asn1.RawValue{Tag: asn1.TagOID, Bytes: unhex(t, c)}})
	}
	return der(t, list)
}

func TestPolicies(t *testing.T) {
	foreign := "2a0304"
	tests := []struct {
		name    string
		in      []string
		renewal bool
		auto    bool
		want    []string
	}{
		{"a foreign policy passes", []string{foreign}, false, false, []string{foreign}},
		{"own policies cannot be requested", []string{arcHex + "00", foreign, arcHex + "8767", arcHex}, false, false, []string{foreign}},
		{"nor those of the legacy arc", []string{legacyHex + "00"}, false, false, nil},
		{"a renewal keeps them", []string{arcHex + "00", foreign}, true, false, []string{arcHex + "00", foreign}},
		{"a renewal rewrites legacy ones", []string{legacyHex + "00"}, true, false, []string{arcHex + "00"}},
		{"never twice the same", []string{legacyHex + "00", arcHex + "00"}, true, false, []string{arcHex + "00"}},
		{"auto-signed", nil, false, true, []string{arcHex + "00"}},
		{"auto-signed, with another", []string{foreign}, false, true, []string{foreign, arcHex + "00"}},
		{"a neighbour of the arc is foreign", []string{"2b0601040182a464c6284601"}, false, false, []string{"2b0601040182a464c6284601"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			crt := leafWith(t, func(l *Draft) {
				if tt.in != nil {
					l.Extensions = []pkix.Extension{{Id: oidCertificatePolicies, Value: policySequence(t, tt.in...)}}
				}
				l.Renewal, l.AutoSigned = tt.renewal, tt.auto
			})
			var got []string
			if e := find(crt, oidCertificatePolicies); e != nil {
				var list []policyInformation
				if _, err := asn1.Unmarshal(e.Value, &list); err != nil {
					t.Fatal(err)
				}
				for _, p := range list {
					got = append(got, hex.EncodeToString(p.Policy.Bytes))
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

// The bytes that the reference daemon writes.
func TestAutoSignedPolicyIsTheReferences(t *testing.T) {
	crt := leafWith(t, func(l *Draft) { l.AutoSigned = true })
	want := "30423040060d2b0601040182a464c628460000302f302d06082b0601050507020230210c1f" + hex.EncodeToString([]byte(autoSignedText))
	if got := hex.EncodeToString(find(crt, oidCertificatePolicies).Value); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMalformedExtensionsAreRefused(t *testing.T) {
	for _, id := range []asn1.ObjectIdentifier{oidKeyUsage, oidExtKeyUsage, oidCertificatePolicies} {
		for _, value := range []string{"", "05", "0500", "30800000", "3003020101"} {
			l := Draft{Subject: []byte{0x30, 0}, PublicKey: pkitest.Key(t).Public(), Extensions: []pkix.Extension{{Id: id, Value: unhex(t, value)}}}
			if _, err := AsRequested().Template(l); err == nil {
				t.Errorf("%v: %q accepted", id, value)
			}
		}
	}
}

func TestEmptySubject(t *testing.T) {
	l := Draft{Subject: []byte{0x30, 0}, PublicKey: pkitest.Key(t).Public()}
	if _, err := AsRequested().Template(l); err == nil {
		t.Error("a certificate that names nobody")
	}
	san := der(t, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a.example")}})
	crt := leafWith(t, func(l *Draft) {
		l.Subject = []byte{0x30, 0}
		l.Extensions = []pkix.Extension{{Id: oidSubjectAltName, Value: san}}
	})
	if e := find(crt, oidSubjectAltName); e == nil || !e.Critical {
		t.Errorf("subject alternative name %+v: must be critical when it is the only name", e)
	}
}

func caWith(t testing.TB, c CA) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := pkitest.Key(t)
	c.PublicKey, c.Serial, c.NotBefore, c.NotAfter = key.Public(), big.NewInt(5), now, now.Add(time.Hour)
	template, err := c.Template()
	if err != nil {
		t.Fatal(err)
	}
	return pkitest.Certificate(t, template, template, key.Public(), key), key
}

func TestCA(t *testing.T) {
	subject, err := CommonName("Caucase CAS at ca.example:8009")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := caWith(t, CA{Subject: subject})
	if !first.IsCA || first.MaxPathLen != 0 || !first.MaxPathLenZero || first.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA %v, path length %v, key usage %v", first.IsCA, first.MaxPathLen, first.KeyUsage)
	}
	if string(first.SubjectKeyId) != string(first.AuthorityKeyId) || len(first.SubjectKeyId) != 20 {
		t.Errorf("SKI %x, AKI %x", first.SubjectKeyId, first.AuthorityKeyId)
	}
	next, err := CommonName("Caucase CAS at ca.example:8009, again")
	if err != nil {
		t.Fatal(err)
	}
	second, _ := caWith(t, CA{Subject: next, Predecessor: first})
	if string(second.RawSubject) != string(next) || string(second.RawIssuer) != string(next) {
		t.Error("the successor has another subject")
	}
	if string(second.SubjectKeyId) == string(first.SubjectKeyId) || string(second.SubjectKeyId) != string(second.AuthorityKeyId) {
		t.Errorf("successor: SKI %x, AKI %x", second.SubjectKeyId, second.AuthorityKeyId)
	}
	if len(second.Extensions) != len(first.Extensions) {
		t.Errorf("successor has %d extensions, want %d", len(second.Extensions), len(first.Extensions))
	}
}

func TestConstraint(t *testing.T) {
	tests := []struct {
		host      string
		dns       string
		ip        string
		excludeIs int
	}{
		{"ca.example", "ca.example", "", 0},
		{"192.0.2.1", "", "192.0.2.1/32", 1},
		{"2001:db8::1", "", "2001:db8::1/128", 1},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			first, _ := caWith(t, CA{Subject: []byte{0x30, 0}, Constraint: Constraint{Host: tt.host}})
			second, _ := caWith(t, CA{Predecessor: first})
			for _, crt := range []*x509.Certificate{first, second} {
				if !crt.PermittedDNSDomainsCritical || len(crt.ExcludedDNSDomains) != tt.excludeIs {
					t.Errorf("critical %v, excluded %q", crt.PermittedDNSDomainsCritical, crt.ExcludedDNSDomains)
				}
				if tt.dns != "" && (len(crt.PermittedDNSDomains) != 1 || crt.PermittedDNSDomains[0] != tt.dns) {
					t.Errorf("permitted %v", crt.PermittedDNSDomains)
				}
				if tt.ip != "" && (len(crt.PermittedIPRanges) != 1 || crt.PermittedIPRanges[0].String() != tt.ip) {
					t.Errorf("permitted %v", crt.PermittedIPRanges)
				}
			}
		})
	}
}
