package envelope

// ServerCA is the payload of GET /{cau|cas}/crt/https-ca.json: the certificates of the
// internal CA that signs the daemon's own HTTPS certificate, vouched for by the
// authority whose key signs the envelope. It is what lets a client that trusts the
// authority know whom it talks to over HTTPS.
//
// It is an extension of ours. A reference daemon has no such route, and a reference
// client does not check the daemon's HTTPS certificate at all.
type ServerCA struct {
	PEM string `json:"https_ca_pem"` // one or more CERTIFICATE blocks
}

// EncodeServerCA writes what DecodeServerCA reads. It fails on text that is not UTF-8.
func EncodeServerCA(s ServerCA) ([]byte, error) { return encode("HTTPS CA", s) }

// DecodeServerCA reads the payload of an envelope. No other payload that a CA's key
// signs, such as a link of the chain, can be taken for this one. Errors are ErrInvalid.
func DecodeServerCA(payload []byte) (ServerCA, error) {
	var s ServerCA
	err := decode("HTTPS CA", payload, &s)
	if err == nil && s.PEM == "" {
		err = refuse("HTTPS CA", "https_ca_pem is needed")
	}
	if err != nil {
		return ServerCA{}, err
	}
	return s, nil
}
