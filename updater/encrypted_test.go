package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// Nobody is there to give an agent a passphrase. It says so, and leaves the key as it is.
func TestEncryptedKey(t *testing.T) {
	t.Chdir(t.TempDir())
	key := pkitest.Key(t)
	encrypted, err := pki.EncryptPrivateKeyPEM(key, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	crt := pkitest.Certificate(t, &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{}, key.Public(), key)
	content := append(bytes.Clone(encrypted), pkitest.PEM(crt)...)
	if err := os.WriteFile("web.pem", content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"--once", "--status"} {
		code, stdout, stderr := execute(t.Context(), "--ca-url", "http://127.0.0.1:1", "--ca", "ca.pem", "--crl", "crl.pem", "--crt", "web.pem", mode)
		if said := stdout + stderr; code != 1 || !strings.Contains(said, "web.pem: private key: is encrypted with a passphrase, which cannot be given here") ||
			!strings.Contains(said, "put the right key and certificate in place; nothing is overwritten meanwhile") {
			t.Errorf("%s: exit code %d\n%s", mode, code, said)
		}
	}
	if now, err := os.ReadFile("web.pem"); err != nil || !bytes.Equal(now, content) {
		t.Error("the file has changed")
	}
}
