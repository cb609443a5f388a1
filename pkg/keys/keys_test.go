package keys

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"

	"cauase/pkg/pki"
)

func TestRow(t *testing.T) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyECDSAP384, pki.KeyEd25519, pki.KeyRSA2048} {
		ref, made, err := Row{}.Generate(t.Context(), Purpose{}, keyType)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := Row{}.Open(t.Context(), Purpose{}, ref)
		if err != nil {
			t.Fatal(err)
		}
		if !pki.SameKey(made.Public(), opened.Public()) {
			t.Errorf("%s: another key came back", keyType)
		}
		if err := (Row{}).Erase(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}
}

func TestRowRefuses(t *testing.T) {
	agrees, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	noSigner, err := RowRef(agrees)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := Row{}.Generate(t.Context(), Purpose{}, pki.KeyEd25519)
	if err != nil {
		t.Fatal(err)
	}
	for name, ref := range map[string]Ref{
		"nothing":            {},
		"another custody":    {Custody: "pkcs11", Ref: good.Ref},
		"junk":               {Custody: RowCustody, Ref: []byte("junk")},
		"a key of no signer": noSigner,
	} {
		if _, err := (Row{}).Open(t.Context(), Purpose{}, ref); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
