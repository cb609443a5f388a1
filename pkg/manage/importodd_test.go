package manage

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/caucase"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// odd are the services in testdata/caucase/odd: what is shown of their names, and whether crypto/x509 reads them.
var odd = map[string]struct {
	names    []string
	readable bool
}{
	"network":   {[]string{"DNS:host.example", "IP:10.0.0.0/8"}, false},
	"network6":  {[]string{"IP:2001:db8::/32"}, false},
	"uri":       {[]string{"DNS:host.example", "URI:http://[::1", "URI:http://a b/%zz"}, false},
	"mail":      {[]string{"email:no mail at all", "DNS:a..b", "DNS:*.*"}, true},
	"directory": {[]string{"directoryName:CN=somewhere", "registeredID:1.2.3.4", "otherName:1.3.6.1.4.1.311.20.2.3"}, true},
	"nobody":    {nil, true},
	"control":   {nil, true},
	"bmp":       {nil, true},
	"purpose":   {nil, false},
	"curve":     {[]string{"DNS:host.example"}, false},
}

// oddHolder returns the certificate in a file and its key, nil if that is of a kind that is not known here.
func (l leftBehind) oddHolder(name string) (*x509.Certificate, crypto.Signer) {
	l.t.Helper()
	var crt *x509.Certificate
	var key crypto.Signer
	for _, block := range must[[]*pem.Block](l.t)(pki.SplitPEM(l.read(name + ".pem"))) {
		switch {
		case block.Type == "CERTIFICATE":
			crt = must[*x509.Certificate](l.t)(pki.ParseIssuedDER(block.Bytes))
		case name != "curve":
			key = must[crypto.Signer](l.t)(pki.ParsePrivateKeyBlock(block))
		}
	}
	return crt, key
}

// oddRequest asks for the names of a certificate, for another key.
func oddRequest(t testing.TB, crt *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.CertificateRequest{RawSubject: crt.RawSubject}
	for _, ext := range crt.Extensions {
		if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			template.ExtraExtensions = append(template.ExtraExtensions, ext)
		}
	}
	return pki.EncodeCSRPEM(must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, template, key)))
}

func TestOddCertificatesOfCaucaseLiveOn(t *testing.T) {
	ctx := t.Context()
	l := caucaseOf(t, "odd")
	st := newStore(t)
	report := must[caucase.Report](t)(ImportCaucase(ctx, st, l.now, l.database(), nil))
	if len(report.LeftOut) > 0 {
		t.Errorf("left out: %v", report.LeftOut)
	}
	if !slices.ContainsFunc(report.Notes, func(n string) bool {
		return strings.Contains(n, "CN=netuser") && strings.Contains(n, "not be used over HTTPS")
	}) {
		t.Errorf("nothing is said of the user whose certificate TLS refuses: %q", report.Notes)
	}
	if findings, _ := check(t, st, l.now); len(findings) > 0 {
		t.Errorf("check: %s", strings.Join(findings, "\n"))
	}
	clk := clock.NewFake(l.now.Add(time.Minute))
	users, services := openAuthority(t, st, clk, store.Users), openAuthority(t, st, clk, store.Services)
	aliceCrt, _ := l.oddHolder("alice")
	alice := must[audit.Actor](t)(users.Authenticate(ctx, audit.Actor{}, aliceCrt))
	stranger := audit.Actor{Kind: audit.Anonymous}

	for name, want := range odd {
		t.Run(name, func(t *testing.T) {
			crt, key := l.oddHolder(name)
			if _, err := x509.ParseCertificate(crt.Raw); (err == nil) != want.readable {
				t.Errorf("crypto/x509: %v", err)
			}
			if got := pki.SANStrings(crt.Extensions); !slices.Equal(got, want.names) {
				t.Errorf("shown as %q, want %q", got, want.names)
			}
			newest := crt
			if key != nil {
				// The request repeats the names, as caucase's client does it: the key is all that counts.
				next := pkitest.Key(t)
				request := oddRequest(t, crt, next)
				if _, err := pki.ParseRequest(request); err == nil && !want.readable && name != "purpose" && name != "curve" {
					t.Error("a new request for these names is accepted")
				}
				e := envelopetest.Parse(t, envelopetest.Renewal(t, crt, key, request))
				newest = must[*x509.Certificate](t)(pki.ParseIssuedPEM(must[[]byte](t)(catest.Wired(services).Renew(ctx, stranger, e))))
				if !pki.SameKey(newest.PublicKey, next.Public()) || string(newest.RawSubject) != string(crt.RawSubject) ||
					!slices.Equal(pki.SANStrings(newest.Extensions), want.names) {
					t.Errorf("renewed as %s %q", pki.SubjectString(newest.RawSubject), pki.SANStrings(newest.Extensions))
				}
			}
			if err := services.RevokeCertificate(ctx, alice, newest, ca.Revoking{}); err != nil {
				t.Fatalf("revoking by certificate: %v", err)
			}
			if err := services.RevokeSerial(ctx, alice, newest.SerialNumber, ca.Revoking{OnlyThis: true}); !errors.Is(err, ca.ErrConflict) {
				t.Errorf("revoking again, by serial: %v", err)
			}
			if key == nil {
				return
			}
			e := envelopetest.Parse(t, envelopetest.Renewal(t, crt, key, oddRequest(t, crt, pkitest.Key(t))))
			if _, err := catest.Wired(services).Renew(ctx, stranger, e); !errors.Is(err, ca.ErrInvalid) {
				t.Errorf("renewing what is revoked: %v", err)
			}
		})
	}
	list := parseList(t, services)
	for name := range odd {
		crt, _ := l.oddHolder(name)
		if !slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(crt.SerialNumber) == 0 }) {
			t.Errorf("%s is not on the list", name)
		}
	}
	if findings, _ := check(t, st, clk.Now()); len(findings) > 0 {
		t.Errorf("check afterwards: %s", strings.Join(findings, "\n"))
	}
}

