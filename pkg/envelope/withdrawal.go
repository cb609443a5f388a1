package envelope

import "encoding/hex"

// A Withdrawal is the payload of the statements in GET /{authority}/crt/withdrawn.json: the CA certificate WithdrawnPEM
// is to be trusted no longer, as somebody else may have its key. The envelope around it is signed with
// the key of ByPEM, a later one of the same authority: what the key of the withdrawn one could say, its thief says, too.
//
// It is an extension of ours. A list of revoked certificates cannot say it of one that is self-signed.
type Withdrawal struct {
	WithdrawnPEM string `json:"withdrawn_ca_pem"`
	ByPEM        string `json:"by_ca_pem"`
}

// EncodeWithdrawal writes what DecodeWithdrawal reads. It fails on text that is not UTF-8.
func EncodeWithdrawal(w Withdrawal) ([]byte, error) { return encode("withdrawal", w) }

// DecodeWithdrawal reads the payload of an envelope. Errors are ErrInvalid.
func DecodeWithdrawal(payload []byte) (Withdrawal, error) {
	var w Withdrawal
	err := decode("withdrawal", payload, &w)
	if err == nil && (w.WithdrawnPEM == "" || w.ByPEM == "") {
		err = refuse("withdrawal", "withdrawn_ca_pem and by_ca_pem are needed")
	}
	if err != nil {
		return Withdrawal{}, err
	}
	return w, nil
}

// A Holding is the payload of PUT /{authority}/crt/holds: the host to which CertificatePEM belongs has a
// CA certificate on disk. The envelope around it is signed with the key of the former.
//
// It is an extension of ours.
type Holding struct {
	CertificatePEM string
	KeyID          []byte // subject key identifier of the newest CA certificate that the host has
}

type holdingWire struct {
	CertificatePEM string `json:"crt_pem"`
	KeyID          string `json:"holds_ca"` // lower-case hexadecimal
}

// maxKeyID is more than key identifiers have.
const maxKeyID = 64

// EncodeHolding writes what DecodeHolding reads. It fails on text that is not UTF-8.
func EncodeHolding(h Holding) ([]byte, error) {
	return encode("holding", holdingWire{h.CertificatePEM, hex.EncodeToString(h.KeyID)})
}

// DecodeHolding reads the payload of an envelope. Errors are ErrInvalid.
func DecodeHolding(payload []byte) (Holding, error) {
	var w holdingWire
	if err := decode("holding", payload, &w); err != nil {
		return Holding{}, err
	}
	if w.CertificatePEM == "" {
		return Holding{}, refuse("holding", "crt_pem is needed")
	}
	id, err := hex.DecodeString(w.KeyID)
	if err != nil || len(id) == 0 || len(id) > maxKeyID || hex.EncodeToString(id) != w.KeyID {
		return Holding{}, refuse("holding", "holds_ca is not a key identifier in lower-case hexadecimal digits")
	}
	return Holding{w.CertificatePEM, id}, nil
}
