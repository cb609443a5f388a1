package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// leafTemplate is one of which SignCertificate takes all that it can.
func leafTemplate(t testing.TB, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	id, err := KeyID(pub)
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(0xff), 120), RawSubject: cn("host"),
		NotBefore: time.Date(2026, 3, 1, 12, 30, 15, 999, time.FixedZone("", 3600)), NotAfter: time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		BasicConstraintsValid: true, SubjectKeyId: id, AuthorityKeyId: []byte("not that of the issuer"),
		CRLDistributionPoints: []string{"http://ca.example/cas/crl/1.crl", "http://other.example/"},
		OCSPServer:            []string{"http://ocsp.example/"}, IssuingCertificateURL: []string{"http://ca.example/cas/1.crt"},
		ExtraExtensions: []pkix.Extension{
			{Id: oidSAN, Critical: true, Value: seq(tlv(0x82, []byte("host.example")))},
			{Id: oidEKU, Value: []byte{0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1}},
		},
	}
}

// bothWays signs with SignCertificate and with the standard library, and returns the bytes that were signed.
func bothWays(t testing.TB, template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (ours, theirs []byte, err error) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, pub, key)
	if err != nil {
		t.Fatal("x509.CreateCertificate:", err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	theirs = crt.RawTBSCertificate
	if der, err = SignCertificate(template, issuer, pub, key); err != nil {
		return nil, theirs, err
	}
	if crt, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("SignCertificate: %v\n%x", err, der)
	}
	if err := crt.CheckSignatureFrom(issuer); err != nil {
		t.Error(err)
	}
	der, err = DraftCertificate(template, issuer, pub)
	draft, unreadable := x509.ParseCertificate(der)
	switch {
	case err != nil || unreadable != nil:
		t.Errorf("draft: %v, %v", err, unreadable)
	case !bytes.Equal(draft.RawTBSCertificate, crt.RawTBSCertificate) || draft.SignatureAlgorithm != crt.SignatureAlgorithm:
		t.Error("the draft differs from what is signed")
	case draft.CheckSignatureFrom(issuer) == nil:
		t.Error("a draft verifies")
	}
	return crt.RawTBSCertificate, theirs, nil
}

func TestSignCertificateWritesWhatTheStandardLibraryDoes(t *testing.T) {
	templates := map[string]func(*x509.Certificate){
		"all":               func(*x509.Certificate) {},
		"short serial":      func(c *x509.Certificate) { c.SerialNumber = big.NewInt(1) },
		"serial, top bit":   func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x80) },
		"year 2050":         func(c *x509.Certificate) { c.NotAfter = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no end":            func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) },
		"before 1950":       func(c *x509.Certificate) { c.NotBefore = time.Date(1949, 12, 31, 23, 59, 59, 0, time.UTC) },
		"no subject":        func(c *x509.Certificate) { c.RawSubject = []byte{0x30, 0} },
		"no list":           func(c *x509.Certificate) { c.CRLDistributionPoints = nil },
		"no OCSP":           func(c *x509.Certificate) { c.OCSPServer = nil },
		"no access":         func(c *x509.Certificate) { c.OCSPServer, c.IssuingCertificateURL = nil, nil },
		"no key id":         func(c *x509.Certificate) { c.SubjectKeyId = nil },
		"no extras":         func(c *x509.Certificate) { c.ExtraExtensions = nil },
		"subject of the CA": func(c *x509.Certificate) { c.RawSubject = nil }, // set below
		"usual ones among the extras": func(c *x509.Certificate) {
			for _, id := range []asn1.ObjectIdentifier{oidCRLDistributionPoints, oidBasic, oidSubjectKeyID, oidAuthorityKeyID, oidAuthorityInfoAccess} {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: id.Equal(oidBasic), Value: []byte{0x30, 0}})
			}
			c.ExtraExtensions[len(c.ExtraExtensions)-3].Value = []byte{4, 1, 7}
		},
		"long": func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidTLSFeature, Value: tlv(4, bytes.Repeat([]byte{7}, 70_000))})
		},
	}
	for _, keyType := range []KeyType{KeyECDSAP256, KeyECDSAP384, KeyEd25519, KeyRSA2048} {
		issuer, key := testIssuer(t, keyType)
		for name, change := range templates {
			t.Run(fmt.Sprintf("%s/%s", keyType, name), func(t *testing.T) {
				template := leafTemplate(t, key.Public())
				change(template)
				if template.RawSubject == nil {
					template.RawSubject = issuer.RawSubject
				}
				ours, theirs, err := bothWays(t, template, issuer, key.Public(), key)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(ours, theirs) {
					t.Errorf("signed is\n%x, and not\n%x", ours, theirs)
				}
			})
		}
	}
}

