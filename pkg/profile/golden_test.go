package profile

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/as-requested.golden anew")

// goldenP256 is the key of the vectors. Nobody has its private half.
const goldenP256 = `MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeLyAN1zEK1ND8xjUDXak3T2PN6fcPDWVXp9+8DnyI2qFOXjBBeJu45tcKh8WHTwVeVm/sGKKLSEszpEBsKLCXg==`

// A vector is a request as it reaches a profile.
type vector struct {
	name  string
	draft Draft
}

// vectors are what hosts and people ask for, and what some ask for in vain.
func vectors(t testing.TB) []vector {
	t.Helper()
	uri, err := url.Parse("spiffe://example.org/web")
	if err != nil {
		t.Fatal(err)
	}
	extension := func(critical bool, value any, arc ...int) pkix.Extension {
		return pkix.Extension{Id: append(asn1.ObjectIdentifier{2, 5, 29}, arc...), Critical: critical, Value: der(t, value)}
	}
	usage := func(bits byte, critical bool) pkix.Extension {
		n := 8
		for n > 0 && bits&(1<<(8-n)) == 0 {
			n--
		}
		return extension(critical, asn1.BitString{Bytes: []byte{bits}, BitLength: n}, 15)
	}
	purposes := func(last ...int) pkix.Extension {
		var ids []asn1.ObjectIdentifier
		for _, n := range last {
			ids = append(ids, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, n})
		}
		return extension(false, ids, 37)
	}
	type policy struct{ ID asn1.ObjectIdentifier }
	foreign := extension(false, []policy{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}}}, 32)
	named := func(cn string, extensions ...pkix.Extension) *x509.CertificateRequest {
		return &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, ExtraExtensions: extensions}
	}
	requests := []struct {
		name string
		csr  *x509.CertificateRequest
	}{
		{"plain", named("plain")},
		{"everything", &x509.CertificateRequest{
			Subject:         pkix.Name{CommonName: "www.example.org", Organization: []string{"Example"}, OrganizationalUnit: []string{"IT"}, Country: []string{"DE"}},
			DNSNames:        []string{"www.example.org", "*.example.org"},
			IPAddresses:     []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")},
			EmailAddresses:  []string{"ops@example.org"},
			URIs:            []*url.URL{uri},
			ExtraExtensions: []pkix.Extension{usage(0x80, true), purposes(1, 2), foreign},
		}},
		{"no subject", &x509.CertificateRequest{DNSNames: []string{"only.example.org"}}},
		{"UTF8String", named("Jürgen Müller 🎩")},
		{"OCSP signer", named("signer", usage(0xc0, false), purposes(9), foreign)},
		{"would be a CA", named("would be a CA", usage(0x86, true), purposes(9, 1), extension(true, struct{ CA bool }{true}, 19))},
		{"long name", named(strings.Repeat("long", 16))},
		{"agreement", named("agreement", usage(0x88, true))},
		{"encipher only", named("encipher only", usage(0x89, true))},
		{"encipher only without agreement", named("useless", usage(0x01, true))},
		{"code", named("code", usage(0x80, true), purposes(3, 8))},
		{"unknown extension", named("unknown", pkix.Extension{Id: oidPoison, Value: []byte{5, 0}})},
		{"what is replaced", named("replaced", extension(false, []byte{1}, 14), extension(false, []asn1.RawValue{}, 31), extension(true, []asn1.RawValue{}, 30))},
		{"own policy", named("own policy", pkix.Extension{Id: oidCertificatePolicies, Critical: true, Value: policySequence(t, arcHex+"00", "2a0304")})},
		{"legacy policy", named("legacy policy", pkix.Extension{Id: oidCertificatePolicies, Value: policySequence(t, legacyHex+"00")})},
	}
	pub := goldenKey(t)
	_, signer := caWith(t, CA{Subject: []byte{0x30, 0}}) // any key will do
	var all []vector
	for i, r := range requests {
		made, err := x509.CreateCertificateRequest(rand.Reader, r.csr, signer)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.ParseCertificateRequest(made)
		if err != nil {
			t.Fatal(err)
		}
		draft := Draft{
			Subject: csr.RawSubject, Extensions: csr.Extensions, PublicKey: pub, Serial: big.NewInt(int64(1000 + i)),
			NotBefore: now, NotAfter: now.Add(93 * 24 * time.Hour), IssuerKey: []byte("twenty bytes of key!"),
		}
		add := func(how string, change func(*Draft)) {
			d := draft
			change(&d)
			all = append(all, vector{r.name + ", " + how, d})
		}
		add("approved", func(*Draft) {})
		add("approved, with a CRL", func(d *Draft) { d.CRLURL = "http://ca.example.org:8009/cas/crl/1234" })
		add("signed without asking", func(d *Draft) { d.AutoSigned = true })
		add("renewed", func(d *Draft) { d.Renewal = true })
	}
	return all
}

func goldenKey(t testing.TB) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode([]byte("-----BEGIN PUBLIC KEY-----\n" + goldenP256 + "\n-----END PUBLIC KEY-----\n"))
	if block == nil {
		t.Fatal("no PEM")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// TestAsRequestedIsAsEver compares what as-requested makes with what was made before there
// were profiles, byte for byte: the certificates that deployed clients get must not change.
func TestAsRequestedIsAsEver(t *testing.T) {
	ca, key := caWith(t, CA{Subject: []byte{0x30, 0}})
	ca.SubjectKeyId = []byte("twenty bytes of key!")
	var out strings.Builder
	for _, v := range vectors(t) {
		template, err := AsRequested().Template(v.draft)
		if err != nil {
			fmt.Fprintf(&out, "%s: refused\n", v.name)
			continue
		}
		made, err := x509.CreateCertificate(rand.Reader, template, ca, v.draft.PublicKey, key)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		crt, err := x509.ParseCertificate(made)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		fmt.Fprintf(&out, "%s: %s\n", v.name, hex.EncodeToString(crt.RawTBSCertificate))
	}
	path := filepath.Join("testdata", "as-requested.golden")
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	if len(got) != len(old) {
		t.Fatalf("%d vectors, but %d golden ones", len(got), len(old))
	}
	for i := range got {
		if got[i] != old[i] {
			t.Errorf("got\n%s\nwant\n%s", got[i], old[i])
		}
	}
}
