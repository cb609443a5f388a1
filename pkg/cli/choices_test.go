package cli

import (
	"strings"
	"testing"

	"cauase/pkg/pki"
)

func TestChooseKeyType(t *testing.T) {
	for text, want := range map[string]pki.KeyType{"ed25519": pki.KeyEd25519, "Ed25519": pki.KeyEd25519, "RSA-2048": pki.KeyRSA2048, "ecdsap256": pki.KeyECDSAP256} {
		if got, err := ChooseKeyType("--key-type", text); err != nil || got != want {
			t.Errorf("%s is taken for %q: %v", text, got, err)
		}
	}
	if got, err := ChooseKeyType("--key-type", "rsa-204"); err == nil || got != "" || !strings.HasPrefix(err.Error(), `--key-type: "rsa-204" is not one of `) {
		t.Errorf("rsa-204 is taken for %q: %v", got, err)
	}
	if _, err := Choose("slo", []string{"fast", "slow"}); err == nil || err.Error() != `"slo" is not one of fast, slow` {
		t.Error(err)
	}
}
