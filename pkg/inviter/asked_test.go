package inviter_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"testing"

	"cauase/pkg/ca"
	"cauase/pkg/inviter"
	"cauase/pkg/testkit/pkitest"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Whoever is invited gets the names that the invitation allows, and of all else what the profile allows, whatever the
// request asks for: no CA, nothing that only CAs or responders may do, no other validity.
func TestWhatARequestCannotHaveByAnInvitation(t *testing.T) {
	s := newSite(t)
	id := func(last ...int) asn1.ObjectIdentifier { return append(asn1.ObjectIdentifier{2, 5, 29}, last...) }
	ocspSigning, codeSigning := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	authority := pkix.Extension{Id: id(19), Critical: true, Value: marshal(t, struct {
		CA bool
	}{true})}
	signs := pkix.Extension{Id: id(15), Critical: true, Value: marshal(t, asn1.BitString{Bytes: []byte{0x86}, BitLength: 7})} // digitalSignature, keyCertSign, cRLSign
	answers := pkix.Extension{Id: id(37), Value: marshal(t, []asn1.ObjectIdentifier{ocspSigning})}
	constraints := pkix.Extension{Id: id(30), Critical: true, Value: []byte{0x30, 0x00}}
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}, Value: []byte{0x05, 0x00}}
	for name, test := range map[string]struct {
		profile string
		asked   []pkix.Extension
		usage   []x509.ExtKeyUsage
	}{
		"a CA":                  {"", []pkix.Extension{authority, signs}, nil},
		"a responder":           {"", []pkix.Extension{answers}, nil},
		"extensions of its own": {"", []pkix.Extension{constraints, unknown}, nil},
		"a CA, by a profile":    {"server", []pkix.Extension{authority, signs, answers}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		"usages beside the profile's": {"server", []pkix.Extension{{Id: id(37), Value: marshal(t, []asn1.ObjectIdentifier{codeSigning})}},
			[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			i := s.invitation("dns:*.web.example")
			i.Profile = test.profile
			req := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{DNSNames: []string{"a.web.example"}, ExtraExtensions: test.asked})
			got, err := s.cas.SubmitInvited(s.ctx, stranger, req, inviter.Of(sign(t, s.aliceKey, i)), ca.Asked{})
			if err != nil {
				t.Fatal(err)
			}
			crt := got.Issued.Certificate
			if crt.IsCA || crt.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || !slices.Equal(crt.DNSNames, []string{"a.web.example"}) {
				t.Errorf("a CA: %v, usage %b, names %v", crt.IsCA, crt.KeyUsage, crt.DNSNames)
			}
			if slices.Contains(crt.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || test.usage != nil && !slices.Equal(crt.ExtKeyUsage, test.usage) {
				t.Errorf("usages %v", crt.ExtKeyUsage)
			}
			for _, e := range crt.Extensions {
				if e.Id.Equal(constraints.Id) || e.Id.Equal(unknown.Id) {
					t.Errorf("extension %v", e.Id)
				}
			}
			if life := crt.NotAfter.Sub(s.clock.Now()); life > 93*day {
				t.Errorf("valid for %s", life)
			}
		})
	}
}