// Whatever field of a template is set, it is not left out in silence.
func TestSignCertificateLeavesNoFieldOut(t *testing.T) {
	issuer, key := testIssuer(t, KeyECDSAP256)
	_, network, _ := net.ParseCIDR("10.0.0.0/8")
	policy, _ := x509.OIDFromInts([]uint64{1, 2, 3})
	samples := map[reflect.Type]any{
		reflect.TypeFor[[]string]():                []string{"a.example"},
		reflect.TypeFor[[]byte]():                  []byte{5, 0},
		reflect.TypeFor[[]net.IP]():                []net.IP{{10, 0, 0, 1}},
		reflect.TypeFor[[]*net.IPNet]():            []*net.IPNet{network},
		reflect.TypeFor[[]*url.URL]():              []*url.URL{{Scheme: "https", Host: "a.example"}},
		reflect.TypeFor[[]x509.ExtKeyUsage]():      []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		reflect.TypeFor[[]asn1.ObjectIdentifier](): []asn1.ObjectIdentifier{{1, 2, 3}},
		reflect.TypeFor[[]x509.OID]():              []x509.OID{policy},
		reflect.TypeFor[x509.KeyUsage]():           x509.KeyUsageDigitalSignature,
		reflect.TypeFor[bool]():                    true,
		reflect.TypeFor[int]():                     1,
		reflect.TypeFor[pkix.Name]():               pkix.Name{CommonName: "other"},
		reflect.TypeFor[[]pkix.Extension]():        []pkix.Extension{{Id: oidTLSFeature, Value: []byte{0x30, 0}}},
		reflect.TypeFor[[]x509.PolicyMapping]():    []x509.PolicyMapping{{IssuerDomainPolicy: policy, SubjectDomainPolicy: policy}},
		reflect.TypeFor[x509.PublicKeyAlgorithm](): x509.RSA,
		reflect.TypeFor[x509.SignatureAlgorithm](): x509.ECDSAWithSHA256,
		reflect.TypeFor[time.Time]():               time.Unix(1e9, 0),
		reflect.TypeFor[*big.Int]():                big.NewInt(99),
		reflect.TypeFor[any]():                     nil, // PublicKey: that of whom is certified is an argument
	}
	// What the standard library leaves out as well, or what only a CA's can have and CreateCertificate refuses itself.
	for field := range reflect.TypeFor[x509.Certificate]().Fields() {
		sample, ok := samples[field.Type]
		if !ok {
			t.Errorf("there is no sample for %s, a %s", field.Name, field.Type)
			continue
		}
		if sample == nil || field.Name == "MaxPathLen" || field.Name == "MaxPathLenZero" {
			continue
		}
		template := leafTemplate(t, key.Public())
		template.CRLDistributionPoints, template.OCSPServer, template.IssuingCertificateURL = nil, nil, nil
		reflect.ValueOf(template).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(sample))
		if field.Name == "RawSubject" {
			template.RawSubject = cn("other")
		}
		ours, theirs, err := bothWays(t, template, issuer, key.Public(), key)
		if err == nil && !bytes.Equal(ours, theirs) {
			t.Errorf("%s is left out", field.Name)
		}
	}
}

func TestSignCertificateRefuses(t *testing.T) {
	issuer, key := testIssuer(t, KeyECDSAP256)
	_, other := testIssuer(t, KeyECDSAP256)
	tests := map[string]struct {
		change func(*x509.Certificate)
		key    crypto.Signer
		want   string
	}{
		"no serial":     {func(c *x509.Certificate) { c.SerialNumber = nil }, key, "serial number"},
		"zero":          {func(c *x509.Certificate) { c.SerialNumber = new(big.Int) }, key, "serial number"},
		"negative":      {func(c *x509.Certificate) { c.SerialNumber = big.NewInt(-1) }, key, "serial number"},
		"no subject":    {func(c *x509.Certificate) { c.RawSubject = nil }, key, "no subject"},
		"of a CA":       {func(c *x509.Certificate) { c.IsCA = true }, key, "that of a CA"},
		"path length":   {func(c *x509.Certificate) { c.MaxPathLenZero = true }, key, "that of a CA"},
		"key usage":     {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, key, "extra extensions"},
		"names":         {func(c *x509.Certificate) { c.DNSNames = []string{"a"} }, key, "extra extensions"},
		"year 10000":    {func(c *x509.Certificate) { c.NotAfter = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }, key, "10000"},
		"another's key": {func(*x509.Certificate) {}, other, "not that of the issuer"},
		"faulty token":  {func(*x509.Certificate) {}, faultyToken{key}, "does not verify"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			template := leafTemplate(t, key.Public())
			test.change(template)
			if der, err := SignCertificate(template, issuer, key.Public(), test.key); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d bytes, %v; want an error with %q", len(der), err, test.want)
			}
		})
	}
	if _, err := SignCertificate(leafTemplate(t, key.Public()), issuer, "no key", key); err == nil {
		t.Error("a public key of no kind is certified")
	}
}

// A faultyToken signs something else than what it is given.
type faultyToken struct{ crypto.Signer }

func (f faultyToken) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	wrong := bytes.Clone(digest)
	wrong[0] ^= 1
	return f.Signer.Sign(r, wrong, opts)
}

func BenchmarkSignCertificate(b *testing.B) {
	issuer, key := testIssuer(b, KeyECDSAP256)
	template := leafTemplate(b, key.Public())
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := SignCertificate(template, issuer, key.Public(), key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crypto/x509", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key); err != nil {
				b.Fatal(err)
			}
		}
	})
}
