package pki

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// checkRefused wants an Error that says what and contains why, and is printable.
func checkRefused(t *testing.T, err error, what, why string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want %s: … %s …", what, why)
	}
	var refused *Error
	if !errors.As(err, &refused) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("%T is not a refusal: %v", err, err)
	}
	if refused.What != what || !strings.Contains(refused.Why, why) {
		t.Errorf("refused with %q, want %s: … %s …", err, what, why)
	}
	if !printable(err.Error()) || len(err.Error()) > 400 {
		t.Errorf("message is not fit to print: %q", err)
	}
}

func TestParseRequestKeyTypes(t *testing.T) {
	for _, typ := range KeyTypes() {
		t.Run(string(typ), func(t *testing.T) {
			key, err := typ.Generate()
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject:        pkix.Name{CommonName: "alice", Organization: []string{"Example"}},
				DNSNames:       []string{"alice.example", "*.alice.example"},
				IPAddresses:    []net.IP{{192, 0, 2, 1}, net.ParseIP("2001:db8::1")},
				EmailAddresses: []string{"alice@example.org"},
			}, key)
			if err != nil {
				t.Fatal(err)
			}
			input := bytes.ReplaceAll(EncodeCSRPEM(der), []byte("\n"), []byte("\r\n"))
			req, err := ParseRequest(input)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := req.Subject, "CN=alice,O=Example"; got != want {
				t.Errorf("Subject = %q, want %q", got, want)
			}
			want := []string{"DNS:alice.example", "DNS:*.alice.example", "email:alice@example.org", "IP:192.0.2.1", "IP:2001:db8::1"}
			if !slices.Equal(req.SANs, want) {
				t.Errorf("SANs = %q, want %q", req.SANs, want)
			}
			if got := SANStrings(req.CSR.Extensions); !slices.Equal(got, want) {
				t.Errorf("SANStrings = %q, want %q", got, want)
			}
			if !bytes.Equal(req.PEM, input) {
				t.Error("PEM is not what was submitted")
			}
			if req.Digest != sha256.Sum256(der) {
				t.Error("Digest is not that of the DER")
			}
			if id, err := KeyID(key.Public()); err != nil || !bytes.Equal(id, req.KeyID) {
				t.Errorf("KeyID = %x, want %x (%v)", req.KeyID, id, err)
			}
		})
	}
}

