package pki

import (
	"bytes"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"testing"
	"unicode/utf8"
)

func FuzzParseRequest(f *testing.F) {
	f.Add(testCSR{}.pem(f))
	f.Add(testCSR{attributes: extRequest(san(dns("*.a.example"), general(nameIP, "\xc0\x00\x02\x01")))}.pem(f))
	f.Add(testCSR{subject: cn("a\u202eb"), key: ecKey(f, elliptic.P521())}.pem(f))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := ParseRequest(data)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		wantPrintable(t, req.Subject)
		for _, name := range req.SANs {
			wantPrintable(t, name)
		}
		again, err := ParseRequest(EncodeCSRPEM(req.CSR.Raw))
		if err != nil || again.Digest != req.Digest {
			t.Errorf("the same request wrapped anew is another: %v", err)
		}
	})
}

// FuzzRequestDER spares the fuzzer the base64 and, with a signature that cannot hold,
// looks at everything checked before it.
func FuzzRequestDER(f *testing.F) {
	f.Add(testCSR{}.der(f))
	f.Add(testCSR{attributes: extRequest(san(dns("a.example"), general(nameURI, "spiffe://a/b")),
		extension(oidKeyUsage, true, []byte{3, 2, 5, 0xa0}))}.der(f))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := ParseRequest(EncodeCSRPEM(der)); err != nil {
			wantRefusal(t, err)
		}
	})
}

// FuzzPEM compares with encoding/pem: what we accept it must read alike.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))
	f.Add([]byte("-----BEGIN X509 CRL-----\r\nAA\r\nAA \r\n-----END X509 CRL-----"))
	f.Add([]byte("text\n-----BEGIN A-----\nK: v\n\nAAAA\n-----END A-----\n-----END A-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if blocks, err := SplitPEM(data); err != nil {
			wantRefusal(t, err)
		} else {
			for _, block := range blocks {
				wantPrintable(t, block.Type)
			}
		}
		der, err := onlyBlock(data, 1<<20, typeCRL)
		if err != nil {
			return
		}
		block, rest := pem.Decode(data)
		if block == nil {
			return // encoding/pem may be the stricter of the two
		}
		if !bytes.Equal(block.Bytes, der) || block.Type != typeCRL || len(bytes.TrimSpace(rest)) > 0 {
			t.Errorf("encoding/pem reads %q %x, we %x", block.Type, block.Bytes, der)
		}
	})
}

func FuzzDisplay(f *testing.F) {
	f.Add(cn("alice"))
	f.Add(seq(dns("a\x00b"), general(nameIP, "1234")))
	f.Add([]byte("a\x1b\u202e\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		wantPrintable(t, EscapeText(string(data)))
		wantPrintable(t, SubjectString(data))
		names, err := parseSANs(data, MaxSANs)
		if err != nil {
			return
		}
		for _, name := range names {
			wantPrintable(t, name.display())
		}
	})
}

func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("%T is not a refusal: %v", err, err)
	}
	wantPrintable(t, err.Error())
}

func wantPrintable(t *testing.T, s string) {
	t.Helper()
	if !printable(s) {
		t.Errorf("not fit to print: %q", s)
	}
}

// FuzzDER reads what daemons and disks hold besides requests.
func FuzzDER(f *testing.F) {
	key, err := KeyECDSAP256.Generate()
	if err != nil {
		f.Fatal(err)
	}
	keyPEM, err := EncodePrivateKeyPEM(key)
	if err != nil {
		f.Fatal(err)
	}
	block, _ := pem.Decode(keyPEM)
	f.Add(block.Bytes)
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, typ := range []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"} {
			if _, err := ParsePrivateKeyPEM(encodePEM(typ, der)); err != nil {
				wantRefusal(t, err)
			}
		}
		if crt, err := ParseCertificatePEM(EncodeCertificatePEM(der)); err != nil {
			wantRefusal(t, err)
		} else {
			wantPrintable(t, SubjectString(crt.RawSubject))
			for _, name := range SANStrings(crt.Extensions) {
				wantPrintable(t, name)
			}
			_ = CheckPublicKey(crt.PublicKey)
		}
		if _, err := ParseCRLPEM(EncodeCRLPEM(der)); err != nil {
			wantRefusal(t, err)
		}
	})
}

// FuzzSameName compares names that an attacker has written: the answer does not depend on who comes
// first, a name is the same as itself, and one as it is prepared for comparison is the same as before.
func FuzzSameName(f *testing.F) {
	f.Add(cn("Caucase CAS at ca.example.org"), cn("CAUCASE  CAS at ca.example.org"), "Stra\u00dfe\u200b \u0130")
	f.Add(seq(set(seq(oid(oidCN), tlv(tagBMPString, []byte("\x00a"))))), seq(), "\u0345\u0399\ufb03 \u1fb3")
	f.Add([]byte{0x30, 0x80}, []byte{}, "\ud55c\u1112\u1161\u11ab \u0301")
	f.Fuzz(func(t *testing.T, a, b []byte, text string) {
		if SameName(a, b) != SameName(b, a) {
			t.Error("it depends on which comes first")
		}
		if !SameName(a, bytes.Clone(a)) || !SameName(b, bytes.Clone(b)) {
			t.Error("a name is not the same as itself")
		}
		if len(text) > MaxNameValue || !utf8.ValidString(text) {
			return
		}
		if prepared := prepareText(text); prepareText(prepared) != prepared {
			t.Errorf("%+q is prepared as %+q, and this as %+q", text, prepared, prepareText(prepared))
		}
	})
}
