package profile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
)

func TestParsePermittedRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no kind":                 "lab.example",
		"an unknown kind":         "dirname:C=FR",
		"an empty domain":         "dns:",
		"a period alone":          "dns:.",
		"a wildcard":              "dns:*.lab.example",
		"an empty label":          "dns:a..example",
		"a name beyond ASCII":     "dns:ünï.example",
		"a scheme":                "uri:https://example.org",
		"host bits":               "ip:10.1.2.3/8",
		"a netmask":               "ip:10.0.0.0/255.0.0.0",
		"no address":              "ip:example.org",
		"a zone":                  "ip:fe80::1%eth0",
		"an IPv4 network as IPv6": "ip:::ffff:10.0.0.0/104",
		"two at signs":            "email:a@b@example.org",
		"a NUL":                   "dns:a\x00.example",
	} {
		if p, err := ParsePermitted([]string{text}); err == nil {
			t.Errorf("%s: %q gives %+v", name, text, p)
		}
	}
	if _, err := ParsePermitted(strings.Split(strings.Repeat("dns:a.example ", maxPermitted+1), " ")); err == nil {
		t.Error("more than fit")
	}
}

// TestPermittedNames verifies leaves below constrained CAs.
func TestPermittedNames(t *testing.T) {
	when := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	leafOf := func(name string) *x509.Certificate {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: when, NotAfter: when.Add(time.Hour)}
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = []net.IP{ip}
		} else if strings.Contains(name, "@") {
			leaf.EmailAddresses = []string{name}
		} else {
			leaf.DNSNames = []string{name}
		}
		return leaf
	}
	tests := []struct {
		permitted []string
		yes, no   []string
	}{
		{nil, []string{"a.example", "10.1.2.3", "2001:db8::1", "x@example.org"}, nil},
		{[]string{"dns:.lab.example"}, []string{"a.lab.example", "lab.example"}, []string{"example", "alab.example", "10.1.2.3", "::1"}},
		{[]string{"ip:10.0.0.0/8"}, []string{"10.255.0.1"}, []string{"11.0.0.1", "::1", "a.example"}},
		{[]string{"ip:2001:db8::/32"}, []string{"2001:db8::7"}, []string{"2001:db9::1", "10.0.0.1", "a.example"}},
		{[]string{"dns:a.example", "dns:b.example", "ip:192.0.2.1"}, []string{"a.example", "x.b.example", "192.0.2.1"}, []string{"c.example", "192.0.2.2"}},
		{[]string{"dns:a.example", "email:root@a.example"}, []string{"root@a.example", "root@A.example"}, []string{"Root@a.example", "x@a.example"}},
		{[]string{"dns:a.example", "email:a.example"}, []string{"x@a.example", "a.example"}, []string{"x@b.example"}},
	}
	for _, test := range tests {
		p, err := ParsePermitted(test.permitted)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: when, NotAfter: when.Add(time.Hour),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
		p.apply(template)
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if ca.PermittedDNSDomainsCritical == p.None() {
			t.Errorf("%v: critical %v", test.permitted, ca.PermittedDNSDomainsCritical)
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		check := func(name string, want bool) {
			der, err := x509.CreateCertificate(rand.Reader, leafOf(name), ca, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: when, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			if (err == nil) != want {
				t.Errorf("%v: %s: %v", test.permitted, name, err)
			}
			if err := CheckNames(ca, pki.SANStrings(leaf.Extensions)); (err == nil) != want {
				t.Errorf("%v: %s: the check before signing says %v", test.permitted, name, err)
			}
		}
		for _, name := range test.yes {
			check(name, true)
		}
		for _, name := range test.no {
			check(name, false)
		}
	}
}

// TestMappedAddress has a name that standard libraries like to take for the address in it, and verifiers do not.
func TestMappedAddress(t *testing.T) {
	for permitted, want := range map[string]bool{"dns:lab.example": false, "ip:10.0.0.0/8": false, "ip:::/0": true} {
		p, err := ParsePermitted([]string{permitted})
		if err != nil {
			t.Fatal(err)
		}
		ca := &x509.Certificate{}
		p.apply(ca)
		if err := CheckNames(ca, []string{"IP:::ffff:10.1.2.3"}); (err == nil) != want {
			t.Errorf("%s: %v", permitted, err)
		}
	}
}

func FuzzParsePermitted(f *testing.F) {
	for _, seed := range []string{"dns:.lab.example", "ip:10.0.0.0/8", "email:a@b.example", "uri:.example", "ip:::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePermitted([]string{text})
		if err == nil && p.None() {
			t.Errorf("%q is accepted and permits everything", text)
		}
	})
}
