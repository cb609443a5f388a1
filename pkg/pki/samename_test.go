package pki

import (
	"encoding/asn1"
	"strings"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func TestSameName(t *testing.T) {
	one := func(id asn1.ObjectIdentifier, tag cbasn1.Tag, value string) []byte {
		return seq(set(seq(oid(id), tlv(tag, []byte(value)))))
	}
	value := func(tag cbasn1.Tag, s string) []byte { return one(oidCN, tag, s) }
	rdn := func(id asn1.ObjectIdentifier, s string) []byte { return set(seq(oid(id), utf8s(s))) }
	pair := func(a, b []byte) []byte { return seq(set(a, b)) }
	organisation, email := asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	const ca = "Caucase CAS at ca.example.org:8009"
	ucs2 := func(s string) (out string) {
		for _, c := range s {
			out += string([]byte{byte(c >> 8), byte(c)})
		}
		return out
	}
	ucs4 := func(s string) (out string) {
		for _, c := range s {
			out += string([]byte{0, byte(c >> 16), byte(c >> 8), byte(c)})
		}
		return out
	}
	tests := map[string]struct {
		a, b []byte
		same bool
	}{
		"the same bytes":             {cn(ca), cn(ca), true},
		"another name":               {cn(ca), cn(ca + "0"), false},
		"case":                       {cn(ca), cn(strings.ToUpper(ca)), true},
		"PrintableString":            {cn(ca), value(cbasn1.PrintableString, ca), true},
		"IA5String":                  {cn(ca), value(cbasn1.IA5String, ca), true},
		"VisibleString":              {cn(ca), value(tagVisibleString, ca), true},
		"T61String":                  {cn("Zürich"), value(cbasn1.T61String, "Z\xfcrich"), true},
		"BMPString":                  {cn(ca), value(tagBMPString, ucs2(ca)), true},
		"UniversalString":            {cn(ca), value(tagUniversalString, ucs4(ca)), true},
		"half a BMPString":           {cn(ca), value(tagBMPString, ucs2(ca)+"\x00"), false},
		"UniversalString beyond":     {cn(""), value(tagUniversalString, "\xff\xff\xff\xff"), false},
		"space at the ends":          {cn(ca), cn("  " + ca + " "), true},
		"space within":               {cn(ca), cn(strings.ReplaceAll(ca, " ", "   ")), true},
		"space left out":             {cn(ca), cn(strings.ReplaceAll(ca, " ", "")), false},
		"tab and newline":            {cn(ca), cn(strings.ReplaceAll(ca, " ", "\t\n")), true},
		"no-break space":             {cn(ca), cn(strings.ReplaceAll(ca, " ", "\u00a0")), true},
		"ideographic space":          {cn(ca), cn(strings.ReplaceAll(ca, " ", "\u3000")), true},
		"line separator":             {cn(ca), cn(strings.ReplaceAll(ca, " ", "\u2028")), true},
		"zero width space":           {cn(ca), cn("Cau\u200bcase CAS at ca.example.org:8009"), true},
		"joiners":                    {cn(ca), cn("C\u200dau\u200ccase CAS at ca.example.org:8009"), true},
		"soft hyphen":                {cn(ca), cn("Cau\u00adcase CAS at ca.example.org:8009"), true},
		"byte order mark":            {cn(ca), cn("\ufeff" + ca), true},
		"variation selector":         {cn(ca), cn("C\ufe0faucase CAS at ca.example.org:8009"), true},
		"combining grapheme joiner":  {cn(ca), cn("C\u034faucase CAS at ca.example.org:8009"), true},
		"control characters":         {cn(ca), cn("\x00Caucase\x7f CAS at ca.example.org:8009\x1b"), true},
		"full width":                 {cn(ca), cn("Ｃaucase ＣＡＳ at ca.example.org:8009"), true},
		"composed and not":           {cn("Zürich"), cn("Zu\u0308rich"), true},
		"ligature":                   {cn("Office"), cn("O\ufb03ce"), true},
		"sharp s":                    {cn("Straße"), cn("STRASSE"), true},
		"long s":                     {cn("Caucase"), cn("Cauca\u017fe"), true},
		"Kelvin":                     {cn("kilo"), cn("\u212Ailo"), true},
		"letterlike H":               {cn("home"), cn("\u210Come"), true},
		"final sigma":                {cn("ΟΔΟΣ"), cn("οδος"), true},
		"Cyrillic a is no Latin a":   {cn("Caucase"), cn("C\u0430ucase"), false},
		"accents count":              {cn("Zürich"), cn("Zurich"), false},
		"another attribute":          {cn(ca), seq(rdn(organisation, ca)), false},
		"one attribute more":         {cn(ca), seq(rdn(oidCN, ca), rdn(organisation, "x")), false},
		"mail address":               {one(email, cbasn1.IA5String, "Ca@Example.org"), one(email, cbasn1.UTF8String, "ca@example.org"), true},
		"several":                    {seq(rdn(organisation, "Lab"), rdn(oidCN, "CA")), seq(rdn(organisation, "LAB"), rdn(oidCN, " ca")), true},
		"in another order":           {seq(rdn(organisation, "Lab"), rdn(oidCN, "CA")), seq(rdn(oidCN, "CA"), rdn(organisation, "Lab")), false},
		"joined":                     {pair(seq(oid(oidCN), utf8s("A")), seq(oid(oidCN), utf8s("b"))), pair(seq(oid(oidCN), utf8s("B")), seq(oid(oidCN), utf8s("a"))), true},
		"joined and not":             {pair(seq(oid(oidCN), utf8s("a")), seq(oid(organisation), utf8s("b"))), seq(rdn(oidCN, "a"), rdn(organisation, "b")), false},
		"joined, one of them twice":  {pair(seq(oid(oidCN), utf8s("a")), seq(oid(oidCN), utf8s("a"))), pair(seq(oid(oidCN), utf8s("a")), seq(oid(oidCN), utf8s("b"))), false},
		"what is no string, same":    {value(cbasn1.INTEGER, "\x05"), value(cbasn1.INTEGER, "\x05"), true},
		"what is no string, other":   {value(cbasn1.INTEGER, "a"), value(cbasn1.INTEGER, "A"), false},
		"a number is no string":      {value(cbasn1.INTEGER, "a"), cn("a"), false},
		"invalid UTF-8":              {cn("a\xff"), cn("A\xff"), false},
		"empty":                      {seq(), seq(), true},
		"empty and not":              {seq(), cn(ca), false},
		"unreadable, the same":       {[]byte{1, 2}, []byte{1, 2}, true},
		"unreadable and a name":      {[]byte{1, 2}, cn(ca), false},
		"nothing and an empty name":  {nil, seq(), false},
		"only space and empty value": {cn(" "), cn(""), true},
	}
	for name, tt := range tests {
		if got := SameName(tt.a, tt.b); got != tt.same {
			t.Errorf("%s: %v", name, got)
		}
		if got := SameName(tt.b, tt.a); got != tt.same {
			t.Errorf("%s, the other way round: %v", name, got)
		}
	}
}

// Plain texts are prepared as all others would be.
func TestPrepareText(t *testing.T) {
	var texts []string
	for a := range rune(0x180) {
		for _, b := range "aZ \t\u00ad" {
			texts = append(texts, string([]rune{a, b}), string([]rune{b, a, b}), string([]rune{'x', b, a}))
		}
	}
	plain := 0
	for _, s := range append(texts, "", " ", "a b", "a  b") {
		if isPlain(s) {
			plain++
		}
		// U+200B is mapped to nothing.
		if got, want := prepareText(s), prepareText(s+"\u200b"); got != want {
			t.Fatalf("%q: %q, and not %q", s, got, want)
		}
	}
	if plain < 500 || plain > len(texts)/2 {
		t.Errorf("%d of %d are plain", plain, len(texts))
	}
}
