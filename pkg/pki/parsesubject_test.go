package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
)

func TestParseSubject(t *testing.T) {
	tests := []struct{ in, shown string }{
		{"CN=Home Root", "CN=Home Root"},
		{"C=FR,O=Example,CN=Home Root", "CN=Home Root,O=Example,C=FR"},
		{"c=FR, o=Example , cn = Home Root ", "CN=Home Root,O=Example,C=FR"},
		{`O=Example\, Inc.,CN=a\+b`, `CN=a\+b,O=Example\, Inc.`},
		{`CN=a=b`, `CN=a\=b`},
		{`CN=\ x\ `, `CN=\ x\ `},
		{"DC=example,DC=org,CN=Ünï", "CN=Ünï,DC=org,DC=example"},
		{"serialNumber=12-3,CN=x", "CN=x,serialNumber=12-3"},
	}
	for _, test := range tests {
		der, err := ParseSubject(test.in)
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
			continue
		}
		if got := SubjectString(der); strings.ReplaceAll(got, `\=`, "=") != strings.ReplaceAll(test.shown, `\=`, "=") {
			t.Errorf("%q is %q, want %q", test.in, got, test.shown)
		}
		var rdns pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &rdns); err != nil || len(rest) > 0 {
			t.Errorf("%q: %v", test.in, err)
		}
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":              "",
		"no type":              "Home Root",
		"an empty type":        "=x",
		"an unknown type":      "CN=x,XY=z",
		"an empty value":       "CN=",
		"spaces alone":         "CN=   ",
		"a comma too many":     "CN=x,",
		"a country of three":   "C=FRA,CN=x",
		"a country of one":     "C=F,CN=x",
		"joined attributes":    "CN=x+O=y",
		"a lonely backslash":   `CN=x\`,
		"a long common name":   "CN=" + strings.Repeat("x", 65),
		"a NUL":                "CN=a\x00b",
		"a newline":            "CN=a\nb",
		"an override":          "CN=a\u202eb",
		"bytes that are none":  "CN=\xff",
		"IA5 beyond ASCII":     "DC=ünï,CN=x",
		"printable beyond":     "serialNumber=a_b,CN=x",
		"more than fit a name": strings.Repeat("OU=x,", 1000) + "CN=x",
	} {
		if der, err := ParseSubject(in); err == nil || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %x, %v", name, der, err)
		}
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, seed := range []string{"C=FR,O=Example,CN=Home Root", `O=a\,b`, "CN=", "=", "CN=x+O=y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		der, err := ParseSubject(text)
		if err != nil {
			return
		}
		if _, err := checkSubject(der); err != nil {
			t.Errorf("%q: accepted, and then %v", text, err)
		}
	})
}
