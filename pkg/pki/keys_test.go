package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseKeyType(t *testing.T) {
	for _, typ := range KeyTypes() {
		if got, err := ParseKeyType(string(typ)); got != typ || err != nil {
			t.Errorf("ParseKeyType(%q) = %q, %v", typ, got, err)
		}
	}
	for _, s := range []string{"", "rsa", "rsa-1024", "rsa-8192", "rsa-02048", "RSA-2048", "ecdsa-p521", "ed25519 ", "\x1b[2J"} {
		_, err := ParseKeyType(s)
		checkRefused(t, err, "key type", "ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096")
	}
	_, err := KeyType("rsa-1024").Generate()
	checkRefused(t, err, "key type", "rsa-1024")
}

func TestKeyTypes(t *testing.T) {
	algorithms := map[KeyType]x509.SignatureAlgorithm{
		KeyECDSAP256: x509.ECDSAWithSHA256,
		KeyECDSAP384: x509.ECDSAWithSHA384,
		KeyEd25519:   x509.PureEd25519,
		KeyRSA2048:   x509.SHA256WithRSA,
		KeyRSA3072:   x509.SHA256WithRSA,
		KeyRSA4096:   x509.SHA256WithRSA,
	}
	for _, typ := range KeyTypes() {
		t.Run(string(typ), func(t *testing.T) {
			key, err := typ.Generate()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := KeyTypeOf(key.Public()); got != typ || err != nil {
				t.Errorf("KeyTypeOf = %q, %v", got, err)
			}
			if got, err := SignatureAlgorithm(key.Public()); got != algorithms[typ] || err != nil {
				t.Errorf("SignatureAlgorithm = %v, %v", got, err)
			}
			if err := CheckPublicKey(key.Public()); err != nil {
				t.Error(err)
			}
			other, err := KeyECDSAP256.Generate()
			if err != nil {
				t.Fatal(err)
			}
			if !SameKey(key.Public(), key.Public()) || SameKey(key.Public(), other.Public()) || SameKey(key.Public(), nil) {
				t.Error("SameKey cannot tell keys apart")
			}
		})
	}
}

func TestKeysWithoutSuccessor(t *testing.T) {
	tests := map[string]struct {
		pub  crypto.PublicKey
		name string
	}{
		"P-521":    {ecKey(t, elliptic.P521()).Public(), "ECDSA P-521"},
		"RSA 2056": {&rsa.PublicKey{N: oddOfSize(t, 2056), E: 65537}, "RSA 2056"},
		"RSA 8192": {&rsa.PublicKey{N: oddOfSize(t, 8192), E: 65537}, "RSA 8192"},
		"nil":      {nil, "an unknown kind of key"},
		"a string": {"key", "string"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := KeyTypeOf(test.pub)
			checkRefused(t, err, "public key", test.name)
		})
	}
}

