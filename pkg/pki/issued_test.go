package pki

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A testCrt is a certificate in parts, as DER. The zero value is a good one.
type testCrt struct {
	version    int64 // 0: 3
	serial     int64 // 0: 5
	longSerial *big.Int
	subject    []byte
	spki       []byte
	extensions [][]byte
}

func (c testCrt) der(t testing.TB, issuer *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	serial := big.NewInt(c.serial)
	if c.serial == 0 {
		serial = big.NewInt(5)
	}
	if c.longSerial != nil {
		serial = c.longSerial
	}
	version := c.version
	if version == 0 {
		version = 3
	}
	spki := c.spki
	if spki == nil {
		der, err := x509.MarshalPKIXPublicKey(ecKey(t, elliptic.P256()).Public())
		if err != nil {
			t.Fatal(err)
		}
		spki = der
	}
	subject := c.subject
	if subject == nil {
		subject = cn("alice")
	}
	algorithm := seq(oid(oidECDSASHA256))
	times := seq(tlv(cbasn1.UTCTime, []byte("260101000000Z")), tlv(cbasn1.UTCTime, []byte("360101000000Z")))
	zero, three := cbasn1.Tag(0).ContextSpecific().Constructed(), cbasn1.Tag(3).ContextSpecific().Constructed()
	parts := [][]byte{tlv(zero, integer(big.NewInt(version-1))), integer(serial), algorithm, issuer.RawSubject, times, subject, spki}
	if c.extensions != nil {
		parts = append(parts, tlv(three, seq(c.extensions...)))
	}
	tbs := seq(parts...)
	return seq(tbs, algorithm, bitString(signWith(key, crypto.SHA256)(t, tbs)))
}

func issuingCA(t testing.TB) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, BasicConstraintsValid: true, IsCA: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("a CA"),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca, key
}

