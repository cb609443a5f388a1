package pki

import (
	"crypto"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"
)

func encryptedBlock(t testing.TB, opts pkcs8.Opts) *pem.Block {
	t.Helper()
	key, err := KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte("correct horse"), &opts)
	if err != nil {
		t.Fatal(err)
	}
	return &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}
}

func pbkdf2(iterations int) pkcs8.Opts {
	return pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 8, IterationCount: iterations, HMACHash: crypto.SHA256}}
}

func TestDecryptPrivateKeyBlock(t *testing.T) {
	good := encryptedBlock(t, pbkdf2(1000))
	tripleDES := pbkdf2(1000)
	tripleDES.Cipher = pkcs8.TripleDESCBC
	scrypt := pkcs8.Opts{Cipher: pkcs8.AES128CBC, KDFOpts: pkcs8.ScryptOpts{SaltSize: 8, CostParameter: 16, BlockSize: 8, ParallelizationParameter: 1}}
	for name, block := range map[string]*pem.Block{"PBKDF2": good, "3DES": encryptedBlock(t, tripleDES), "scrypt": encryptedBlock(t, scrypt)} {
		if !IsEncryptedBlock(block) {
			t.Errorf("%s is not taken for encrypted", name)
		}
		if _, err := DecryptPrivateKeyBlock(block, []byte("correct horse")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, wrong := range []string{"", "wrong"} {
			if _, err := DecryptPrivateKeyBlock(block, []byte(wrong)); !errors.Is(err, ErrPassphrase) {
				t.Errorf("%s with %q: %v", name, wrong, err)
			}
		}
	}
	gcm := pbkdf2(1000)
	gcm.Cipher = pkcs8.AES256GCM
	for name, block := range map[string]*pem.Block{
		"nothing":        {Type: "ENCRYPTED PRIVATE KEY"},
		"another cipher": encryptedBlock(t, gcm),
		"cut off":        {Type: "ENCRYPTED PRIVATE KEY", Bytes: good.Bytes[:len(good.Bytes)-16]},
		"too long":       {Type: "ENCRYPTED PRIVATE KEY", Bytes: make([]byte, MaxPrivateKeySize+1)},
		"headers":        {Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "ROT13,00"}, Bytes: make([]byte, 16)},
		"bad vector":     {Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: make([]byte, 16)},
	} {
		if _, err := DecryptPrivateKeyBlock(block, []byte("correct horse")); !errors.Is(err, ErrInvalid) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who wrote the file does not decide how long we work, nor with how much memory.
func TestCostOfPassphrases(t *testing.T) {
	block := encryptedBlock(t, pbkdf2(1000))
	block.Bytes = []byte(strings.Replace(string(block.Bytes), "\x02\x02\x03\xe8", "\x02\x02\x7f\xff", 1))
	if _, err := DecryptPrivateKeyBlock(block, nil); !errors.Is(err, ErrPassphrase) {
		t.Errorf("32767 times: %v", err)
	}
	for iterations, want := range map[int64]error{maxIterations: nil, maxIterations + 1: ErrInvalid, 0: ErrInvalid, -1: ErrInvalid} {
		a := algorithm{OID: []int{1, 2, 840, 113549, 1, 5, 12}} // PBKDF2
		a.Params.FullBytes = derSequence(t, derBytes("salt"), derInteger(iterations))
		if err := a.checkKDF(); !errors.Is(err, want) {
			t.Errorf("%d times: %v", iterations, err)
		}
	}
	// A hash that is not known must not look like a wrong passphrase.
	for prf, want := range map[byte]error{7: nil, 9: nil, 11: ErrInvalid} {
		oid := []byte{6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 2, prf} // hmacWithSHA1, …SHA256, …SHA512
		a := algorithm{OID: []int{1, 2, 840, 113549, 1, 5, 12}}
		a.Params.FullBytes = derSequence(t, derBytes("salt"), derInteger(1000), derSequence(t, oid))
		if err := a.checkKDF(); !errors.Is(err, want) {
			t.Errorf("hash %d: %v", prf, err)
		}
	}
	for _, p := range [][3]int64{{1 << 30, 8, 1}, {3, 8, 1}, {0, 8, 1}, {2, 1 << 40, 1}, {2, 8, 65}, {16384, 0, 1}, {16384, 8, 0}} {
		a := algorithm{OID: []int{1, 3, 6, 1, 4, 1, 11591, 4, 11}}
		a.Params.FullBytes = derSequence(t, derBytes("salt"), derInteger(p[0]), derInteger(p[1]), derInteger(p[2]))
		if err := a.checkKDF(); !errors.Is(err, ErrInvalid) {
			t.Errorf("scrypt %v: %v", p, err)
		}
	}
}

func derBytes(s string) []byte { return append([]byte{4, byte(len(s))}, s...) }

func derInteger(n int64) []byte {
	b := big.NewInt(n).Bytes()
	if n < 0 {
		b = []byte{byte(n)}
	} else if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return append([]byte{2, byte(len(b))}, b...)
}

func derSequence(t *testing.T, parts ...[]byte) []byte {
	t.Helper()
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if len(all) > 127 {
		t.Fatal("too long for this")
	}
	return append([]byte{0x30, byte(len(all))}, all...)
}

// No file makes us panic.
func FuzzDecryptPrivateKey(f *testing.F) {
	f.Add("ENCRYPTED PRIVATE KEY", encryptedBlock(f, pbkdf2(2)).Bytes, "")
	f.Add("RSA PRIVATE KEY", []byte("0123456789abcdef"), "AES-128-CBC,00112233445566778899AABBCCDDEEFF")
	f.Add("EC PRIVATE KEY", []byte{}, "DES-EDE3-CBC,0011")
	f.Fuzz(func(t *testing.T, typ string, der []byte, dek string) {
		block := &pem.Block{Type: typ, Bytes: der}
		if dek != "" {
			block.Headers = map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": dek}
		}
		if costly(der) {
			return // accepted, and slow
		}
		if key, err := DecryptPrivateKeyBlock(block, []byte("x")); err == nil && key == nil {
			t.Error("neither a key nor an error")
		}
	})
}

// costly tells whether any integer in der might ask for much work.
func costly(der []byte) bool {
	for i := 0; i+1 < len(der); i++ {
		if n := int(der[i+1]); der[i] == 2 && n > 1 && i+2+n <= len(der) && n < 20 {
			return true
		}
	}
	return false
}
