package pki

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func TestParseRequestRefusesSubjects(t *testing.T) {
	value := func(tag cbasn1.Tag, s string) []byte { return seq(set(seq(oid(oidCN), tlv(tag, []byte(s))))) }
	tests := map[string]struct {
		subject []byte
		why     string
	}{
		"NUL":                      {cn("alice\x00.evil"), "control character U+0000"},
		"newline":                  {cn("alice\nroot"), "control character U+000A"},
		"tab":                      {cn("alice\troot"), "control character U+0009"},
		"ESC":                      {cn("\x1b[2Jalice"), "control character U+001B"},
		"DEL":                      {cn("alice\x7f"), "control character U+007F"},
		"C1 control":               {cn("alice\u009b2J"), "control character U+009B"},
		"line separator":           {cn("alice\u2028root"), "line separator U+2028"},
		"right-to-left override":   {cn("alice\u202eecila"), "direction control U+202E"},
		"isolate":                  {cn("alice\u2066"), "direction control U+2066"},
		"invalid UTF-8":            {cn("alice\xff"), "UTF-8"},
		"overlong UTF-8":           {cn("alice\xc0\x80"), "UTF-8"},
		"surrogate in UTF-8":       {cn("alice\xed\xa0\x80"), "UTF-8"},
		"empty value":              {cn(""), "empty value"},
		"1025 bytes":               {cn(strings.Repeat("a", 1025)), "at most 1024"},
		"64 KB":                    {cn(strings.Repeat("a", 64<<10)), "at most 1024"},
		"T61String":                {value(cbasn1.T61String, "alice"), "obsolete T61String"},
		"BMPString":                {value(tagBMPString, "\x00a"), "obsolete BMPString"},
		"UniversalString":          {value(tagUniversalString, "\x00\x00\x00a"), "obsolete UniversalString"},
		"INTEGER":                  {value(cbasn1.INTEGER, "\x01"), "tag 0x2"},
		"SEQUENCE":                 {value(cbasn1.SEQUENCE, ""), "empty value"},
		"IA5String beyond ASCII":   {value(cbasn1.IA5String, "alic\xe9"), "IA5String"},
		"PrintableString not":      {value(cbasn1.PrintableString, "a_b@c"), "PrintableString"},
		"PrintableString star":     {value(cbasn1.PrintableString, "*.a.example"), `subject CN: "*.a.example" is not a valid PrintableString, which cannot have "*"`},
		"PrintableString &":        {value(cbasn1.PrintableString, "a&b"), `PrintableString, which cannot have "&"`},
		"VisibleString":            {value(tagVisibleString, "alice"), "subject CN: value is a VisibleString: UTF8String needed"},
		"attributes not sorted":    {seq(set(seq(oid(asn1.ObjectIdentifier{2, 5, 4, 11}), utf8s("x")), seq(oid(oidCN), utf8s("a")))), "subject OU+CN: the attributes of one RDN are a SET, which DER has sorted"},
		"twice the same":           {seq(set(seq(oid(oidCN), utf8s("a")), seq(oid(oidCN), utf8s("a")))), "subject CN: twice the same in one RDN"},
		"RDN of nothing":           {seq(set(), set(seq(oid(oidCN), utf8s("a")))), "malformed name"},
		"padded OID":               {seq(set(seq([]byte{6, 4, 0x55, 4, 0x80, 3}, utf8s("a")))), "malformed name"},
		"NumericString not":        {value(tagNumericString, "12a"), "NumericString"},
		"the last of many is bad":  {seq(bytes.Repeat(set(seq(oid(oidCN), utf8s("a"))), 99), set(seq(oid(oidCN), utf8s("\x00")))), "U+0000"},
		"attribute without OID":    {seq(set(seq(utf8s("a")))), "malformed name"},
		"attribute of three parts": {seq(set(seq(oid(oidCN), utf8s("a"), utf8s("b")))), "malformed name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest(testCSR{subject: test.subject}.pem(t))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

func TestParseRequestRefusesSANs(t *testing.T) {
	tests := map[string]struct {
		names []byte // contents of the SEQUENCE
		why   string
	}{
		"empty list":                 {nil, "SubjectAltName: malformed"},
		"101":                        {bytes.Join(many(101), nil), "more than 100 names"},
		"3000":                       {bytes.Join(many(3000), nil), "more than 100 names"},
		"only the last is bad":       {bytes.Join(append(many(99), dns("a b")), nil), `character ' '`},
		"otherName":                  {general(nameOther, "\x06\x01\x29\xa0\x02\x05\x00"), "otherName: this kind"},
		"x400Address":                {general(nameX400, ""), "x400Address: this kind"},
		"directoryName":              {tlv(cbasn1.Tag(4).ContextSpecific().Constructed(), cn("a")), "directoryName: this kind"},
		"ediPartyName":               {general(nameEDIParty, ""), "ediPartyName: this kind"},
		"registeredID":               {general(nameRID, "\x29\x01"), "registeredID: this kind"},
		"kind 9":                     {general(9, "a"), "unknown kind 9: this kind"},
		"constructed dNSName":        {tlv(cbasn1.Tag(2).ContextSpecific().Constructed(), utf8s("a")), "SubjectAltName DNS: malformed: its encoding is constructed"},
		"constructed URI":            {tlv(cbasn1.Tag(6).ContextSpecific().Constructed(), utf8s("urn:a")), "SubjectAltName URI: malformed: its encoding is constructed"},
		"universal string":           {utf8s("a.example"), "malformed"},
		"DNS empty":                  {dns(""), "empty label"},
		"DNS *":                      {dns("*"), "matches every name"},
		"DNS *.*":                    {dns("*.*"), "* is only accepted"},
		"DNS * inside":               {dns("a.*.example"), "* is only accepted"},
		"DNS * in a label":           {dns("a*.example"), "* is only accepted"},
		"DNS *. only":                {dns("*."), "empty label"},
		"DNS trailing dot":           {dns("a.example."), "dot at an end"},
		"DNS leading dot":            {dns(".a.example"), "dot at an end"},
		"DNS two dots":               {dns("a..example"), "empty label"},
		"DNS label of 64":            {dns(strings.Repeat("a", 64) + ".example"), "more than 63"},
		"DNS name of 254":            {dns(strings.Repeat("abcdefg.", 31) + "abcdef"), "at most 253"},
		"DNS of 64 KB":               {dns(strings.Repeat("a.", 32<<10)), "at most 2048"},
		"DNS hyphen first":           {dns("-a.example"), "hyphen"},
		"DNS hyphen last":            {dns("a-.example"), "hyphen"},
		"DNS with a port":            {dns("a.example:443"), "character ':'"},
		"DNS with a path":            {dns("a.example/x"), "character '/'"},
		"DNS with NUL":               {dns("a.example\x00.evil"), `character '\x00'`},
		"DNS with newline":           {dns("a.example\n"), `character '\n'`},
		"DNS U-label":                {dns("bücher.example"), "internationalised names are written as A-labels"},
		"DNS IPv4":                   {dns("192.0.2.1"), "reads as an IP address"},
		"DNS IPv4, octets wildcard":  {dns("*.0.2.1"), "reads as an IP address"},
		"DNS IPv4 as one number":     {dns("3221225985"), "reads as an IP address"},
		"DNS IPv6":                   {dns("2001:db8::1"), "character ':'"},
		"IP of 5 bytes":              {general(nameIP, "12345"), "address of 5 bytes: 4 or 16 needed"},
		"IP network":                 {general(nameIP, "\xc0\x00\x02\x00\xff\xff\xff\x00"), "192.0.2.0/24 is a network"},
		"IPv6 network":               {general(nameIP, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 12)+"\xff\xff\xff\xff"+strings.Repeat("\x00", 12)), "2001:db8::/32 is a network"},
		"IP of nothing":              {general(nameIP, ""), "address of 0 bytes"},
		"URI relative":               {general(nameURI, "/x/y"), "not absolute"},
		"URI empty":                  {general(nameURI, ""), "not absolute"},
		"URI scheme only":            {general(nameURI, "https:"), "names nothing"},
		"URI user":                   {general(nameURI, "https://bank.example@evil.example/"), "user information"},
		"URI user and password":      {general(nameURI, "https://a:b@evil.example/"), "user information"},
		"URI empty user":             {general(nameURI, "https://@evil.example/"), "user information"},
		"URI space":                  {general(nameURI, "https://a.example/a b"), "byte 0x20"},
		"URI newline":                {general(nameURI, "https://a.example/\nb"), "URI"},
		"email without @":            {general(nameEmail, "alice"), "not a mail address"},
		"email without local part":   {general(nameEmail, "@a.example"), "not a mail address"},
		"email without host":         {general(nameEmail, "alice@"), "empty label"},
		"email with a display name":  {general(nameEmail, "Alice <alice@a.example>"), "not a mail address"},
		"email with two @":           {general(nameEmail, "a@b@c.example"), "not a mail address"},
		"email with newline":         {general(nameEmail, "alice\nBcc:x@a.example"), "not a mail address"},
		"email with dots together":   {general(nameEmail, "a..b@c.example"), "not a mail address"},
		"email local part of 65":     {general(nameEmail, strings.Repeat("a", 65)+"@c.example"), "not a mail address"},
		"email with IP literal":      {general(nameEmail, "a@[192.0.2.1]"), "character '['"},
		"email with a wildcard host": {general(nameEmail, "a@*.example"), "* is only accepted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			csr := testCSR{attributes: extRequest(extension(oidSAN, false, seq(test.names)))}
			_, err := ParseRequest(csr.pem(t))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

func TestParseRequestAcceptsSANs(t *testing.T) {
	tests := map[string]struct {
		name []byte
		want string
	}{
		"host":             {dns("a.example"), "DNS:a.example"},
		"single label":     {dns("localhost"), "DNS:localhost"},
		"wildcard":         {dns("*.example"), "DNS:*.example"},
		"underscore":       {dns("_xmpp.a_b.example"), "DNS:_xmpp.a_b.example"},
		"A-label":          {dns("xn--bcher-kva.example"), "DNS:xn--bcher-kva.example"},
		"capitals":         {dns("A.EXAMPLE"), "DNS:A.EXAMPLE"},
		"digits below":     {dns("1.2.3.4.example"), "DNS:1.2.3.4.example"},
		"name of 253":      {dns(strings.Repeat("abcdefg.", 31) + "abcde"), "DNS:" + strings.Repeat("abcdefg.", 31) + "abcde"},
		"IPv4":             {general(nameIP, "\xc0\x00\x02\x01"), "IP:192.0.2.1"},
		"IPv6":             {general(nameIP, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01"), "IP:2001:db8::1"},
		"IPv4 in IPv6":     {general(nameIP, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01"), "IP:::ffff:192.0.2.1"},
		"URI":              {general(nameURI, "https://a.example:8443/x?y#z"), "URI:https://a.example:8443/x?y#z"},
		"URI of a SPIFFE":  {general(nameURI, "spiffe://prod.example/ns/a/sa/b"), "URI:spiffe://prod.example/ns/a/sa/b"},
		"URN":              {general(nameURI, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), "URI:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
		"email":            {general(nameEmail, "o'brien+ca@mail.example"), "email:o'brien+ca@mail.example"},
		"email on a host":  {general(nameEmail, "root@localhost"), "email:root@localhost"},
		"email local of64": {general(nameEmail, strings.Repeat("a", 64)+"@c.example"), "email:" + strings.Repeat("a", 64) + "@c.example"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req, err := ParseRequest(testCSR{attributes: extRequest(san(test.name))}.pem(t))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(req.SANs, []string{test.want}) {
				t.Errorf("SANs = %q, want %q", req.SANs, test.want)
			}
		})
	}
}

func TestParseRequestRefusesExtensions(t *testing.T) {
	one := func(id asn1.ObjectIdentifier, value ...byte) []byte { return extension(id, false, value) }
	ku := one(oidKeyUsage, 3, 2, 5, 0xa0)
	anyOIDs := bytes.Repeat(oid(oidCN), 101)
	tests := map[string]struct {
		extensions []byte
		why        string
	}{
		"KeyUsage twice":                     {append(bytes.Clone(ku), ku...), "duplicate"},
		"SAN twice":                          {append(san(dns("a")), san(dns("b"))...), "duplicate"},
		"critical and unknown":               {extension(oidTLSFeature, true, seq([]byte{2, 1, 5})), "critical extension 1.3.6.1.5.5.7.1.24"},
		"SAN not a list":                     {one(oidSAN, 5, 0), "SubjectAltName: malformed"},
		"SAN trailing":                       {one(oidSAN, append(seq(dns("a")), 5, 0)...), "SubjectAltName: malformed"},
		"KeyUsage not bits":                  {one(oidKeyUsage, 2, 1, 1), "KeyUsage: malformed"},
		"KeyUsage empty":                     {one(oidKeyUsage), "KeyUsage: malformed"},
		"KeyUsage trailing":                  {one(oidKeyUsage, 3, 2, 5, 0xa0, 0), "KeyUsage: malformed"},
		"KeyUsage bad padding":               {one(oidKeyUsage, 3, 2, 5, 0xbf), "KeyUsage: malformed"},
		"KeyUsage 24 bits":                   {one(oidKeyUsage, 3, 4, 0, 1, 2, 3), "KeyUsage: malformed"},
		"ExtendedKeyUsage empty":             {one(oidEKU, 0x30, 0), "ExtendedKeyUsage: malformed"},
		"ExtendedKeyUsage not OIDs":          {one(oidEKU, seq(utf8s("a"))...), "ExtendedKeyUsage: malformed"},
		"ExtendedKeyUsage OID cut":           {one(oidEKU, seq([]byte{6, 2, 0x29, 0x80})...), "ExtendedKeyUsage: malformed"},
		"ExtendedKeyUsage 128-bit arc":       {one(oidEKU, seq(bigOID(t, "2.25.285541874270823339875695650038637483517"))...), "ExtendedKeyUsage: malformed"},
		"ExtendedKeyUsage 101":               {one(oidEKU, seq(anyOIDs)...), "more than 100 usages"},
		"BasicConstraints not a list":        {one(oidBasic, 1, 1, 0xff), "BasicConstraints: malformed"},
		"BasicConstraints odd boolean":       {one(oidBasic, 0x30, 3, 1, 1, 7), "BasicConstraints: malformed"},
		"BasicConstraints negative length":   {one(oidBasic, 0x30, 6, 1, 1, 0xff, 2, 1, 0x80), "BasicConstraints: malformed"},
		"BasicConstraints enormous length":   {one(oidBasic, 0x30, 11, 1, 1, 0xff, 2, 6, 1, 0, 0, 0, 0, 0), "BasicConstraints: malformed"},
		"BasicConstraints a third field":     {one(oidBasic, 0x30, 5, 1, 1, 0xff, 5, 0), "BasicConstraints: malformed"},
		"CertificatePolicies empty":          {one(oidPolicies, 0x30, 0), "CertificatePolicies: malformed"},
		"CertificatePolicies without OID":    {one(oidPolicies, seq(seq(utf8s("a")))...), "CertificatePolicies: malformed"},
		"CertificatePolicies odd qualifiers": {one(oidPolicies, seq(seq(oid(oidCN), utf8s("a")))...), "CertificatePolicies: malformed"},
		"CertificatePolicies qualifier junk": {one(oidPolicies, seq(seq(oid(oidCN), seq([]byte{0xff, 0xff})))...), "CertificatePolicies: malformed DER"},
		"CertificatePolicies qualifier BER":  {one(oidPolicies, seq(seq(oid(oidCN), seq([]byte{0x30, 0x80, 0, 0})))...), "CertificatePolicies: indefinite length"},
		"CertificatePolicies no qualifiers":  {one(oidPolicies, seq(seq(oid(oidCN), seq()))...), "CertificatePolicies: malformed"},
		"CertificatePolicies no qualifier":   {one(oidPolicies, seq(seq(oid(oidCN), seq(seq(oid(oidCN)))))...), "CertificatePolicies: malformed"},
		"CertificatePolicies CPS not IA5":    {one(oidPolicies, seq(seq(oid(oidCN), seq(seq(oid(oidCN), tlv(cbasn1.IA5String, []byte("a\xe9"))))))...), `CertificatePolicies: "a\xe9" is not a valid IA5String`},
		"CertificatePolicies odd text":       {one(oidPolicies, seq(seq(oid(oidCN), seq(seq(oid(oidCN), seq(tlv(tagBMPString, []byte("abc")))))))...), "CertificatePolicies: BMPString of 3 bytes"},
		"CertificatePolicies padded number":  {one(oidPolicies, seq(seq(oid(oidCN), seq(seq(oid(oidCN), seq(seq(utf8s("a"), seq([]byte{2, 2, 0, 1})))))))...), "CertificatePolicies: INTEGER 0x0001 is padded"},
		"CertificatePolicies 101":            {one(oidPolicies, seq(bytes.Repeat(seq(oid(oidCN)), 101))...), "more than 100 policies"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest(testCSR{attributes: extRequest(test.extensions)}.pem(t))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

func TestEscapeText(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"empty":            {"", ""},
		"ASCII":            {`plain text, "quotes" \ and all`, `plain text, "quotes" \ and all`},
		"scripts":          {"Zoë Алиса 愛麗絲 🔑", "Zoë Алиса 愛麗絲 🔑"},
		"NUL and newline":  {"a\x00b\nc\r\td", `a\x00b\x0ac\x0d\x09d`},
		"terminal escape":  {"\x1b]0;x\x07", `\x1b]0;x\x07`},
		"DEL":              {"\x7f", `\x7f`},
		"C1":               {"\u009b31m", `\u009b31m`},
		"bidi":             {"a\u202eb\u2066c", `a\u202eb\u2066c`},
		"separators":       {"a\u2028b\u00a0c", `a\u2028b\u00a0c`},
		"invisible":        {"a\u200bb\ufeff", `a\u200bb\ufeff`},
		"tag characters":   {"a\U000e0041", `a\U000e0041`},
		"invalid UTF-8":    {"a\xff\xc0b", `a\xff\xc0b`},
		"replacement rune": {"a\ufffd", "a\ufffd"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := EscapeText(test.in); got != test.want {
				t.Errorf("EscapeText(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestSubjectString(t *testing.T) {
	attr := func(id asn1.ObjectIdentifier, value string) []byte { return seq(oid(id), utf8s(value)) }
	org := asn1.ObjectIdentifier{2, 5, 4, 10}
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"empty":           {seq(), ""},
		"nil":             {nil, "(unreadable name)"},
		"garbage":         {[]byte("\x30\x80junk"), "(unreadable name)"},
		"reversed":        {seq(set(attr(org, "Example")), set(attr(oidCN, "alice"))), "CN=alice,O=Example"},
		"multi-valued":    {seq(set(attr(org, "Example")), set(attr(oidCN, "alice"), attr(org, "x"))), "CN=alice+O=x,O=Example"},
		"separators":      {cn(`a,O=b+c;d<e>"f"\`), `CN=a\,O\=b\+c\;d\<e\>\"f\"\\`},
		"blanks and hash": {cn("#a "), `CN=\#a\ `},
		"hostile":         {cn("a\n\u202e\xff"), `CN=a\x0a\u202e\xff`},
		"unknown type":    {seq(set(attr(asn1.ObjectIdentifier{1, 2, 3}, "x"))), "1.2.3=x"},
		"not a string":    {seq(set(seq(oid(oidCN), []byte{2, 1, 5}))), "CN=#05"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := SubjectString(test.raw); got != test.want {
				t.Errorf("SubjectString = %q, want %q", got, test.want)
			}
		})
	}
}

func TestSubjectLabels(t *testing.T) {
	tests := map[string]string{
		"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L",
		"2.5.4.8": "ST", "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title",
		"2.5.4.17": "postalCode", "2.5.4.42": "GN", "0.9.2342.19200300.100.1.1": "UID",
		"0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress", "2.5.4.99": "2.5.4.99",
	}
	for id, want := range tests {
		raw := seq(set(seq(bigOID(t, id), utf8s("x"))))
		if got := SubjectString(raw); got != want+"=x" {
			t.Errorf("%s: %q, want %q", id, got, want+"=x")
		}
	}
}

func TestSANStringsOfAnything(t *testing.T) {
	tests := map[string]struct {
		value []byte
		want  []string
	}{
		"no list":     {[]byte{5, 0}, nil},
		"other kinds": {seq(general(nameOther, ""), general(nameRID, "\x29")), []string{"otherName", "registeredID:1.1"}},
		"hostile":     {seq(dns("a\x1b[2J\xff")), []string{`DNS:a\x1b[2J\xff`}},
		"odd address": {seq(general(nameIP, "12345")), []string{"IP:#3132333435"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := SANStrings([]pkix.Extension{{Id: oidCN}, {Id: oidSAN, Value: test.value}})
			if !slices.Equal(got, test.want) {
				t.Errorf("SANStrings = %q, want %q", got, test.want)
			}
		})
	}
	if got := SANStrings(nil); got != nil {
		t.Errorf("SANStrings(nil) = %q", got)
	}
}