func TestParseIssuedReadsWhatOthersHaveIssued(t *testing.T) {
	ca, key := issuingCA(t)
	secp256k1 := seq(seq(oid(oidEC), oid(asn1.ObjectIdentifier{1, 3, 132, 0, 10})), bitString(append([]byte{4}, make([]byte, 64)...)))
	network := san(general(nameIP, "\x0a\x00\x00\x00\xff\x00\x00\x00"))
	value := func(tag cbasn1.Tag, s string) []byte { return seq(set(seq(oid(oidCN), tlv(tag, []byte(s))))) }
	notDER := seq(oid(oidTLSFeature), []byte{1, 1, 1}, tlv(cbasn1.OCTET_STRING, []byte{5, 0}))
	usage := extension(oidKeyUsage, true, []byte{3, 2, 7, 0x80})
	bigPurpose := extension(oidEKU, false, seq(bigOID(t, "2.25.285541874270823339875695650038637483517")))
	for name, tc := range map[string]struct {
		crt  testCrt
		sans []string
	}{
		"a network":              {testCrt{extensions: [][]byte{network}}, []string{"IP:10.0.0.0/8"}},
		"gaps in a mask":         {testCrt{extensions: [][]byte{san(general(nameIP, "\x0a\x00\x00\x00\xff\x00\xff\x00"))}}, []string{"IP:10.0.0.0/ff00ff00"}},
		"an address of 5 bytes":  {testCrt{extensions: [][]byte{san(general(nameIP, "12345"))}}, []string{"IP:#3132333435"}},
		"a malformed URI":        {testCrt{extensions: [][]byte{san(general(nameURI, "http://[::1"))}}, []string{"URI:http://[::1"}},
		"a Unicode host":         {testCrt{extensions: [][]byte{san(dns("bücher.example"))}}, []string{"DNS:bücher.example"}},
		"negative serial number": {testCrt{serial: -5}, nil},
		"enormous serial number": {testCrt{longSerial: new(big.Int).Lsh(big.NewInt(1), 300)}, nil},
		"underscore":             {testCrt{subject: value(cbasn1.PrintableString, "a_b")}, nil},
		"8-bit IA5String":        {testCrt{subject: value(cbasn1.IA5String, "a\xe9")}, nil},
		"invalid UTF-8":          {testCrt{subject: value(cbasn1.UTF8String, "a\xff")}, nil},
		"odd BMPString":          {testCrt{subject: value(tagBMPString, "abc")}, nil},
		"a number for a name":    {testCrt{subject: value(cbasn1.INTEGER, "\x01")}, nil},
		"version 5":              {testCrt{version: 5, extensions: [][]byte{usage}}, nil},
		"extension twice":        {testCrt{extensions: [][]byte{usage, usage, san(dns("a.example")), san(dns("b.example"))}}, []string{"DNS:a.example"}},
		"BOOLEAN of BER":         {testCrt{extensions: [][]byte{notDER, usage}}, nil},
		"purpose of 128 bits":    {testCrt{extensions: [][]byte{bigPurpose, usage}}, nil},
		"unusual curve":          {testCrt{spki: secp256k1, extensions: [][]byte{network}}, []string{"IP:10.0.0.0/8"}},
		"malformed policies":     {testCrt{extensions: [][]byte{extension(oidPolicies, false, []byte{5, 0}), usage}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			der := tc.crt.der(t, ca, key)
			if crt, err := ParseCertificateDER(der); err == nil && name != "enormous serial number" {
				t.Errorf("the strict reader takes it: %s", crt.Subject)
			}
			crt, err := ParseIssuedDER(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(crt.Raw, der) {
				t.Error("it is not kept as it is")
			}
			if got := SANStrings(crt.Extensions); !slices.Equal(got, tc.sans) {
				t.Errorf("names %q, want %q", got, tc.sans)
			}
			if _, err := VerifyIssued(crt, []*x509.Certificate{ca}, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
				t.Errorf("it does not verify: %v", err)
			}
			if id, err := KeyIDOf(crt); err != nil || len(id) == 0 {
				t.Errorf("key identifier %x, %v", id, err)
			}
			if name == "purpose of 128 bits" && len(crt.UnknownExtKeyUsage) == 0 {
				t.Error("it would be good for every purpose")
			}
			if name == "unusual curve" && crt.PublicKey != nil {
				t.Errorf("it has the key %v", crt.PublicKey)
			}
			if name == "negative serial number" && crt.SerialNumber.Int64() != -5 {
				t.Errorf("serial %v", crt.SerialNumber)
			}
			der[len(der)-3] ^= 1
			if other, err := ParseIssuedDER(der); err == nil {
				if _, err := VerifyIssued(other, []*x509.Certificate{ca}, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil {
					t.Error("it verifies with another signature")
				}
			}
		})
	}
}

// TestParseIssuedMakesNobodyACA has the lenient reader refuse whatever could make a CA of a certificate, and what is
// none at all.
func TestParseIssuedMakesNobodyACA(t *testing.T) {
	ca, key := issuingCA(t)
	network := san(general(nameIP, "\x0a\x00\x00\x00\xff\x00\x00\x00"))
	isCA := extension(oidBasic, true, seq([]byte{1, 1, 0xff}))
	for name, crt := range map[string]testCrt{
		"a CA with a network":         {extensions: [][]byte{isCA, network}},
		"a CA in BER":                 {extensions: [][]byte{extension(oidBasic, true, seq([]byte{1, 1, 1})), network}},
		"a CA, and none":              {extensions: [][]byte{extension(oidBasic, true, seq()), isCA, network}},
		"malformed basic constraints": {extensions: [][]byte{extension(oidBasic, true, []byte{5, 0}), network}},
		"malformed key usage":         {extensions: [][]byte{extension(oidKeyUsage, true, []byte{5, 0}), network}},
		"malformed extension":         {extensions: [][]byte{seq(oid(oidSAN))}},
	} {
		if crt, err := ParseIssuedDER(crt.der(t, ca, key)); err == nil {
			t.Errorf("%s: is read, CA: %v", name, crt.IsCA)
		} else {
			checkRefused(t, err, "certificate", "")
		}
	}
	good := testCrt{extensions: [][]byte{network}}.der(t, ca, key)
	for _, der := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), 0), seq(), seq(good, good)} {
		if _, err := ParseIssuedDER(der); err == nil {
			t.Errorf("%x is read", der)
		}
	}
}