func TestKeyID(t *testing.T) {
	// The key of RFC 8410 10.1; SHA-1 of its 32 bytes by openssl.
	block, _ := pem.Decode([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	id, err := KeyID(pub)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(id), "a28cc1f86e5960d3e03ae75c962c97a8d448293c"; got != want {
		t.Errorf("KeyID = %s, want %s", got, want)
	}
	if _, err := KeyID("not a key"); err == nil {
		t.Error("a string has a key id")
	}
}

// The short way to the SubjectPublicKeyInfo of a key ends where x509's does.
func TestMarshalSPKI(t *testing.T) {
	for _, kind := range []KeyType{KeyECDSAP256, KeyECDSAP384, KeyEd25519} {
		for range 20 {
			key, err := kind.Generate()
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := marshalSPKI(key.Public()); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %x, %v, want %x", kind, got, err, want)
			}
		}
	}
	for _, bad := range []crypto.PublicKey{nil, rawPoint(big.NewInt(1), big.NewInt(1))} {
		if got, err := marshalSPKI(bad); err == nil {
			t.Errorf("%v: %x", bad, got)
		}
	}
}

func TestNewSerial(t *testing.T) {
	seen := make(map[string]bool)
	longest := 0
	for range 200 {
		serial, err := NewSerial()
		if err != nil {
			t.Fatal(err)
		}
		if serial.Sign() <= 0 || serial.BitLen() > 159 {
			t.Errorf("serial %v is not a positive number of at most 159 bits", serial)
		}
		longest = max(longest, serial.BitLen())
		seen[serial.String()] = true
	}
	if len(seen) != 200 || longest < 150 {
		t.Errorf("%d of 200 serials differ, the longest has %d bits", len(seen), longest)
	}
}

// Serial numbers of leaves grow with time, have the same length, and differ in all that is not the time.
func TestNewSerialAt(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	last, seen := new(big.Int), make(map[string]bool)
	for i := range 200 {
		serial := NewSerialAt(at.Add(time.Duration(i) * 16 * time.Millisecond))
		if serial.Cmp(last) <= 0 || serial.Sign() <= 0 || (serial.BitLen()+7)/8 != 20 || serial.BitLen() > 159 {
			t.Errorf("%#x comes after %#x, and has %d bits", serial, last, serial.BitLen())
		}
		last = serial
		seen[string(serial.FillBytes(make([]byte, 20))[5:])] = true
		seen[string(NewSerialAt(at).FillBytes(make([]byte, 20))[5:])] = true
	}
	if len(seen) != 400 {
		t.Errorf("%d of 400 random parts differ", len(seen))
	}
	for _, odd := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Date(2247, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		if serial := NewSerialAt(odd); serial.Sign() <= 0 || serial.BitLen() > 159 {
			t.Errorf("%v: %#x", odd, serial)
		}
	}
}

// rawPoint is a key as code that still sets coordinates could make it.
func rawPoint(x, y *big.Int) *ecdsa.PublicKey {
	//lint:ignore SA1019 the invalid keys it can produce are the point
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}
}

func TestCheckPublicKey(t *testing.T) {
	p256 := elliptic.P256().Params()
	tests := map[string]struct {
		pub crypto.PublicKey
		why string // empty: accepted
	}{
		"RSA 2048":            {&rsa.PublicKey{N: oddOfSize(t, 2048), E: 65537}, ""},
		"RSA 2049":            {&rsa.PublicKey{N: oddOfSize(t, 2049), E: 65537}, ""},
		"RSA 8192":            {&rsa.PublicKey{N: oddOfSize(t, 8192), E: 65537}, ""},
		"P-521":               {ecKey(t, elliptic.P521()).Public(), ""},
		"RSA without modulus": {&rsa.PublicKey{E: 65537}, "without a modulus"},
		"RSA negative":        {&rsa.PublicKey{N: new(big.Int).Neg(oddOfSize(t, 2048)), E: 65537}, "odd primes"},
		"P-224":               {ecKey(t, elliptic.P224()).Public(), "ECDSA P-224 is not accepted"},
		"no curve":            {&ecdsa.PublicKey{}, "without a curve"},
		"point not on curve":  {rawPoint(big.NewInt(1), big.NewInt(1)), "not on its curve"},
		"infinity":            {rawPoint(new(big.Int), new(big.Int)), "not on its curve"},
		"coordinate above p":  {rawPoint(new(big.Int).Add(p256.Gx, p256.P), p256.Gy), "not on its curve"},
		"negative coordinate": {rawPoint(new(big.Int).Neg(p256.Gx), p256.Gy), "not on its curve"},
		"short Ed25519":       {ed25519.PublicKey("short"), "of 5 bytes"},
		"nil":                 {nil, "unknown kind of key"},
		"private key":         {ecKey(t, elliptic.P256()), "not accepted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckPublicKey(test.pub)
			if test.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkRefused(t, err, "public key", test.why)
		})
	}
	t.Run("Ed25519 points of small order", func(t *testing.T) {
		for _, encoded := range smallOrder {
			pub, err := hex.DecodeString(encoded)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // either sign of x
				checkRefused(t, CheckPublicKey(ed25519.PublicKey(pub)), "public key", "small order")
				pub[31] ^= 0x80
			}
		}
	})
	t.Run("a message does not give the factors away", func(t *testing.T) {
		err := CheckPublicKey(&rsa.PublicKey{N: closeModulus(t, 2048), E: 65537})
		if err == nil || strings.ContainsAny(err.Error(), "0123456789") {
			t.Errorf("got %v", err)
		}
	})
}
