package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func mustSubject(t *testing.T, text string) []byte {
	t.Helper()
	der, err := ParseSubject(text)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestGenerationSubject: each generation has a name of its own, which does not grow from one to the next.
func TestGenerationSubject(t *testing.T) {
	from := time.Date(2027, 2, 14, 23, 30, 0, 0, time.FixedZone("", -3600))
	for _, base := range []string{
		"CN=Caucase CAS at ca.example.org:8009", "C=FR,O=Example,CN=Home Root", "CN=" + strings.Repeat("x", 64),
		"CN=Old CA,SERIALNUMBER=A82743287", "SERIALNUMBER=" + strings.Repeat("9", 64), "SERIALNUMBER=20270101-0123456789abcdef",
	} {
		first := mustSubject(t, base)
		seen := map[string]bool{string(first): true}
		last := first
		for range 5 {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			next, err := GenerationSubject(last, from, key.Public())
			if err != nil {
				t.Fatal(err)
			}
			shown := SubjectString(next)
			if !strings.HasPrefix(shown, "serialNumber=20270215-") || !strings.HasSuffix(shown, ","+SubjectString(first)) {
				t.Errorf("%s is followed by %s", base, shown)
			}
			if seen[string(next)] {
				t.Errorf("%s: two keys, and one name", base)
			}
			seen[string(next)] = true
			if _, err := checkSubject(next); err != nil {
				t.Errorf("no request could have it: %v", err)
			}
			if !SameAuthority(next, first) || !SameAuthority(last, next) || !bytes.Equal(TrimGeneration(next), first) {
				t.Errorf("%s is not taken for a generation of %s", shown, base)
			}
			if !ClaimsAuthority(next, first) || !ClaimsAuthority(first, next) || !ClaimsAuthority(last, next) {
				t.Errorf("%s could be had by others than %s", shown, base)
			}
			last = next
		}
	}
	other, ca := mustSubject(t, "CN=a"), mustSubject(t, "CN=b")
	if SameAuthority(other, ca) || ClaimsAuthority(other, ca) {
		t.Error("two CAs are taken for one")
	}
	if !bytes.Equal(TrimGeneration([]byte("junk")), []byte("junk")) {
		t.Error("what is no name is changed")
	}
	full := mustSubject(t, "CN=x"+strings.Repeat(",OU=x", MaxRDNs-1))
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if _, err := GenerationSubject(full, from, key.Public()); err == nil {
		t.Error("a name has more attributes than can be read")
	}
}

// TestClaimsAuthority: names that others must not have, since they are those of a CA or look like its next one's.
func TestClaimsAuthority(t *testing.T) {
	const cn, generation = "Caucase CAS at ca.example.org:8009", "20270214-0123456789abcdef"
	sn := func(tag cbasn1.Tag, value string) []byte {
		return set(seq(oid(asn1.ObjectIdentifier{2, 5, 4, 5}), tlv(tag, []byte(value))))
	}
	common := func(value string) []byte { return set(seq(oid(oidCN), utf8s(value))) }
	first := seq(common(cn))
	second := seq(common(cn), sn(cbasn1.PrintableString, generation))
	for name, tt := range map[string]struct {
		subject []byte
		claims  bool
	}{
		"the first's":                  {first, true},
		"the second's":                 {second, true},
		"another case":                 {seq(common(strings.ToUpper(cn)), sn(cbasn1.PrintableString, generation)), true},
		"of another type":              {seq(common(cn), sn(cbasn1.UTF8String, " 20270214-0123456789ABCDEF ")), true},
		"of the future":                {seq(common(cn), sn(cbasn1.PrintableString, "20990101-fedcba9876543210")), true},
		"a number as others have them": {seq(common(cn), sn(cbasn1.PrintableString, "2")), true},
		// Which is another name to every verifier.
		"in one RDN": {seq(set(seq(oid(oidCN), utf8s(cn)), seq(oid(asn1.ObjectIdentifier{2, 5, 4, 5}), tlv(cbasn1.PrintableString, []byte(generation))))), false},

		"another CA":                       {seq(common(cn+"0"), sn(cbasn1.PrintableString, generation)), false},
		"a host with a serial number":      {seq(common("web.example.org"), sn(cbasn1.PrintableString, generation)), false},
		"only the generation":              {seq(sn(cbasn1.PrintableString, generation)), false},
		"longer":                           {seq(common(cn), common("x"), sn(cbasn1.PrintableString, generation)), false},
		"an organisation of the same name": {seq(set(seq(oid(asn1.ObjectIdentifier{2, 5, 4, 10}), utf8s(cn)))), false},
	} {
		for which, ca := range map[string][]byte{"first": first, "second": second} {
			if got := ClaimsAuthority(tt.subject, ca); got != tt.claims {
				t.Errorf("%s: %s, of the %s: %v", name, SubjectString(tt.subject), which, got)
			}
		}
	}
}