// TestRenewalRequestsAreTheirKeys has the names in them be of no matter, and all else.
func TestRenewalRequestsAreTheirKeys(t *testing.T) {
	odd := testCSR{subject: seq(set(seq(oid(oidCN), tlv(cbasn1.PrintableString, []byte("a_b"))))),
		attributes: extRequest(san(general(nameIP, "\x0a\x00\x00\x00\xff\x00\x00\x00")), san(dns("a..b")))}
	text := odd.pem(t)
	if _, err := ParseRequest(text); err == nil {
		t.Error("a new request for these names is accepted")
	}
	req, err := ParseRenewalRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(req.CSR.Extensions) > 0 || len(req.SANs) > 0 || req.Subject != "" || len(req.KeyID) != 20 || req.CSR.PublicKey == nil {
		t.Errorf("%+v", req)
	}
	for _, tc := range map[string]struct {
		csr testCSR
		why string
	}{
		"by another key": {testCSR{sign: signWith(ecKey(t, elliptic.P256()), crypto.SHA256)}, "does not verify"},
		"RSA 1024":       {testCSR{spki: rsaSPKI(oddOfSize(t, 1024), big.NewInt(65537))}, "at least 2048"},
		"version 3":      {testCSR{version: 2}, "version 2"},
	} {
		_, err := ParseRenewalRequest(tc.csr.pem(t))
		checkRefused(t, err, "CSR", tc.why)

	}
	_, err = ParseRenewalRequest(EncodeCSRPEM(bytes.Replace(odd.der(t), []byte("a_b"), []byte("a_c"), 1)))
	checkRefused(t, err, "CSR", "does not verify")
	plain := testCSR{noAttrs: true}
	if _, err := ParseRenewalRequest(plain.pem(t)); err != nil {
		t.Errorf("without attributes: %v", err)
	}
}

// FuzzParseIssued: what is read is a certificate of nobody's but who is named, and of no CA unless the strict reader
// says so.
func FuzzParseIssued(f *testing.F) {
	ca, key := issuingCA(f)
	f.Add(testCrt{extensions: [][]byte{san(general(nameIP, "\x0a\x00\x00\x00\xff\x00\x00\x00"))}}.der(f, ca, key))
	f.Add(testCrt{serial: -5, extensions: [][]byte{extension(oidBasic, true, seq([]byte{1, 1, 0xff}))}}.der(f, ca, key))
	f.Add(testCrt{subject: seq(set(seq(oid(oidCN), tlv(cbasn1.PrintableString, []byte("a_b"))))), version: 1}.der(f, ca, key))
	f.Fuzz(func(t *testing.T, der []byte) {
		crt, err := ParseIssuedDER(der)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		if !bytes.Equal(crt.Raw, der) || !bytes.Contains(der, crt.RawTBSCertificate) || crt.SerialNumber == nil {
			t.Error("parts are not those of the input")
		}
		if strict, err := ParseCertificateDER(der); err != nil && crt.IsCA || err == nil && strict.IsCA != crt.IsCA {
			t.Error("who is a CA depends on the reader")
		}
		var tbs cryptobyte.String
		input := cryptobyte.String(der)
		if !input.ReadASN1(&tbs, cbasn1.SEQUENCE) {
			t.Error("read without being a SEQUENCE")
		}
		wantPrintable(t, SubjectString(crt.RawSubject))
		for _, name := range SANStrings(crt.Extensions) {
			wantPrintable(t, name)
		}
	})
}