// TestHoldersOfAnImportedCARenew has whoever was certified elsewhere go on, with a name that no new request may have. A
// serial number that cannot be on record is the one thing that ends there.
func TestHoldersOfAnImportedCARenew(t *testing.T) {
	ctx := t.Context()
	made := makeCA(t, pkitest.Key(t), nil)
	st := importedCA(t, made)
	services := openAuthority(t, st, clock.NewFake(importTime), store.Services)
	stranger := audit.Actor{Kind: audit.Anonymous}
	for name, subject := range map[string]string{
		"PrintableString with an underscore": "\x30\x12\x31\x10\x30\x0e\x06\x03\x55\x04\x03\x13\x07app_1.x",
		"T61String":                          "\x30\x12\x31\x10\x30\x0e\x06\x03\x55\x04\x03\x14\x07app\xe91.x",
		"nobody":                             "\x30\x00",
	} {
		t.Run(name, func(t *testing.T) {
			key := pkitest.Key(t)
			der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, &x509.Certificate{
				RawSubject: []byte(subject), SerialNumber: must[*big.Int](t)(pki.NewSerial()), NotBefore: importTime.Add(-day), NotAfter: importTime.Add(day),
			}, made.Crt, key.Public(), made.Key))
			crt := must[*x509.Certificate](t)(pki.ParseIssuedDER(der))
			request := oddRequest(t, crt, pkitest.Key(t))
			if _, err := pki.ParseRequest(request); err == nil {
				t.Error("a new request for this name is accepted")
			}
			e := envelopetest.Parse(t, envelopetest.Renewal(t, crt, key, request))
			renewed := must[*x509.Certificate](t)(pki.ParseIssuedPEM(must[[]byte](t)(catest.Wired(services).Renew(ctx, stranger, e))))
			if string(renewed.RawSubject) != subject {
				t.Errorf("renewed as %s", pki.SubjectString(renewed.RawSubject))
			}
			crt.SerialNumber = big.NewInt(-5)
			_, err := services.Holder(ctx, stranger, crt, func(crypto.PublicKey) error { return nil })
			if !errors.Is(err, ca.ErrInvalid) || !strings.Contains(err.Error(), "serial number -0x5 is not one of 1 to 20 bytes") {
				t.Errorf("with a negative serial number: %v", err)
			}
		})
	}
}
