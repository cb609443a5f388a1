package pki_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/pki"
)

func canonicalSAN(t *testing.T, tag int, values ...string) pkix.Extension {
	t.Helper()
	var names []asn1.RawValue
	for _, v := range values {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(v)})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

func canonicalSubject(t *testing.T, name pkix.Name) []byte {
	t.Helper()
	der, err := asn1.Marshal(name.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// What verifiers take for the same name has one form, whoever has written it.
func TestCanonicalAlternativeNames(t *testing.T) {
	for _, test := range []struct {
		tag         int
		value       string
		text, under string
	}{
		{2, "Web.Example", "web.example", "example"},
		{2, "a.web.example.", "a.web.example", "web.example"},
		{2, "*.Web.example", "*.web.example", "web.example"},
		{2, "localhost", "localhost", ""},
		{2, "bücher.Example", "xn--bcher-kva.example", "example"},
		{2, "XN--BCHER-KVA.example", "xn--bcher-kva.example", "example"},
		{2, "_srv.web.example", "_srv.web.example", "web.example"},
		{2, "a\x00b.example", `a\x00b.example`, ""},
		{2, "\xff.example", `\xff.example`, ""},
		{7, "\xc0\x00\x02\x07", "192.0.2.7", ""},
		{7, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07", "192.0.2.7", ""},
		{7, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", "2001:db8::7", ""},
		{7, "\xc0\x00\x02\x00\xff\xff\xff\x00", "192.0.2.0/24", ""},
		{7, "\x01", "#01", ""},
		{1, "Post@Web.Example", "Post@web.example", ""},
		{1, "no address", "no address", ""},
		{6, "SPIFFE://Web.Example/Path?Q", "spiffe://web.example/Path?Q", ""},
		{6, "URN:UUID:A", "urn:UUID:A", ""},
		{6, "://", "://", ""},
	} {
		got := pki.CanonicalNames(nil, []pkix.Extension{canonicalSAN(t, test.tag, test.value)})
		if len(got) != 1 || got[0].Text != test.text || test.under != got[0].Under && !strings.Contains(test.text, `\`) {
			t.Errorf("%d %q: %q, want %q under %q", test.tag, test.value, got, test.text, test.under)
		}
	}
}

func TestCanonicalCommonNames(t *testing.T) {
	for cn, want := range map[string]pki.CanonicalName{
		"Web.Example":        {Kind: "CN", Text: "web.example", Under: "example"},
		"Bücher.example":     {Kind: "CN", Text: "xn--bcher-kva.example", Under: "example"},
		"*.web.example":      {Kind: "CN", Text: "*.web.example", Under: "web.example"},
		"2001:DB8:0::7":      {Kind: "CN", Text: "2001:db8::7"},
		"Alice  Example":     {Kind: "CN", Text: "alice example"},
		"Post@Web.Example":   {Kind: "CN", Text: "Post@web.example"},
		"printer":            {Kind: "CN", Text: "printer"},
		"\u202ereversed\x07": {Kind: "CN", Text: "reversed"},
	} {
		got := pki.CanonicalNames(canonicalSubject(t, pkix.Name{CommonName: cn}), nil)
		if len(got) != 1 || got[0] != want {
			t.Errorf("%q: %+v, want %+v", cn, got, want)
		}
	}
	// What has no other name is known by all of its subject.
	got := pki.CanonicalNames(canonicalSubject(t, pkix.Name{Organization: []string{"Example"}}), nil)
	if len(got) != 1 || got[0] != (pki.CanonicalName{Kind: "subject", Text: "O=Example"}) {
		t.Errorf("without a common name: %+v", got)
	}
	if got := pki.CanonicalNames(canonicalSubject(t, pkix.Name{}), nil); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

// An index can hold whatever others have put into a certificate, and different names stay different.
func TestCanonicalNamesAreBounded(t *testing.T) {
	long := "https://web.example/" + strings.Repeat("ö", 2000)
	got := pki.CanonicalNames([]byte("?"), []pkix.Extension{canonicalSAN(t, 6, long, long+"2", long)})
	if len(got) != 2 || got[0] == got[1] {
		t.Errorf("%d names, the first two the same: %t", len(got), len(got) > 1 && got[0] == got[1])
	}
	for _, n := range got {
		if len(n.Text) > 256 {
			t.Errorf("%d bytes", len(n.Text))
		}
	}
	var many []string
	for n := range 5000 {
		many = append(many, fmt.Sprintf("h%d.example", n))
	}
	if got := pki.CanonicalNames(nil, []pkix.Extension{canonicalSAN(t, 2, many...)}); len(got) != pki.MaxCanonicalNames {
		t.Errorf("%d names", len(got))
	}
	// Types without names say nothing of whom they name.
	if got := pki.CanonicalNames(nil, []pkix.Extension{canonicalSAN(t, 8, "\x2a")}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	both := pki.CanonicalNames(canonicalSubject(t, pkix.Name{CommonName: "web.example"}), []pkix.Extension{canonicalSAN(t, 2, "web.example")})
	if !slices.Equal(both, []pki.CanonicalName{{Kind: "CN", Text: "web.example", Under: "example"}, {Kind: "DNS", Text: "web.example", Under: "example"}}) {
		t.Errorf("%+v", both)
	}
}
