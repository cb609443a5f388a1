package backup

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/pki"
)

const (
	vector      = "testdata/five.caucased"
	vectorClear = "What is in a backup stays in it.\n"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func vectorKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	k, err := pki.ParsePrivateKeyPEM(readFile(t, filepath.Join("testdata", name+".key.pem")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A backup that was made once must be readable for ever, and be as docs/backup-format.md says.
func TestVectors(t *testing.T) {
	page := string(readFile(t, "../../docs/backup-format.md"))
	documented := func(what, value string) {
		t.Helper()
		if !strings.Contains(page, value) {
			t.Errorf("docs/backup-format.md lacks %s: %s", what, value)
		}
	}
	sealed := readFile(t, vector)
	documented("the clear text", strings.TrimSpace(vectorClear))
	documented("the payload", hex.EncodeToString(sealed[payloadOf(sealed):]))
	for i, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
		t.Run(name, func(t *testing.T) {
			k := vectorKey(t, name)
			got, err := unseal(sealed, chunkSize, k)
			if err != nil || string(got) != vectorClear {
				t.Fatalf("%q, %v", got, err)
			}
			h, err := ReadHeader(bytes.NewReader(sealed))
			if err != nil {
				t.Fatal(err)
			}
			session, err := openKeys(h, k)
			if err != nil {
				t.Fatal(err)
			}
			documented("the HMAC key", hex.EncodeToString(session[0].mac()))
			documented("the AES key", hex.EncodeToString(session[0].aes()))
			documented("the cipher", h.Recipients[i].Cipher.Name)
			documented("the identifier", h.Recipients[i].KeyID)
			if k, ok := k.(ed25519.PrivateKey); ok {
				scalar, err := x25519Private(k)
				if err != nil {
					t.Fatal(err)
				}
				documented("the seed", hex.EncodeToString(k.Seed()))
				documented("the public key", hex.EncodeToString(k.Public().(ed25519.PublicKey)))
				documented("the scalar", hex.EncodeToString(scalar.Bytes()))
				documented("the X25519 public key", hex.EncodeToString(scalar.PublicKey().Bytes()))
				documented("the key", h.Recipients[i].Key)
			}
		})
	}
}
