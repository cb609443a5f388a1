package envelope

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// ServerCA is the payload of GET /{cau|cas}/crt/https-ca.json: the certificates of the
// internal CA that signs the daemon's own HTTPS certificate, vouched for by the
// authority whose key signs the envelope. It is what lets a client that trusts the
// authority know whom it talks to over HTTPS.
//
// It is an extension of ours. A reference daemon has no such route, and a reference
// client does not check the daemon's HTTPS certificate at all.
type ServerCA struct {
	PEM string // one or more CERTIFICATE blocks
}

type serverCAPayload struct {
	PEM *string `json:"https_ca_pem"`
}

// EncodeServerCA returns the JSON text that is signed.
func EncodeServerCA(s ServerCA) ([]byte, error) {
	payload, err := json.Marshal(serverCAPayload{PEM: &s.PEM})
	if err != nil {
		return nil, fmt.Errorf("encode HTTPS CA: %w", err)
	}
	return payload, nil
}

// DecodeServerCA reads the payload of a verified envelope. Unknown, repeated and
// re-cased keys are refused, so that no other payload the same key ever signs (a link
// of the CA chain) can be taken for this one.
func DecodeServerCA(payload []byte) (ServerCA, error) {
	var p serverCAPayload
	if err := json.Unmarshal(payload, &p, json.RejectUnknownMembers(true)); err != nil {
		return ServerCA{}, fmt.Errorf("HTTPS CA payload: %w", err)
	}
	if p.PEM == nil || *p.PEM == "" {
		return ServerCA{}, errors.New("HTTPS CA payload: https_ca_pem is missing")
	}
	return ServerCA{PEM: *p.PEM}, nil
}
