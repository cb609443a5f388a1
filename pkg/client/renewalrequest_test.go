package client

import (
	"bytes"
	"testing"

	"cauase/pkg/pki"
)

// TestRenewalRequestIsRepeated: whoever asks again with the same key, as the answer was lost, does so with the same request.
func TestRenewalRequestIsRepeated(t *testing.T) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyECDSAP384, pki.KeyEd25519, pki.KeyRSA2048} {
		key, err := keyType.Generate()
		if err != nil {
			t.Fatal(err)
		}
		first, err := renewalRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pki.ParseRenewalRequest(first); err != nil {
			t.Error(err)
		}
		if again, err := renewalRequest(key); err != nil || !bytes.Equal(again, first) {
			t.Errorf("%s: another request, error %v", keyType, err)
		}
	}
}
