package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestCheckCA(t *testing.T) {
	key, err := KeyRSA2048.Generate()
	if err != nil {
		t.Fatal(err)
	}
	made := func(change func(*x509.Certificate)) *x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Unix(2_000_000_000, 0),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		change(template)
		parent := *template
		if template.Issuer.CommonName != "" {
			parent.Subject = template.Issuer
		}
		der, err := x509.CreateCertificate(rand.Reader, template, &parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return crt
	}
	critical := pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	damaged := made(func(*x509.Certificate) {})
	damaged.Signature[20] ^= 1
	nameless := made(func(*x509.Certificate) {})
	nameless.SubjectKeyId = nil
	old := made(func(*x509.Certificate) {})
	old.SignatureAlgorithm = x509.MD5WithRSA // which is not looked at
	for name, tc := range map[string]struct {
		crt  *x509.Certificate
		want string // part of the error, "" for none
	}{
		"good":         {made(func(*x509.Certificate) {}), ""},
		"no key usage": {made(func(c *x509.Certificate) { c.KeyUsage = 0 }), ""},
		"MD5":          {old, ""},
		"no CA":        {made(func(c *x509.Certificate) { c.IsCA = false }), "not a CA"},
		"no lists":     {made(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "may not sign"},
		"only lists":   {made(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), "may not sign"},
		"intermediate": {made(func(c *x509.Certificate) { c.Issuer.CommonName = "Root" }), "own issuer"},
		"critical":     {made(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{critical} }), "critical"},
		"damaged":      {damaged, "own key"},
		"no key id":    {nameless, "key identifier"},
	} {
		err := CheckCA(tc.crt)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
