package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestParseRequestPEM(t *testing.T) {
	der := testCSR{}.der(t)
	good := string(EncodeCSRPEM(der))
	legacy := strings.ReplaceAll(good, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	begin, end := "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"
	body := strings.TrimSuffix(strings.TrimPrefix(good, begin+"\n"), end+"\n")
	oneLine := begin + "\n" + strings.ReplaceAll(body, "\n", "") + "\n" + end
	const noEnd = "has no end"

	tests := map[string]struct {
		input string
		why   string // empty: accepted
	}{
		"as encoded":               {good, ""},
		"NEW":                      {legacy, ""},
		"CRLF":                     {strings.ReplaceAll(good, "\n", "\r\n"), ""},
		"no final newline":         {strings.TrimSpace(good), ""},
		"white space around":       {" \r\n\t\n" + good + "\n \n", ""},
		"blanks at line ends":      {strings.ReplaceAll(good, "\n", " \t\n"), ""},
		"one long line":            {oneLine, ""},
		"empty":                    {"", "no PEM block"},
		"blank":                    {" \n", "no PEM block"},
		"DER":                      {string(der), ""},
		"junk before":              {"x\n" + good, "where a PEM block should begin"},
		"junk on the line":         {"x" + good, "where a PEM block should begin"},
		"junk after":               {good + "x", "where a PEM block should begin"},
		"junk after its end":       {strings.TrimSpace(good) + "x\n", "instead of its end"},
		"two requests":             {good + good, "2 PEM blocks"},
		"a certificate":            {strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"), `block "CERTIFICATE" where`},
		"request and certificate":  {good + strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"), `block "CERTIFICATE" where`},
		"other end":                {strings.ReplaceAll(good, end, "-----END NEW CERTIFICATE REQUEST-----"), "instead of its end"},
		"no end":                   {begin + "\n" + body, noEnd},
		"begin only":               {begin, noEnd},
		"begin twice":              {begin + "\n" + good, "instead of its end"},
		"end on the last line":     {begin + "\n" + strings.TrimSpace(body) + end, "not on its own line"},
		"begin shares its line":    {begin + body + end, "should begin"},
		"header":                   {begin + "\nProc-Type: 4,ENCRYPTED\n\n" + body + end, "headers"},
		"header without blank":     {begin + "\nA: b\n" + body + end, "headers"},
		"no body":                  {begin + "\n" + end, "is empty"},
		"not base64":               {begin + "\n" + "?" + body + end, "not base64"},
		"base64 cut":               {begin + "\n" + strings.TrimRight(strings.TrimSpace(body), "=")[1:] + "\n" + end, "not base64"},
		"base64 with data after =": {begin + "\n" + body + "AAAA\n" + end, ""},
		"base64 loose last bits":   {begin + "\nMAB=\n" + end, "not base64"},
		"base64url":                {begin + "\n-_" + body + end, "not base64"},
		"lower-case label":         {strings.ReplaceAll(good, "CERTIFICATE", "certificate"), "should begin"},
		"NUL inside":               {strings.Replace(good, "\n", "\n\x00", 1), "NUL"},
		"NUL after":                {good + "\x00", "NUL"},
		"four dashes":              {good[1:], "should begin"},
		"Unicode space":            {"\u00a0" + good, "should begin"},
		"byte order mark":          {"\ufeff" + good, "byte order mark (EF BB BF)"},
		"100 KiB of blanks":        {good + strings.Repeat(" ", MaxCSRSize), "longer than 102400 bytes"},
		"escape in the type":       {"-----BEGIN \x1b[2J-----\n" + body + end, "should begin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest([]byte(test.input))
			switch {
			case name == "DER" || name == "base64 with data after =":
				// Where in the noise the first error lies depends on the key.
				checkRefused(t, err, "CSR", "")
			case test.why == "":
				if err != nil {
					t.Error(err)
				}
			default:
				checkRefused(t, err, "CSR", test.why)
			}
		})
	}
}

func TestParseCertificatesPEM(t *testing.T) {
	ca := newTestCA(t, "CA")
	one := EncodeCertificatePEM(ca.crt.Raw)
	two := bytes.Join([][]byte{one, one}, []byte("\r\n\n"))
	if crts, err := ParseCertificatesPEM(two); err != nil || len(crts) != 2 {
		t.Errorf("two certificates: got %d, %v", len(crts), err)
	}
	if crt, err := ParseCertificatePEM(one); err != nil || !crt.Equal(ca.crt) {
		t.Errorf("one certificate: %v", err)
	}
	key, err := EncodePrivateKeyPEM(ca.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseCertificatesPEM(append(bytes.Clone(one), key...))
	checkRefused(t, err, "certificates", `"PRIVATE KEY" where "CERTIFICATE" is expected`)
	_, err = ParseCertificatesPEM(append([]byte("subject: CA\n"), one...))
	checkRefused(t, err, "certificates", "should begin")
	_, err = ParseCertificatePEM(two)
	checkRefused(t, err, "certificate", "2 PEM blocks")
	_, err = ParseCertificatePEM(bytes.Repeat([]byte("\n"), MaxCertificateSize+1))
	checkRefused(t, err, "certificate", "longer than")
	_, err = ParseCertificateDER(append(bytes.Clone(ca.crt.Raw), 0))
	checkRefused(t, err, "certificate", "trailing")
	_, err = ParseCertificateDER(make([]byte, MaxCertificateSize+1))
	checkRefused(t, err, "certificate", "longer than")
	_, err = ParseCertificateDER(seq())
	checkRefused(t, err, "certificate", "")
	_, err = ParseCertificatesPEM(EncodeCertificatePEM(seq()))
	checkRefused(t, err, "certificate", "")
}

func TestParseCRLs(t *testing.T) {
	ca := newTestCA(t, "CA")
	one := EncodeCRLPEM(ca.crl(t, 7))
	if crl, err := ParseCRLPEM(one); err != nil || crl.Number.Int64() != 7 {
		t.Errorf("one: %v", err)
	}
	two := append(append(bytes.Clone(one), '\n'), one...)
	if crls, err := ParseCRLsPEM(two); err != nil || len(crls) != 2 {
		t.Errorf("two: got %d, %v", len(crls), err)
	}
	_, err := ParseCRLPEM(two)
	checkRefused(t, err, "CRL", "2 PEM blocks")
	_, err = ParseCRLsPEM([]byte("<html>"))
	checkRefused(t, err, "CRLs", "should begin")
	_, err = ParseCRLPEM(EncodeCRLPEM(seq()))
	checkRefused(t, err, "CRL", "")
}

func TestSplitPEM(t *testing.T) {
	const a = "-----BEGIN A-----\nAAAA\n-----END A-----\n"
	const b = "-----BEGIN B-----\nK: v\n\nAAAA\n-----END B-----\n"
	tests := map[string]struct {
		input string
		types string // joined by blanks
		why   string
	}{
		"empty":                    {"", "", ""},
		"text only":                {"hello\n--- not a block ---\n", "", ""},
		"two":                      {a + b, "A B", ""},
		"text around":              {"Certificate:\n  Data: 1\n" + a + "-- more --\n" + b + "end", "A B", ""},
		"no end":                   {a + "-----BEGIN B-----\nAAAA\n", "", "block 2"},
		"stray end":                {a + "-----END B-----\n", "", "block 2"},
		"not base64":               {"-----BEGIN A-----\n????\n-----END A-----\n" + a, "", "block 1"},
		"begin in a block":         {"-----BEGIN A-----\n" + a, "", "block 1"},
		"end of another":           {"-----BEGIN A-----\nAAAA\n-----END B-----\n", "", "block 1"},
		"garbage in the type":      {"-----BEGIN \x1b-----\nAAAA\n-----END \x1b-----\n", "", "block 1"},
		"text before, same line":   {"x " + a, "A", ""},
		"10001 blocks":             {strings.Repeat(a, maxBlocks+1), "", "more than 10000"},
		"more than MaxBundleSize":  {strings.Repeat(" ", MaxBundleSize+1), "", "longer than"},
		"boundary without newline": {"-----BEGIN A-----", "", "block 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			blocks, err := SplitPEM([]byte(test.input))
			if test.why != "" {
				checkRefused(t, err, "PEM file", test.why)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var types []string
			for _, block := range blocks {
				types = append(types, block.Type)
			}
			if got := strings.Join(types, " "); got != test.types {
				t.Errorf("types %q, want %q", got, test.types)
			}
		})
	}
}

func TestParsePrivateKeyPEM(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigner := rsaKey(t, 2048)
	block := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	pkcs8 := func(key crypto.Signer) string {
		data, err := EncodePrivateKeyPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	p521 := ecKey(t, elliptic.P521())
	const p256Params = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"

	good := map[string]struct {
		input string
		want  crypto.Signer
	}{
		"PKCS#8 ECDSA":          {pkcs8(ec), ec},
		"PKCS#8 P-521":          {pkcs8(p521), p521},
		"PKCS#8 RSA":            {pkcs8(rsaSigner), rsaSigner},
		"PKCS#1":                {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaSigner)), rsaSigner},
		"SEC 1":                 {block("EC PRIVATE KEY", sec1), ec},
		"SEC 1 with parameters": {p256Params + block("EC PRIVATE KEY", sec1), ec},
	}
	for name, test := range good {
		t.Run(name, func(t *testing.T) {
			key, err := ParsePrivateKeyPEM([]byte(test.input))
			if err != nil {
				t.Fatal(err)
			}
			if !SameKey(key.Public(), test.want.Public()) {
				t.Error("another key came back")
			}
		})
	}

	bad := map[string]struct{ input, why string }{
		"empty":            {"", "no PEM block"},
		"encrypted PKCS#8": {block("ENCRYPTED PRIVATE KEY", seq()), "is encrypted"},
		"encrypted PKCS#1": {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "is encrypted"},
		"two":              {pkcs8(ec) + pkcs8(ec), "several"},
		"a certificate":    {block("CERTIFICATE", seq()), `"CERTIFICATE" is not a private key`},
		"PKCS#1 as PKCS#8": {block("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaSigner)), "does not hold a valid key"},
		"SEC 1 as PKCS#1":  {block("RSA PRIVATE KEY", sec1), "does not hold a valid key"},
		"broken PEM":       {pkcs8(ec)[:80], "a block is broken"},
		"too long":         {strings.Repeat("\n", MaxPrivateKeySize+1), "longer than"},
	}
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePrivateKeyPEM([]byte(test.input))
			checkRefused(t, err, "private key", test.why)
		})
	}

	t.Run("errors keep secrets", func(t *testing.T) {
		text := pkcs8(ec)
		secret := text[60:90]
		for cut := range len(text) {
			_, err := ParsePrivateKeyPEM([]byte(text[:cut] + text[min(cut+1, len(text)):]))
			if err != nil && strings.Contains(err.Error(), secret[:10]) {
				t.Fatalf("without byte %d: %v", cut, err)
			}
		}
	})
	t.Run("a key that stays on its device", func(t *testing.T) {
		if _, err := EncodePrivateKeyPEM(deviceKey{ec}); err == nil {
			t.Error("was written")
		}
	})
}

type deviceKey struct{ *ecdsa.PrivateKey }

func TestIsPrivateKeyBlock(t *testing.T) {
	for typ, want := range map[string]bool{
		"PRIVATE KEY": true, "ENCRYPTED PRIVATE KEY": true, "RSA PRIVATE KEY": true, "EC PRIVATE KEY": true,
		"CERTIFICATE": false, "EC PARAMETERS": false, "PUBLIC KEY": false,
	} {
		if got := IsPrivateKeyBlock(&pem.Block{Type: typ}); got != want {
			t.Errorf("%s: %v", typ, got)
		}
	}
}
