package enroll_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// TestIssuedOnce: a certificate that could not be installed is not asked for again, but installed by the next attempt, also
// of another process.
func TestIssuedOnce(t *testing.T) {
	for files, combined := range map[string]bool{"two files": false, "one file": true} {
		t.Run(files, func(t *testing.T) {
			h := newHost(t, combined)
			h.must(h.attempt(false))
			h.daemon.Clock.Advance(time.Hour)
			h.asked = nil
			trust := h.trust()
			first, err := h.engine.Renew(t.Context(), enroll.Look(h.engine.Paths), trust)
			h.must(err) // and it is not installed
			again, err := h.engine.Renew(t.Context(), enroll.Look(h.engine.Paths), trust)
			h.must(err)
			if len(h.asked) != 1 || !again.Pair.Crt.Equal(first.Pair.Crt) {
				t.Errorf("asked for %d certificates", len(h.asked))
			}
			_, err = h.engine.Install(again)
			h.must(err)
			if !h.pair().Crt.Equal(first.Pair.Crt) || len(h.leftovers()) > 0 {
				t.Errorf("left: %v", h.leftovers())
			}
			// One that has nothing to do with what is here by now counts for nothing.
			h.daemon.Clock.Advance(time.Hour)
			_, err = h.engine.Renew(t.Context(), enroll.Look(h.engine.Paths), trust)
			h.must(err)
			h.must(pemfile.StageCertificate(h.engine.Paths, pemfile.Pair{Crt: first.Pair.Crt}))
			h.must(h.renew())
			if h.pair().Crt.Equal(first.Pair.Crt) || len(h.asked) != 3 {
				t.Errorf("asked for %d certificates", len(h.asked))
			}
		})
	}
}

// TestNothingAskedInVain: files that cannot be replaced cost no certificate.
func TestNothingAskedInVain(t *testing.T) {
	h := newHost(t, false)
	h.must(h.attempt(false))
	h.asked = nil
	h.must(os.Rename(h.path("web.crt"), h.path("real.crt")))
	h.must(os.Symlink("real.crt", h.path("web.crt")))
	for range 3 {
		if err := h.renew(); !errors.Is(err, pemfile.ErrSymlink) {
			t.Error(err)
		}
	}
	if len(h.asked) > 0 || len(h.leftovers()) > 0 {
		t.Errorf("asked for %d certificates; left: %v", len(h.asked), h.leftovers())
	}
}

// TestLikeTheOldKey: renewals make keys like those that others have made, of every type that is certified.
func TestLikeTheOldKey(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2560, err := rsa.GenerateKey(rand.Reader, 2560)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]crypto.Signer{"ECDSA P-521": p521, "RSA 2560": rsa2560} {
		t.Run(want, func(t *testing.T) {
			h := newHost(t, false)
			request, err := x509.CreateCertificateRequest(rand.Reader, names(), key)
			h.must(err)
			csr, err := x509.ParseCertificateRequest(request)
			h.must(err)
			_, err = pemfile.WritePair(h.engine.Paths, pemfile.Pair{Key: key, Crt: h.daemon.CAS.Issue(csr, key.Public())})
			h.must(err)
			h.daemon.Clock.Advance(time.Hour)
			h.must(h.renew())
			if got := h.pair().Key; pki.DescribeKey(got.Public()) != want || pki.SameKey(got.Public(), key.Public()) {
				t.Errorf("the new key is %s", pki.DescribeKey(got.Public()))
			}
		})
	}
}

// TestKeyUsage: requests ask for what their keys are for.
func TestKeyUsage(t *testing.T) {
	eku := func(oids ...asn1.ObjectIdentifier) pkix.Extension {
		value, err := asn1.Marshal(oids)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: value}
	}
	server, client := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	usage := func(value ...byte) pkix.Extension {
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: value}
	}
	san := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 3, 0x82, 1, 'a'}}
	for name, c := range map[string]struct {
		keyType  pki.KeyType
		template x509.CertificateRequest
		want     string // of the extension, in hexadecimal
	}{
		"ECDSA server":         {pki.KeyECDSAP256, x509.CertificateRequest{DNSNames: []string{"a"}}, "03020780"},
		"Ed25519":              {pki.KeyEd25519, x509.CertificateRequest{}, "03020780"},
		"RSA server":           {pki.KeyRSA2048, x509.CertificateRequest{DNSNames: []string{"a"}}, "030205a0"},
		"RSA server, encoded":  {pki.KeyRSA2048, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{san}}, "030205a0"},
		"RSA, for servers":     {pki.KeyRSA2048, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{eku(client, server)}}, "030205a0"},
		"RSA client":           {pki.KeyRSA2048, x509.CertificateRequest{DNSNames: []string{"a"}, ExtraExtensions: []pkix.Extension{eku(client)}}, "03020780"},
		"RSA without hosts":    {pki.KeyRSA2048, x509.CertificateRequest{EmailAddresses: []string{"a@b.example"}}, "03020780"},
		"what was asked for":   {pki.KeyRSA2048, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{usage(3, 2, 4, 0x10)}}, "03020410"},
		"of an RSA key before": {pki.KeyECDSAP256, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{usage(3, 2, 5, 0xa0)}}, "03020780"},
		"nothing else before":  {pki.KeyECDSAP256, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{usage(3, 2, 5, 0x20)}}, "03020780"},
		"agreement before":     {pki.KeyECDSAP256, x509.CertificateRequest{ExtraExtensions: []pkix.Extension{usage(3, 2, 3, 0x88)}}, "03020388"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, false)
			h.engine.KeyType = c.keyType
			c.template.Subject.CommonName = "web"
			before := len(c.template.ExtraExtensions)
			r, err := h.engine.NewRequest(&c.template, enroll.Look(h.engine.Paths), nil)
			h.must(err)
			got := ""
			for _, ext := range r.CSR.Extensions {
				if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) && ext.Critical {
					got += hex.EncodeToString(ext.Value)
				}
			}
			if got != c.want || len(c.template.ExtraExtensions) != before {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestErrorsOfFiles: what goes wrong with files is not taken for a network that does not answer.
func TestErrorsOfFiles(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "open", Path: "web.crt", Err: syscall.EBUSY},
		&os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.EBUSY},
		&os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.EXDEV},
		&fs.PathError{Op: "write", Path: "web.crt", Err: syscall.EIO},
	} {
		if class, hint := enroll.Explain(err, enroll.Reader{}); class == enroll.ClassNetwork {
			t.Errorf("%v: %s, %s", err, class, hint)
		}
	}
}