func TestParseRequestAccepts(t *testing.T) {
	tests := map[string]testCSR{
		"as small as they come":  {},
		"P-384":                  {key: ecKey(t, elliptic.P384())},
		"P-521":                  {key: ecKey(t, elliptic.P521())},
		"challenge password":     {attributes: seq(oid(oidChallenge), set(utf8s("secret")))},
		"no subject but a SAN":   {subject: seq(), attributes: extRequest(san(dns("a.example")))},
		"100 SANs":               {attributes: extRequest(san(many(MaxSANs)...))},
		"name in another script": {subject: cn("Алиса 愛麗絲 \u200c")},
		"wants to be a CA": {attributes: extRequest(
			extension(oidBasic, true, seq([]byte{1, 1, 0xff, 2, 1, 3})),
			extension(oidKeyUsage, true, []byte{3, 2, 1, 6}),
			extension(oidNameConstraints, true, seq()))},
		"BasicConstraints with its default":           {attributes: extRequest(extension(oidBasic, true, seq([]byte{1, 1, 0})))},
		"unknown extension, not critical":             {attributes: extRequest(extension(oidTLSFeature, false, seq([]byte{2, 1, 5})))},
		"the same names in Microsoft's old attribute": {attributes: append(extRequest(san(dns("a.example"))), seq(oid(oidMSExtRequest), set(seq(san(dns("a.example")))))...)},
		"sorted attributes of one RDN":                {subject: seq(set(seq(oid(oidCN), utf8s("a")), seq(oid(asn1.ObjectIdentifier{2, 5, 4, 11}), utf8s("x"))))},
		"policy with a 128-bit arc": {attributes: extRequest(extension(oidPolicies, false, seq(seq(
			bigOID(t, "2.25.285541874270823339875695650038637483517.1")))))},
	}
	for name, csr := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseRequest(csr.pem(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func many(n int) [][]byte {
	names := make([][]byte, n)
	for i := range names {
		names[i] = dns(fmt.Sprintf("host%d.example", i))
	}
	return names
}

func bigOID(t *testing.T, s string) []byte {
	id, err := x509.ParseOID(s)
	if err != nil {
		t.Fatal(err)
	}
	content, err := id.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return tlv(cbasn1.OBJECT_IDENTIFIER, content)
}

func TestParseRequestRefusesKeys(t *testing.T) {
	e := big.NewInt(65537)
	point := func(curve asn1.ObjectIdentifier, p []byte) []byte {
		return seq(seq(oid(oidEC), oid(curve)), bitString(p))
	}
	p256 := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	p224, err := x509.MarshalPKIXPublicKey(ecKey(t, elliptic.P224()).Public())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		spki []byte
		why  string
	}{
		"RSA 1024":             {rsaSPKI(oddOfSize(t, 1024), e), "RSA modulus of 1024 bits: at least 2048 needed"},
		"RSA 2047":             {rsaSPKI(oddOfSize(t, 2047), e), "RSA modulus of 2047 bits: at least 2048 needed"},
		"RSA 8193":             {rsaSPKI(oddOfSize(t, 8193), e), "RSA modulus of 8193 bits: at most 8192 accepted"},
		"RSA 262144":           {rsaSPKI(oddOfSize(t, 262_144), e), "RSA modulus of 262144 bits: at most 8192 accepted"},
		"e = 1":                {rsaSPKI(oddOfSize(t, 2048), big.NewInt(1)), "RSA exponent 1: only 65537"},
		"e = 2":                {rsaSPKI(oddOfSize(t, 2048), big.NewInt(2)), "RSA exponent 2: only 65537"},
		"e = 3":                {rsaSPKI(oddOfSize(t, 2048), big.NewInt(3)), "RSA exponent 3: only 65537"},
		"e of 61 bits":         {rsaSPKI(oddOfSize(t, 2048), big.NewInt(1<<60+1)), "only 65537"},
		"e of 2048 bits":       {rsaSPKI(oddOfSize(t, 2048), oddOfSize(t, 2048)), "exponent"},
		"e negative":           {rsaSPKI(oddOfSize(t, 2048), big.NewInt(-3)), "exponent"},
		"even modulus":         {rsaSPKI(new(big.Int).Lsh(big.NewInt(1), 2047), e), "odd primes"},
		"negative modulus":     {rsaSPKI(new(big.Int).Neg(oddOfSize(t, 2048)), e), "modulus"},
		"small factor, 2048":   {rsaSPKI(new(big.Int).Mul(oddOfSize(t, 2040), big.NewInt(251)), e), "small prime"},
		"small factor, 2100":   {rsaSPKI(new(big.Int).Mul(oddOfSize(t, 2092), big.NewInt(251)), e), "small prime"},
		"ROCA 2048":            {rsaSPKI(rocaModulus(t, 2048), e), "Infineon"},
		"ROCA 2176":            {rsaSPKI(rocaModulus(t, 2176), e), "Infineon"},
		"close primes 2048":    {rsaSPKI(closeModulus(t, 2048), e), "too close together"},
		"close primes 2304":    {rsaSPKI(closeModulus(t, 2304), e), "too close together"},
		"P-224":                {p224, "P-224"},
		"secp256k1":            {point(asn1.ObjectIdentifier{1, 3, 132, 0, 10}, make([]byte, 65)), "curve"},
		"explicit curve":       {seq(seq(oid(oidEC), seq(integer(e))), bitString(make([]byte, 65))), "ECDSA parameters"},
		"point not on curve":   {point(p256, append([]byte{4}, make([]byte, 64)...)), "P256"},
		"point at infinity":    {point(p256, []byte{0}), "ecdsa"},
		"DSA":                  {seq(seq(oid(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}), seq(integer(e), integer(e), integer(e))), bitString(integer(e))), "RSA, ECDSA or Ed25519 needed"},
		"X25519":               {seq(seq(oid(asn1.ObjectIdentifier{1, 3, 101, 110})), bitString(make([]byte, 32))), "RSA, ECDSA or Ed25519 needed"},
		"Ed448":                {seq(seq(oid(asn1.ObjectIdentifier{1, 3, 101, 113})), bitString(make([]byte, 57))), "algorithm is not accepted"},
		"RSA-PSS key":          {seq(seq(oid(oidRSAPSS)), bitString(seq(integer(oddOfSize(t, 2048)), integer(e)))), "algorithm is not accepted"},
		"Ed25519 of 31 bytes":  {seq(seq(oid(asn1.ObjectIdentifier{1, 3, 101, 112})), bitString(make([]byte, 31))), "Ed25519"},
		"Ed25519 of order 1":   {seq(seq(oid(asn1.ObjectIdentifier{1, 3, 101, 112})), bitString(append([]byte{1}, make([]byte, 31)...))), "small order"},
		"RSA key of two bytes": {seq(seq(oid(oidRSA), []byte{5, 0}), bitString([]byte{0, 0})), "RSA"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest(testCSR{spki: test.spki}.pem(t))
			checkRefused(t, err, "CSR", test.why)
			_, err = ParseStored(testCSR{spki: test.spki}.pem(t))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

func TestParseRequestRefusesSignatures(t *testing.T) {
	rsaSigner := rsaKey(t, 2048)
	null := []byte{5, 0}
	tests := map[string]struct {
		csr testCSR
		why string
	}{
		"by another key": {testCSR{sign: signWith(ecKey(t, elliptic.P256()), crypto.SHA256)}, "does not verify"},
		"empty":          {testCSR{sign: func(testing.TB, []byte) []byte { return nil }}, "does not verify"},
		"SHA-1 with ECDSA": {func() testCSR {
			key := ecKey(t, elliptic.P256())
			return testCSR{key: key, algorithm: seq(oid(oidECDSASHA1)), sign: signWith(key, crypto.SHA1)}
		}(), "ECDSA-SHA1 is not accepted"},
		"SHA-1 with RSA": {testCSR{key: rsaSigner, algorithm: seq(oid(oidSHA1RSA), null), sign: signWith(rsaSigner, crypto.SHA1)}, "SHA1-RSA is not accepted"},
		"MD5 with RSA":   {testCSR{key: rsaSigner, algorithm: seq(oid(oidMD5RSA), null), sign: signWith(rsaSigner, crypto.MD5)}, "is not accepted"},
		"PSS without parameters": {testCSR{key: rsaSigner, algorithm: seq(oid(oidRSAPSS), seq()), sign: func(t testing.TB, info []byte) []byte {
			sum := sha256.Sum256(info)
			sig, err := rsa.SignPSS(rand.Reader, rsaSigner, crypto.SHA256, sum[:], nil)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}}, "1.2.840.113549.1.1.10 is not known"},
		"algorithm of another key type": {testCSR{key: rsaSigner, sign: signWith(rsaSigner, crypto.SHA256)}, "does not verify"},
		"ECDSA with NULL":               {testCSR{algorithm: seq(oid(oidECDSASHA256), null)}, "signature algorithm: parameters that it does not have"},
		"ECDSA with a number":           {testCSR{algorithm: seq(oid(oidECDSASHA256), []byte{2, 1, 0})}, "signature algorithm: parameters that it does not have"},
		"RSA with a number":             {testCSR{key: rsaSigner, algorithm: seq(oid(oidSHA256RSA), []byte{2, 1, 0}), sign: signWith(rsaSigner, crypto.SHA256)}, "signature algorithm: parameters that it does not have"},
		"RSA with two NULLs":            {testCSR{key: rsaSigner, algorithm: seq(oid(oidSHA256RSA), null, null), sign: signWith(rsaSigner, crypto.SHA256)}, "signature algorithm: parameters that it does not have"},
		"unknown with parameters":       {testCSR{algorithm: seq(oid(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 5}), null)}, "1.3.6.1.4.1.5 is not known"},
		"unknown algorithm":             {testCSR{algorithm: seq(oid(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 5}))}, "1.3.6.1.4.1.5 is not known"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := test.csr.pem(t)
			_, err := ParseRequest(text)
			checkRefused(t, err, "CSR", test.why)
			// What is kept was verified when it came; rules that need no arithmetic hold for it as for others.
			stored, err := ParseStored(text)
			if test.why == "does not verify" {
				if err != nil || !bytes.Equal(stored.PEM, text) {
					t.Errorf("kept: %v", err)
				}
				return
			}
			checkRefused(t, err, "CSR", test.why)
		})
	}
	t.Run("of a changed request", func(t *testing.T) {
		der := testCSR{subject: cn("alice")}.der(t)
		_, err := ParseRequest(EncodeCSRPEM(bytes.Replace(der, []byte("alice"), []byte("carol"), 1)))
		checkRefused(t, err, "CSR", "does not verify")
	})
}

func TestParseRequestRefusesStructure(t *testing.T) {
	deep := []byte{5, 0}
	for range 100 {
		deep = seq(deep)
	}
	exts := extRequest(san(dns("a.example")))
	tests := map[string]struct {
		csr testCSR
		why string
	}{
		"version 3":                       {testCSR{version: 2}, "version 2"},
		"version -1":                      {testCSR{version: -1}, "version -1"},
		"two extension requests":          {testCSR{attributes: append(exts, extRequest(san(dns("b.example")))...)}, "twice"},
		"the same extension request":      {testCSR{attributes: append(exts, exts...)}, "twice"},
		"extension request of two":        {testCSR{attributes: seq(oid(oidExtRequest), set(seq(), seq()))}, "exactly one list"},
		"extension request of none":       {testCSR{attributes: seq(oid(oidExtRequest), set())}, "malformed attribute"},
		"extension request not a list":    {testCSR{attributes: seq(oid(oidExtRequest), set(utf8s("x")))}, "exactly one list"},
		"two challenge passwords":         {testCSR{attributes: bytes.Repeat(seq(oid(oidChallenge), set(utf8s("x"))), 2)}, "twice"},
		"attribute with a third field":    {testCSR{attributes: seq(oid(oidChallenge), set(utf8s("x")), []byte{5, 0})}, "malformed attribute"},
		"attribute without a value":       {testCSR{attributes: seq(oid(oidChallenge))}, "malformed attribute"},
		"attributes not attributes":       {testCSR{attributes: []byte{5, 0}}, "malformed attribute"},
		"no field for attributes":         {testCSR{noAttrs: true}, "the field for attributes is missing"},
		"attributes not sorted":           {testCSR{attributes: append(seq(oid(oidChallenge), set(utf8s("x"))), seq(oid(oidExtRequest), set(seq()))...)}, "attributes: SET whose elements are not sorted"},
		"values not sorted":               {testCSR{attributes: seq(oid(oidChallenge), set(utf8s("b"), utf8s("a")))}, "attribute 1.2.840.113549.1.9.7: SET whose elements are not sorted"},
		"attribute not printable":         {testCSR{attributes: seq(oid(oidChallenge), set(tlv(cbasn1.PrintableString, []byte("a_b"))))}, `attribute 1.2.840.113549.1.9.7: "a_b" is not a valid PrintableString`},
		"attribute of odd BOOLEAN":        {testCSR{attributes: seq(oid(oidChallenge), set([]byte{1, 1, 1}))}, "attribute 1.2.840.113549.1.9.7: BOOLEAN 0x01"},
		"attribute of odd time":           {testCSR{attributes: seq(oid(oidChallenge), set(tlv(cbasn1.UTCTime, []byte("2601010000Z"))))}, "malformed time"},
		"names where Windows 2000 had it": {testCSR{attributes: seq(oid(oidMSExtRequest), set(seq(san(dns("a.example")))))}, "Microsoft's old attribute 1.3.6.1.4.1.311.2.1.14"},
		"other names there":               {testCSR{attributes: append(extRequest(san(dns("b.example"))), seq(oid(oidMSExtRequest), set(seq(san(dns("a.example")))))...)}, "Microsoft's old attribute"},
		"nested 100 deep":                 {testCSR{attributes: seq(oid(oidChallenge), set(deep))}, "deeper than"},
		"tag above 30":                    {testCSR{attributes: []byte{0x1f, 0x81, 0x01, 0x00}}, "malformed DER"},
		"neither subject nor SAN":         {testCSR{subject: seq()}, "names nobody"},
		"subject of an empty RDN":         {testCSR{subject: seq(set())}, "malformed name"},
		"subject not a name":              {testCSR{subject: []byte{5, 0}}, ""},
		"subject of 101 attributes":       {testCSR{subject: seq(bytes.Repeat(set(seq(oid(oidCN), utf8s("a"))), 101))}, "more than 100"},
		"subject of 101 in one attribute": {testCSR{subject: seq(set(bytes.Repeat(seq(oid(oidCN), utf8s("a")), 101)))}, "more than 100"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest(test.csr.pem(t))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

// TestParseRequestRefusesWhatX509ReadsPast: in one request among many, each of these makes readers that are stricter fail as a whole.
func TestParseRequestRefusesWhatX509ReadsPast(t *testing.T) {
	ec, rsa := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	null, one := []byte{5, 0}, []byte{2, 1, 1}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	curve := append(oid(oidEC), oid(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})...)
	numbers := append(integer(rsa.N), integer(big.NewInt(int64(rsa.E)))...)
	key := "public key: more than a key"
	tests := map[string]struct {
		csr testCSR
		why string
	}{
		"EC and NULL":            {testCSR{key: ec, spki: seq(seq(curve, null), bitString(point))}, key},
		"field after an EC key":  {testCSR{key: ec, spki: seq(seq(curve), bitString(point), null)}, key},
		"RSA with two NULLs":     {testCSR{key: rsa, spki: seq(seq(oid(oidRSA), null, null), bitString(seq(numbers)))}, key},
		"RSA with a third part":  {testCSR{key: rsa, spki: seq(seq(oid(oidRSA), null), bitString(seq(numbers, one)))}, key},
		"something after RSA":    {testCSR{key: rsa, spki: seq(seq(oid(oidRSA), null), bitString(append(seq(numbers), 0)))}, key},
		"field after signature":  {testCSR{key: ec, trailer: null}, "something follows the signature"},
		"second after signature": {testCSR{key: ec, trailer: bitString([]byte{1})}, "something follows the signature"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.csr.key == rsa {
				test.csr.algorithm, test.csr.sign = seq(oid(oidSHA256RSA), null), signWith(rsa, crypto.SHA256)
			}
			data := test.csr.pem(t)
			_, err := ParseRequest(data)
			checkRefused(t, err, "CSR", test.why)
			_, err = ParseRenewalRequest(data)
			checkRefused(t, err, "CSR", test.why)
		})
	}
}

func TestParseRequestRefusesDER(t *testing.T) {
	good := testCSR{}.der(t)
	content := good[bytes.Index(good, []byte{0x30, 0x81})+3:]
	indefinite := append(append([]byte{0x30, 0x80}, content...), 0, 0)
	tests := map[string]struct {
		der []byte
		why string
	}{
		"trailing byte":       {append(bytes.Clone(good), 0), "trailing data"},
		"trailing request":    {append(bytes.Clone(good), good...), "trailing data"},
		"indefinite length":   {indefinite, "indefinite length"},
		"long form too long":  {append([]byte{0x30, 0x82, 0}, good[2:]...), "malformed DER"},
		"cut":                 {good[:len(good)-1], "malformed DER"},
		"empty sequence":      {seq(), ""},
		"four billion bytes":  {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "malformed DER"},
		"a number":            {[]byte{2, 1, 1}, ""},
		"an empty OID inside": {seq(seq(tlv(cbasn1.OBJECT_IDENTIFIER)), seq(), bitString(nil)), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest(EncodeCSRPEM(test.der))
			checkRefused(t, err, "CSR", test.why)
		})
	}
}
