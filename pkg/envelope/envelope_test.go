package envelope

import (
	"testing"

	"cauase/pkg/pki"
)

func TestSignVerify(t *testing.T) {
	payload, err := EncodeLink(Link{OldPEM: "old\n", NewPEM: "né\u2028w"})
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range pki.KeyTypes() {
		t.Run(string(typ), func(t *testing.T) {
			key, err := typ.Generate()
			if err != nil {
				t.Fatal(err)
			}
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
			if got := string(e.Payload()); got != string(payload) {
				t.Errorf("Payload = %s, want %s", got, payload)
			}
		})
	}
}
