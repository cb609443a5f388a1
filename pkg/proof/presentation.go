package proof

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Presentation is a request and what proves who asks, as they are sent. There is one proof at least, and one of a kind.
type Presentation struct {
	RequestPEM  string         `json:"csr_pem"`
	SSH         *Signed        `json:"ssh,omitzero"`
	Certificate jsontext.Value `json:"certificate,omitzero"` // an envelope, see Held
}

// A Signed is a statement that an SSH host key has signed.
type Signed struct {
	Statement string `json:"statement"` // as it was signed
	Signature string `json:"signature"` // in its armour
}

// Encode writes what DecodePresentation reads. It fails on text that is not UTF-8.
func (p Presentation) Encode() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return data, nil
}

// DecodePresentation reads what was sent. Errors are ErrInvalid.
func DecodePresentation(data []byte) (p Presentation, err error) {
	if err := json.Unmarshal(data, &p, json.RejectUnknownMembers(true)); err != nil {
		return Presentation{}, invalid("%v", err)
	}
	switch {
	case p.RequestPEM == "":
		return Presentation{}, invalid("csr_pem is needed")
	case p.Certificate.Kind() == 'n': // null is no proof
		return Presentation{}, invalid("certificate is not an envelope")
	case p.SSH == nil && p.Certificate == nil:
		return Presentation{}, invalid("a proof is needed, ssh or certificate")
	}
	return p, nil
}
