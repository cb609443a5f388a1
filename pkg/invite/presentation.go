package invite

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// A Presentation is an invitation and the request that it is used for, as they are sent.
type Presentation struct {
	Invitation string `json:"invitation"`
	RequestPEM string `json:"csr_pem"`
}

// Encode writes what DecodePresentation reads. It fails on text that is not UTF-8.
func (p Presentation) Encode() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("invitation: %w", err)
	}
	return data, nil
}

// DecodePresentation reads what was sent. Errors are ErrInvalid and quote nothing.
func DecodePresentation(data []byte) (p Presentation, err error) {
	err = json.Unmarshal(data, &p, json.RejectUnknownMembers(true))
	if err != nil || p.Invitation == "" || p.RequestPEM == "" {
		return Presentation{}, refuse("a JSON object with the strings invitation and csr_pem is needed")
	}
	return p, nil
}
