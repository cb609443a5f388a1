package signoff

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
)

var when = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

func wanted(t testing.TB) Wanted {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "Lab"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	if err != nil {
		t.Fatal(err)
	}
	return Wanted{CSR: csr, NotBefore: when, NotAfter: when.AddDate(1, 0, 0)}
}

func request(t testing.TB) Request {
	return Request{Authority: "lab", Parent: "home-root", Created: when, Base: "http://ca.example:8009",
		Permitted: []string{"dns:.lab.example"}, Generations: []Wanted{wanted(t), wanted(t)}}
}

func answer(t testing.TB) Answer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: when,
		NotAfter: when.AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: when, NextUpdate: when.AddDate(1, 0, 0)}, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Authority: "lab", Parent: "home-root", Created: when, Certificates: []*x509.Certificate{crt},
		Parents: []*x509.Certificate{crt}, Succession: []string{`{"payload":"x"}`}, Lists: [][]byte{list}}
}

func TestFilesComeBack(t *testing.T) {
	r := request(t)
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRequest(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Authority != "lab" || got.Parent != "home-root" || got.Base != r.Base || len(got.Generations) != 2 || got.Permitted[0] != r.Permitted[0] ||
		!got.Created.Equal(when) || !got.Generations[1].NotAfter.Equal(r.Generations[1].NotAfter) ||
		!pki.SameKey(got.Generations[1].CSR.CSR.PublicKey, r.Generations[1].CSR.CSR.PublicKey) {
		t.Errorf("%+v", got)
	}
	a := answer(t)
	if data, err = a.Encode(); err != nil {
		t.Fatal(err)
	}
	back, err := ParseAnswer(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("%v: it comes back as\n%s\nand was\n%s", err, again, data)
	}
}

func TestFingerprint(t *testing.T) {
	if got := Fingerprint([]byte("x")); got != "2d71-1642-b726-b044-0162-7ca9-fbac-32f5" {
		t.Error(got)
	}
}

func TestFilesAreRefused(t *testing.T) {
	data, err := request(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	reply, err := answer(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	one := request(t)
	one.Generations[1] = one.Generations[0]
	twice, err := one.Encode()
	if err != nil {
		t.Fatal(err)
	}
	none := request(t)
	none.Generations = nil
	empty, err := none.Encode()
	if err != nil {
		t.Fatal(err)
	}
	backwards := request(t)
	backwards.Generations[0].NotAfter = backwards.Generations[0].NotBefore
	never, err := backwards.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ in, want string }{
		"nothing":               {"", "not JSON"},
		"something else":        {`{"format":"x","version":1}`, "none of a sign-off"},
		"the answer":            {string(reply), "is the answer"},
		"another version":       {strings.Replace(good, `"version": 1`, `"version": 2`, 1), "version 2"},
		"an unknown member":     {strings.Replace(good, `"authority"`, `"x": 1, "authority"`, 1), "unknown"},
		"a member twice":        {strings.Replace(good, `"authority"`, `"authority": "cas", "authority"`, 1), "duplicate"},
		"a member in capitals":  {strings.Replace(good, `"authority"`, `"Authority"`, 1), "unknown"},
		"data behind":           {good + "{}", "after"},
		"a broken request":      {strings.Replace(good, "REQUEST-----\\n", "REQUEST-----\\nAAAA", 1), "generations/0"},
		"the same key twice":    {string(twice), "has the key of generations/0"},
		"no generation":         {string(empty), "0 of them"},
		"no time":               {string(never), "not_after"},
		"a number for a name":   {strings.Replace(good, `"lab"`, `7`, 1), "/authority"},
		"more than fits a file": {strings.Repeat(" ", MaxSize+1), "longer"},
		"deep nesting":          {strings.Repeat("[", 100_000), "not JSON"},
		"invalid UTF-8":         {strings.Replace(good, "lab", "l\xffb", 1), "UTF-8"},
	} {
		_, err := ParseRequest([]byte(test.in))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
	if _, err := ParseAnswer(data); err == nil || !strings.Contains(err.Error(), "is a request") {
		t.Errorf("a request in place of the answer: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, make := range []func() ([]byte, error){request(f).Encode, answer(f).Encode} {
		data, err := make()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRequest(data); err == nil {
			if _, err := r.Encode(); err != nil {
				t.Error(err)
			}
		}
		if a, err := ParseAnswer(data); err == nil {
			if _, err := a.Encode(); err != nil {
				t.Error(err)
			}
		}
	})
}
