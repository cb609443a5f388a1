package envelope

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func checkRefused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want: … %s …", why)
	}
	if !errors.Is(err, ErrInvalid) || !errors.Is(err, pki.ErrInvalid) {
		t.Fatalf("%T is not a refusal: %v", err, err)
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("refused with %q, want: … %s …", err, why)
	}
	if msg := err.Error(); pki.EscapeText(msg) != msg || len(msg) > 400 {
		t.Errorf("message is not fit to print: %q", msg)
	}
}

// wrap makes the JSON of an envelope of any three values.
func wrap(t testing.TB, payload, digest, signature any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"payload": payload, "digest": digest, "signature": signature})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSignVerify(t *testing.T) {
	payload, err := EncodeLink(Link{OldPEM: "old\n", NewPEM: "né\u2028w <&> \U0001f511"})
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range pki.KeyTypes() {
		t.Run(string(typ), func(t *testing.T) {
			key := pkitest.KeyOf(t, typ)
			data, err := Sign(key, payload)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Verify(key.Public()); err != nil {
				t.Error(err)
			}
			if err := e.Verify(pkitest.KeyOf(t, typ).Public()); !errors.Is(err, ErrBadSignature) {
				t.Errorf("with another key of its type: %v", err)
			}
			if e.Null() {
				t.Error("is a null envelope")
			}
			if got := string(e.Payload()); got != string(payload) {
				t.Errorf("Payload = %s, want %s", got, payload)
			}
			changed, err := Parse(bytes.Replace(data, []byte("old"), []byte("odd"), 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := changed.Verify(key.Public()); !errors.Is(err, ErrBadSignature) {
				t.Errorf("with another payload: %v", err)
			}
		})
	}
}

// TestVerifyRSA signs as a peer could, with all there is to choose.
func TestVerifyRSA(t *testing.T) {
	key := pkitest.SharedKey(t, pki.KeyRSA2048, "signer").(*rsa.PrivateKey)
	const payload = `{"crt_pem": "a"}`
	pss := func(hash crypto.Hash, signed string, salt int) []byte {
		h := hash.New()
		h.Write([]byte(signed))
		sig, err := rsa.SignPSS(rand.Reader, key, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	sum := sha256.Sum256([]byte(payload + "sha256 "))
	v15, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		digest    string
		signature []byte
		err       error
	}{
		"sha256":                      {"sha256", pss(crypto.SHA256, payload+"sha256 ", 256-32-2), nil},
		"sha384":                      {"sha384", pss(crypto.SHA384, payload+"sha384 ", 256-48-2), nil},
		"sha512":                      {"sha512", pss(crypto.SHA512, payload+"sha512 ", 256-64-2), nil},
		"PKCS#1 v1.5":                 {"sha256", v15, ErrBadSignature},
		"salt as long as the hash":    {"sha256", pss(crypto.SHA256, payload+"sha256 ", 32), ErrBadSignature},
		"salt of one byte":            {"sha256", pss(crypto.SHA256, payload+"sha256 ", 1), ErrBadSignature},
		"salt one shorter":            {"sha256", pss(crypto.SHA256, payload+"sha256 ", 256-32-2-1), ErrBadSignature},
		"hash other than its name":    {"sha256", pss(crypto.SHA512, payload+"sha256 ", 256-64-2), ErrBadSignature},
		"name other than the hash":    {"sha512", pss(crypto.SHA256, payload+"sha256 ", 256-32-2), ErrBadSignature},
		"name not signed":             {"sha256", pss(crypto.SHA256, payload, 256-32-2), ErrBadSignature},
		"space not signed":            {"sha256", pss(crypto.SHA256, payload+"sha256", 256-32-2), ErrBadSignature},
		"JSON string signed":          {"sha256", pss(crypto.SHA256, `"{\"crt_pem\": \"a\"}"`+"sha256 ", 256-32-2), ErrBadSignature},
		"signature a byte too long":   {"sha256", append(pss(crypto.SHA256, payload+"sha256 ", 256-32-2), 0), ErrBadSignature},
		"signature of a single byte":  {"sha256", []byte{0}, ErrBadSignature},
		"signature is all ones":       {"sha256", bytes.Repeat([]byte{0xff}, 256), ErrBadSignature},
		"signature with leading zero": {"sha256", append([]byte{0}, pss(crypto.SHA256, payload+"sha256 ", 256-32-2)...), ErrBadSignature},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := Parse(wrap(t, payload, test.digest, base64.StdEncoding.EncodeToString(test.signature)))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Verify(&key.PublicKey); !errors.Is(err, test.err) {
				t.Errorf("Verify = %v, want %v", err, test.err)
			}
		})
	}
}

func TestVerifyRefusesKeys(t *testing.T) {
	e, err := Parse(wrap(t, "{}", "sha256", "AAAA"))
	if err != nil {
		t.Fatal(err)
	}
	modulus := func(bits uint) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
	}
	tests := map[string]struct {
		pub crypto.PublicKey
		why string
	}{
		"RSA 1024":   {modulus(1024), "RSA 1024"},
		"RSA 262144": {modulus(262_144), "RSA 262144"},
		"nil":        {nil, "unknown"},
		"string":     {"key", "string"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { checkRefused(t, e.Verify(test.pub), test.why) })
	}
	if err := e.Verify(&ecdsa.PublicKey{Curve: elliptic.P256()}); err == nil {
		t.Error("a key without coordinates verifies")
	}
}

