package envelope

import (
	"errors"
	"testing"
)

func TestServerCA(t *testing.T) {
	payload, err := EncodeServerCA(ServerCA{PEM: "a\nb"})
	if err != nil || string(payload) != `{"https_ca_pem":"a\nb"}` {
		t.Fatalf("%s, %v", payload, err)
	}
	if got, err := DecodeServerCA(payload); err != nil || got.PEM != "a\nb" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, payload := range []string{
		``, `null`, `{}`, `{"https_ca_pem":""}`, `{"https_ca_pem":null}`, `{"https_ca_pem":["a"]}`,
		`{"https_ca_pem":"a","new_pem":"b"}`, `{"HTTPS_CA_PEM":"a"}`, `{"https_ca_pem":"a","https_ca_pem":"b"}`,
		`{"old_pem":"a","new_pem":"b"}`, `{"https_ca_pem":"a"} x`,
	} {
		if got, err := DecodeServerCA([]byte(payload)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", payload, got, err)
		}
	}
}
