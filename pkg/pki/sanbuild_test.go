package pki

import (
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
)

func TestSANExtension(t *testing.T) {
	names := []string{"DNS:*.example.org", "IP:192.0.2.1", "IP:2001:db8::1", "email:a@example.org", "URI:https://example.org/x"}
	e, err := SANExtension(names)
	if err != nil {
		t.Fatal(err)
	}
	if got := SANStrings([]pkix.Extension{e}); !slices.Equal(got, names) {
		t.Errorf("%v", got)
	}
	for _, bad := range [][]string{
		nil, {""}, {"example.org"}, {"DNS:"}, {"DNS:*"}, {"DNS:a b"}, {"DNS:a\x00b"}, {"dns:a"}, {"IP:x"}, {"IP:10.0.0.0/8"}, {"IP:fe80::1%eth0"}, {"email:a"},
		{"URI:/x"}, {"other:x"}, {"DNS:ä.example"}, {"DNS:" + strings.Repeat("a.", 200) + "a"}, slices.Repeat([]string{"DNS:a.example"}, MaxSANs+1),
	} {
		if e, err := SANExtension(bad); err == nil {
			t.Errorf("%q: %v", bad, SANStrings([]pkix.Extension{e}))
		}
	}
}
