package pki

import (
	"bytes"
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