func TestUnsigned(t *testing.T) {
	data, err := Unsigned([]byte(`{"revoke_serial": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), `{"payload":"{\"revoke_serial\": 5}","digest":null}`; got != want {
		t.Errorf("Unsigned = %s, want %s", got, want)
	}
	for name, text := range map[string]string{
		"ours":           string(data),
		"with null":      `{"payload": "{\"revoke_serial\": 5}", "digest": null, "signature": null}`,
		"other order":    `{"digest": null, "payload": "{\"revoke_serial\": 5}"}`,
		"escaped at all": `{"digest": null, "payload": "{\"\u0072evoke_serial\": 5}"}`,
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if !e.Null() || string(e.Payload()) != `{"revoke_serial": 5}` {
				t.Errorf("Null = %v, Payload = %s", e.Null(), e.Payload())
			}
			if err := e.Verify(pkitest.KeyOf(t, pki.KeyECDSAP256).Public()); !errors.Is(err, ErrBadSignature) {
				t.Errorf("Verify = %v", err)
			}
		})
	}
}

func TestNotUTF8(t *testing.T) {
	if _, err := Unsigned([]byte("\xff")); err == nil {
		t.Error("Unsigned wraps invalid UTF-8")
	}
	if _, err := Sign(pkitest.KeyOf(t, pki.KeyECDSAP256), []byte("\xff")); err == nil {
		t.Error("Sign wraps invalid UTF-8")
	}
	if _, err := EncodeRevocation(Revocation{CertificatePEM: "\xff"}); err == nil {
		t.Error("EncodeRevocation writes invalid UTF-8")
	}
	if _, err := EncodeRenewal(Renewal{CertificatePEM: "\xff"}); err == nil {
		t.Error("EncodeRenewal writes invalid UTF-8")
	}
}

// TestPythonEscapes signs text and lets it travel as json.dumps writes it.
func TestPythonEscapes(t *testing.T) {
	key := pkitest.KeyOf(t, pki.KeyECDSAP256)
	payload := "{\"crt_pem\": \"é🔑\u007f\"}"
	data, err := Sign(key, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	escaped := strings.NewReplacer("é", `\u00e9`, "🔑", `\ud83d\udd11`).Replace(string(data))
	if escaped == string(data) {
		t.Fatal("nothing to escape")
	}
	e, err := Parse([]byte(escaped))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(key.Public()); err != nil {
		t.Error(err)
	}
	if string(e.Payload()) != payload {
		t.Errorf("Payload = %q, want %q", e.Payload(), payload)
	}
}

// TestPyca reads what pyca/cryptography signed with PSS.MAX_LENGTH, json.dumps escaped
// and base64.encodebytes folded, the tools of the reference's own trade.
func TestPyca(t *testing.T) {
	data, err := os.ReadFile("testdata/pyca.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/pyca.pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseList(data)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d envelopes, %v", len(list), err)
	}
	for _, e := range list {
		if err := e.Verify(pub); err != nil {
			t.Errorf("%s: %v", e.digest, err)
		}
		renewal, err := DecodeRenewal(e.Payload())
		if want := (Renewal{"-----é🔑\n", "b\u2028/<\">"}); err != nil || renewal != want {
			t.Errorf("%s: %+v, %v; want %+v", e.digest, renewal, err, want)
		}
	}
}

func TestParseSignatureBase64(t *testing.T) {
	raw := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 50)
	line := base64.StdEncoding.EncodeToString(raw)
	tests := map[string]struct {
		signature string
		ok        bool
	}{
		"one line":             {line, true},
		"trailing newline":     {line + "\n", true},
		"76 columns":           {line[:76] + "\n" + line[76:152] + "\n" + line[152:] + "\n", true},
		"76 columns, CRLF":     {line[:76] + "\r\n" + line[76:] + "\r\n", true},
		"empty":                {"", false},
		"only a newline":       {"\n", false},
		"blank inside":         {line[:76] + " " + line[76:], false},
		"no padding":           {strings.TrimRight(line, "="), false},
		"after the padding":    {line + "AAAA", false},
		"base64url":            {"-_" + line[2:], false},
		"loose last bits":      {"MB==", false},
		"garbage":              {"not base64", false},
		"NUL":                  {line[:8] + "\x00" + line[8:], false},
		"longer than any":      {strings.Repeat("A", 4100), false},
		"newlines without end": {strings.Repeat("\n", 1<<20), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := Parse(wrap(t, "{}", "sha256", test.signature))
			if !test.ok {
				checkRefused(t, err, "signature")
				return
			}
			if err != nil || !bytes.Equal(e.signature, raw) {
				t.Errorf("got %v, %v", e, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	tests := map[string]struct{ text, why string }{
		"empty":                 {``, ""},
		"not JSON":              {`<html>`, ""},
		"null":                  {`null`, "payload"},
		"a list":                {`[]`, ""},
		"a string":              {`"{}"`, ""},
		"no payload":            {`{"digest": null}`, "payload"},
		"null payload":          {`{"payload": null, "digest": null}`, "payload"},
		"payload an object":     {`{"payload": {}, "digest": null}`, "payload"},
		"payload a number":      {`{"payload": 1, "digest": null}`, "payload"},
		"no digest":             {`{"payload": "{}"}`, "digest"},
		"no digest, signature":  {`{"payload": "{}", "signature": "AAAA"}`, "digest"},
		"digest a number":       {`{"payload": "{}", "digest": 256}`, "digest"},
		"digest false":          {`{"payload": "{}", "digest": false}`, "digest"},
		"digest empty":          {`{"payload": "{}", "digest": "", "signature": "AAAA"}`, "digest"},
		"digest md5":            {`{"payload": "{}", "digest": "md5", "signature": "AAAA"}`, "digest"},
		"digest sha1":           {`{"payload": "{}", "digest": "sha1", "signature": "AAAA"}`, "digest"},
		"digest with a space":   {`{"payload": "{}", "digest": "sha256 ", "signature": "AAAA"}`, "digest"},
		"digest in capitals":    {`{"payload": "{}", "digest": "SHA256", "signature": "AAAA"}`, "digest"},
		"digest hostile":        {`{"payload": "{}", "digest": "\u001b[2J\u202e", "signature": "AAAA"}`, "digest"},
		"digest null, signed":   {`{"payload": "{}", "digest": null, "signature": "AAAA"}`, "without a digest"},
		"no signature":          {`{"payload": "{}", "digest": "sha256"}`, "signature"},
		"null signature":        {`{"payload": "{}", "digest": "sha256", "signature": null}`, "signature"},
		"signature a list":      {`{"payload": "{}", "digest": "sha256", "signature": ["AAAA"]}`, "signature"},
		"unknown name":          {`{"payload": "{}", "digest": null, "x": 1}`, "unknown"},
		"hostile name":          {"{\"payload\": \"{}\", \"digest\": null, \"\u009b2J\u202e" + strings.Repeat("x", 9999) + "\": 1}", ""},
		"name in capitals":      {`{"Payload": "{}", "digest": null}`, "unknown"},
		"name twice":            {`{"payload": "{}", "payload": "[]", "digest": null}`, "duplicate"},
		"name twice, escaped":   {`{"payload": "{}", "p\u0061yload": "[]", "digest": null}`, "duplicate"},
		"name in two cases":     {`{"payload": "{}", "digest": null, "DIGEST": "sha256"}`, "unknown"},
		"trailing data":         {`{"payload": "{}", "digest": null} {}`, ""},
		"trailing comma":        {`{"payload": "{}", "digest": null,}`, ""},
		"trailing NUL":          {"{\"payload\": \"{}\", \"digest\": null}\x00", ""},
		"comment":               {`{"payload": "{}", /* */ "digest": null}`, ""},
		"single quotes":         {`{'payload': '{}', 'digest': null}`, ""},
		"invalid UTF-8":         {"{\"payload\": \"\xff\", \"digest\": null}", "UTF-8"},
		"lone surrogate":        {`{"payload": "\ud83d", "digest": null}`, ""},
		"raw newline in string": {"{\"payload\": \"a\nb\", \"digest\": null}", ""},
		"byte order mark":       {"\ufeff{\"payload\": \"{}\", \"digest\": null}", ""},
		"cut":                   {`{"payload": "{}", "digest": nu`, ""},
		"10,000 deep":           {`{"payload": "{}", "digest": ` + deep + `}`, "nested deeper"},
		"10,000 deep, unclosed": {strings.Repeat(`{"payload":`, 10_000), "nested deeper"},
		"over MaxSize":          {`{"payload": "` + strings.Repeat("x", MaxSize) + `", "digest": null}`, "longer than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			checkRefused(t, err, test.why)
		})
	}
}

func TestParseAcceptsBracketsInText(t *testing.T) {
	data, err := Unsigned([]byte(strings.Repeat(`["\"{`, 100)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(data); err != nil {
		t.Error(err)
	}
}

func TestParseList(t *testing.T) {
	const one = `{"payload": "{}", "digest": null}`
	times := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]" }
	for name, test := range map[string]struct {
		text string
		n    int
	}{
		"empty":     {" [ ]\n", 0},
		"one":       {times(1), 1},
		"the limit": {times(MaxList), MaxList},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := ParseList([]byte(test.text))
			if err != nil || len(list) != test.n {
				t.Errorf("got %d, %v; want %d", len(list), err, test.n)
			}
		})
	}
	for name, test := range map[string]struct{ text, why string }{
		"nothing":        {"", "not a JSON list"},
		"one, bare":      {one, "not a JSON list"},
		"above limit":    {times(MaxList + 1), "more than 1000"},
		"no end":         {"[" + one, ""},
		"no comma":       {"[" + one + one + "]", ""},
		"trailing comma": {"[" + one + ",]", ""},
		"trailing data":  {times(1) + "[]", "followed by"},
		"trailing junk":  {times(1) + "x", "followed by"},
		"a number":       {"[1]", ""},
		"a list within":  {"[[]]", ""},
		"last is bad":    {"[" + one + `,{"payload": "{}"}]`, "digest"},
		"10,000 deep":    {strings.Repeat("[", 10_000), "nested deeper"},
		"over MaxSize":   {strings.Repeat(" ", MaxSize+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseList([]byte(test.text))
			checkRefused(t, err, test.why)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"payload": "{}", "digest": null}`))
	f.Add([]byte(`{"payload": "{\"a\": \"\ud83d\udd11\"}", "digest": "sha256", "signature": "AAAA\nAAAA\n"}`))
	f.Add([]byte(`[{"payload": "\u0000", "digest": null, "signature": null}]`))
	key := pkitest.KeyOf(f, pki.KeyECDSAP256).Public()
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ParseList(data); err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%T is not a refusal: %v", err, err)
		}
		e, err := Parse(data)
		if err != nil {
			checkRefused(t, err, "")
			return
		}
		if e.Verify(key) == nil {
			t.Error("verifies with a key that never signed")
		}
		again, err := Unsigned(e.Payload())
		if err != nil {
			t.Fatal(err)
		}
		if copied, err := Parse(again); err != nil || copied.payload != e.payload {
			t.Errorf("payload %q does not come back: %v", e.payload, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, typ := range pki.KeyTypes() {
		key := pkitest.KeyOf(b, typ)
		data, err := Sign(key, bytes.Repeat([]byte("x"), 4000))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(typ), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if err := e.Verify(key.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
