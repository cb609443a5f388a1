package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode/utf16"
)

func asUTF16(text string, order binary.AppendByteOrder, mark bool) string {
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xfeff)
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// However a tool has written a request into a file, what is read is the request and nothing else of the file.
func TestRequestsOfOtherToolsAreRead(t *testing.T) {
	key, err := KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	want := string(EncodeCSRPEM(der))
	secret, err := EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := string(secret)
	keyBlock, _ := pem.Decode(secret)
	crt, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	legacy := strings.ReplaceAll(want, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	crlf := strings.ReplaceAll(want, "\n", "\r\n")
	text := "PKCS #10 Certificate Request Information:\n\tVersion: 1\n\tSubject: CN=web -- ü\n\n"
	for name, test := range map[string]struct{ file, note string }{
		"PEM":                         {want, ""},
		"the old label":               {legacy, ""},
		"CRLF":                        {crlf, ""},
		"text before":                 {text + want, ""},
		"text around":                 {text + want + "\nthat is all\n", ""},
		"no last line end":            {strings.TrimSpace(want), ""},
		"blanks at the ends of lines": {strings.ReplaceAll(want, "\n", " \n"), ""},
		"UTF-8 with a mark":           {"\ufeff" + want, ""},
		"UTF-16 with a mark":          {asUTF16(crlf, binary.LittleEndian, true), ""},
		"UTF-16, big-endian":          {asUTF16(crlf, binary.BigEndian, true), ""},
		"UTF-16 without a mark":       {asUTF16(legacy, binary.LittleEndian, false), ""},
		"DER":                         {string(der), ""},
		"with its key":                {keyPEM + want, "it holds a private key, too, which stays here"},
		"before its key":              {want + keyPEM, "it holds a private key, too, which stays here"},
		"with an old kind of key":     {strings.ReplaceAll(keyPEM, "PRIVATE KEY", "EC PRIVATE KEY") + want, "it holds a private key, too, which stays here"},
		"UTF-16, with its key":        {asUTF16(keyPEM+want, binary.LittleEndian, true), "it holds a private key, too, which stays here"},
		"with a certificate":          {want + string(EncodeCertificatePEM(crt)), ""},
	} {
		r, err := ReadLocalRequest([]byte(test.file))
		if err != nil || string(r.PEM) != want || r.Note != test.note {
			t.Errorf("%s: %q, note %q, %v", name, r.PEM, r.Note, err)
		}
	}
	for name, test := range map[string]struct{ file, says string }{
		"nothing":                       {"", "empty"},
		"blanks":                        {" \n", "empty"},
		"a key":                         {keyPEM, "a private key, and no certificate signing request"},
		"a key with a mark":             {"\ufeff" + keyPEM, "a private key"},
		"a key in DER":                  {string(keyBlock.Bytes), "a private key, and no"},
		"a key with the wrong label":    {strings.ReplaceAll(keyPEM, "PRIVATE KEY", "CERTIFICATE REQUEST"), "not a PKCS#10 request"},
		"a key behind DER":              {string(der) + keyPEM, "a private key, and no"},
		"a certificate":                 {string(EncodeCertificatePEM(crt)), "a certificate, and no"},
		"a certificate in DER":          {string(crt), "a certificate, and no"},
		"a certificate, labelled wrong": {string(encodePEM(typeCSR, crt)), "not a PKCS#10 request"},
		"two":                           {want + want, "2 certificate signing requests"},
		"base64 alone":                  {base64.StdEncoding.EncodeToString(der), "-----BEGIN CERTIFICATE REQUEST-----"},
		"prose":                         {"hello", "neither PEM nor DER"},
		"cut off":                       {want[:200], "has no end"},
		"DER cut off":                   {string(der[:100]), "neither PEM nor DER"},
		"UTF-16 cut off":                {asUTF16(want, binary.LittleEndian, true)[:101], "neither PEM nor DER"},
		"binary":                        {"\x00\x01\x02\x03\x00", "neither PEM nor DER"},
		"too long":                      {want + strings.Repeat(" ", MaxBundleSize), "longer than"},
		"a long request":                {string(EncodeCSRPEM(bytes.Repeat([]byte{0x30}, MaxCSRSize))), "not a PKCS#10 request"},
	} {
		r, err := ReadLocalRequest([]byte(test.file))
		if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.says) || r.PEM != nil {
			t.Errorf("%s: %q, %v", name, r.PEM, err)
		}
	}
	if got, err := CanonicalRequest([]byte(legacy)); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, other := range []string{keyPEM, keyPEM + want, want + keyPEM, text + want, want + want, strings.ReplaceAll(keyPEM, "PRIVATE KEY", "CERTIFICATE REQUEST"), string(encodePEM(typeCSR, crt)), ""} {
		if got, err := CanonicalRequest([]byte(other)); err == nil || got != nil {
			t.Errorf("%q is sent of %q", got, other)
		}
	}
}

func FuzzReadLocalRequest(f *testing.F) {
	for _, seed := range []string{"", "\xff\xfe-\x00", "\xfe\xff\x00-", "0\x82\x01\x00\x02", "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n", "\xef\xbb\xbf"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadLocalRequest(data)
		if err != nil {
			return
		}
		again, err := CanonicalRequest(r.PEM)
		if err != nil || !bytes.Equal(again, r.PEM) {
			t.Errorf("%q is sent as %q, %v", r.PEM, again, err)
		}
	})
}
