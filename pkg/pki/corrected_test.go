package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzCorrectRequest: whatever a device writes, a request that is accepted as it is asks for the same when it is corrected, and
// what is said of others can be printed.
func FuzzCorrectRequest(f *testing.F) {
	files, err := filepath.Glob("../../testdata/requests/*.*")
	if err != nil || len(files) < 20 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if r, err := ReadLocalRequest(content); err == nil {
			blocks, _ := SplitPEM(r.PEM)
			f.Add(blocks[0].Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		text := EncodeCSRPEM(der)
		outline, strict := ParseOutline(text)
		c, err := CorrectRequest(text, func(string) bool { return false })
		for _, said := range slices.Concat(c.Changes, c.Notes) {
			if EscapeText(said) != said {
				t.Errorf("says %q", said)
			}
		}
		if strict != nil {
			return
		}
		req := outline.req
		if err != nil || len(c.Changes) > 0 || !bytes.Equal(c.Subject, req.CSR.RawSubject) {
			t.Fatalf("accepted as it is, and corrected in %q, %v", c.Changes, err)
		}
		if !slices.Equal(c.DNSNames, req.CSR.DNSNames) || !slices.Equal(c.EmailAddresses, req.CSR.EmailAddresses) || len(c.IPAddresses) != len(req.CSR.IPAddresses) || len(c.URIs) != len(req.CSR.URIs) {
			t.Errorf("names %v", c)
		}
	})
}

// What callers have other names for is not looked at.
func TestNamesThatAreGivenReplaceThoseThatCannotBeCorrected(t *testing.T) {
	for file, kind := range map[string]string{"escape.pem": "cn", "name-with-port.pem": "dns"} {
		text, err := os.ReadFile(filepath.Join("../../testdata/requests/refused", file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CorrectRequest(text, func(string) bool { return false }); err == nil || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%s: %v", file, err)
		}
		if c, err := CorrectRequest(text, func(k string) bool { return k == kind }); err != nil || len(c.DNSNames) > 0 {
			t.Errorf("%s with another --%s: %v, %v", file, kind, c, err)
		}
	}
}

// What is left out of an RDN does not move the rest of it to the one before.
func TestWhatIsLeftOfAnRDNStaysOne(t *testing.T) {
	attr := func(last int, value any) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, last}, Value: value}
	}
	key := ecKey(t, elliptic.P256())
	for name, test := range map[string]struct {
		cn    string
		given string
	}{
		"an empty one":      {cn: ""},
		"one that is given": {cn: "switch", given: "cn"},
	} {
		subject, err := asn1.Marshal(pkix.RDNSequence{{attr(10, "Plant")}, {attr(3, test.cn), attr(11, "Switches")}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := CorrectRequest(foreignCSR(t, key, subject), func(kind string) bool { return kind == test.given })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got pkix.RDNSequence
		if _, err := asn1.Unmarshal(c.Subject, &got); err != nil || len(got) != 2 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
