package policy

import "github.com/go-json-experiment/json"

// An Asker is who asks for a certificate, as far as it has proved it. It is kept with requests and the certificates that come of them,
// so that rules can be tried on what was asked for before.
type Asker struct {
	Address     string       `json:"address,omitzero"`     // of the peer
	FrontEnd    string       `json:"front_end,omitzero"`   // "caucase", "signing" (PUT /api/csr/{id}), later "acme", "management"
	Client      string       `json:"client,omitzero"`      // what the front-end knows the asker by: the id of PUT /api/csr/{id}, an ACME account, an API token
	Invitation  string       `json:"invitation,omitzero"`  // id of the invitation shown
	Certificate *Certificate `json:"certificate,omitzero"` // an existing certificate, possession of whose key was proved, still valid and not revoked
	SSH         *SSHHost     `json:"ssh,omitzero"`         // an SSH host key, possession proved over this very request
	Reverse     []string     `json:"reverse,omitzero"`     // names that the address resolves to and that resolve back to it, if a rule asked for it
}

// A Certificate is one that an asker has shown.
type Certificate struct {
	Authority string   `json:"authority"` // by its name in the configuration
	Serial    string   `json:"serial"`
	Subject   string   `json:"subject,omitzero"`
	Names     []string `json:"names,omitzero"`   // "DNS:a.example", as pki.SANStrings writes them
	Lineage   string   `json:"lineage,omitzero"` // empty: of a certificate that is not ours
	Issuer    int64    `json:"-"`                // store.CA.ID of the CA that has issued it, as long as that is asked for; 0: not known
}

// An SSHHost is an SSH host key that an asker holds.
type SSHHost struct {
	Fingerprint string   `json:"fingerprint"`    // "SHA256:…"
	Names       []string `json:"names,omitzero"` // hosts that known_hosts or the host certificate give this key
	CA          string   `json:"ca,omitzero"`    // fingerprint of the key that has signed the host certificate
}

// Text is the form in which an Asker is kept.
func (a Asker) Text() (string, error) {
	text, err := json.Marshal(a, json.Deterministic(true))
	return string(text), err
}

// ParseAsker reads what Text has written. The empty text is of somebody of whom nothing is known.
func ParseAsker(text string) (a Asker, err error) {
	if text == "" {
		return Asker{}, nil
	}
	err = json.Unmarshal([]byte(text), &a)
	return a, err
}
