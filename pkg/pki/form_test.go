package pki

import (
	"encoding/binary"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// formFile is a file as openssl, certtool and certutil have written it.
func formFile(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", "forms", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func inUTF16(text string, order binary.AppendByteOrder) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// formsOf are the ways in which a file comes from elsewhere that holds what text does.
func formsOf(text string) map[string][]byte {
	return map[string][]byte{
		"UTF-8 with a mark":            []byte("\ufeff" + text),
		"UTF-16 little-endian":         inUTF16("\ufeff"+text, binary.LittleEndian),
		"UTF-16 big-endian":            inUTF16("\ufeff"+text, binary.BigEndian),
		"UTF-16 without a mark":        inUTF16(text, binary.LittleEndian),
		"UTF-16, the other, unmarked":  inUTF16(text, binary.BigEndian),
		"UTF-16 with CRLF":             inUTF16("\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"), binary.LittleEndian),
		"with text as openssl -text":   []byte("Certificate Request:\n    Data:\n" + text + "\nthe end\n"),
		"UTF-8 with a mark, then text": []byte("\ufeffSubject: Ärzte\n" + text),
	}
}

// TestWireTakesOnePlainBlock has requests as tools of other systems save them refused, with what they are and how
// they become what is expected.
func TestWireTakesOnePlainBlock(t *testing.T) {
	good := string(testCSR{}.pem(t))
	why := map[string]string{
		"UTF-8 with a mark":            "byte order mark (EF BB BF)",
		"UTF-16 little-endian":         "text in UTF-16",
		"UTF-16 big-endian":            "text in UTF-16",
		"UTF-16 without a mark":        "text in UTF-16",
		"UTF-16, the other, unmarked":  "text in UTF-16",
		"UTF-16 with CRLF":             "text in UTF-16",
		"with text as openssl -text":   "something else where a PEM block should begin: text",
		"UTF-8 with a mark, then text": "byte order mark (EF BB BF)",
	}
	for name, data := range formsOf(good) {
		_, err := ParseRequest(data)
		checkRefused(t, err, "CSR", why[name])
	}
	for file, why := range map[string]string{
		"request.der":     "is DER, and PEM is expected: convert it with openssl req -inform DER",
		"certificate.der": "is DER, and PEM is expected: convert it with openssl x509",
		"list.der":        "is DER, and PEM is expected: convert it with openssl crl",
		"pkcs8.der":       "is DER, and PEM is expected: convert it with openssl pkey",
		"bundle.p12":      "PKCS #12",
		"bundle.p7b":      "PKCS #7",
		"certtool.txt":    "something else where a PEM block should begin: text",
		"certutil.txt":    "something else where a PEM block should begin: text",
	} {
		_, err := ParseRequest(formFile(t, file))
		checkRefused(t, err, "CSR", why)
	}
	if _, err := ParseRequest(formFile(t, "certreq.pem")); err != nil {
		t.Errorf("as Windows writes them: %v", err)
	}
}

func TestFilesOfHostsAreReadInAnyForm(t *testing.T) {
	csr := testCSR{}
	good := string(csr.pem(t))
	want, _ := pem.Decode([]byte(good))
	for name, data := range formsOf(good) {
		der, err := RequestOfFile(data)
		if err != nil || string(der) != string(want.Bytes) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for file, typ := range map[string]string{
		"request.der": "CERTIFICATE REQUEST", "certificate.der": "CERTIFICATE", "list.der": "X509 CRL",
		"pkcs8.der": "PRIVATE KEY", "sec1.der": "EC PRIVATE KEY", "pkcs1.der": "RSA PRIVATE KEY", "encrypted.der": "ENCRYPTED PRIVATE KEY",
	} {
		data := formFile(t, file)
		blocks, err := SplitPEM(data)
		if err != nil || len(blocks) != 1 || blocks[0].Type != typ || string(blocks[0].Bytes) != string(data) {
			t.Errorf("%s: %d blocks, %v", file, len(blocks), err)
			continue
		}
		if strings.HasSuffix(typ, "KEY") && typ != "ENCRYPTED PRIVATE KEY" {
			if _, err := ParsePrivateKeyBlock(blocks[0]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	for file, why := range map[string]string{"bundle.p12": "openssl pkcs12", "bundle.p7b": "openssl pkcs7"} {
		_, err := SplitPEM(formFile(t, file))
		checkRefused(t, err, "file", why)
	}
	for _, file := range []string{"certtool.txt", "certutil.txt", "certreq.pem", "request.der"} {
		if _, err := RequestOfFile(formFile(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	_, err := RequestOfFile(append([]byte(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: formFile(t, "pkcs8.der")})...))
	checkRefused(t, err, "CSR", "2 PEM blocks")
	_, err = RequestOfFile(formFile(t, "pkcs8.der"))
	checkRefused(t, err, "CSR", `"PRIVATE KEY" where "CERTIFICATE REQUEST"`)
	_, err = RequestOfFile([]byte("nothing"))
	checkRefused(t, err, "CSR", "there is no certificate signing request")

	list := formFile(t, "list.der")
	for name, data := range formsOf(string(EncodeCRLPEM(list))) {
		if lists, err := ParseCRLFile(data); err != nil || len(lists) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lists, err := ParseCRLFile(list); err != nil || len(lists) != 1 {
		t.Errorf("a list in DER: %v", err)
	}
	_, err = ParseCRLFile([]byte(good))
	checkRefused(t, err, "CRLs", `"CERTIFICATE REQUEST" where "X509 CRL"`)
}
