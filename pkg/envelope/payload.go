package envelope

import (
	"fmt"
	"math/big"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/pki"
)

// maxSerialBits is what fits in the 20 bytes of RFC 5280 4.1.2.2 beside the sign bit.
const maxSerialBits = 159

// maxSerialDigits is the decimal length of 2^159.
const maxSerialDigits = 48

// A Renewal asks for a new certificate in place of one that still verifies. The
// envelope around it is signed with the key of the latter.
type Renewal struct {
	CertificatePEM string `json:"crt_pem"`
	RequestPEM     string `json:"renew_csr_pem"` // of the new key
}

// A Revocation names the certificate to revoke, by exactly one of CertificatePEM and Serial.
type Revocation struct {
	CertificatePEM string
	Serial         *big.Int // positive, at most 159 bits

	// Reason is a CRLReason (RFC 5280 5.3.1). It is an extension of the protocol: its member,
	// "revoke_reason", is written only when it is not zero, unspecified.
	Reason int

	// OnlyThis is an extension, too: certificates that renew this one, or that it renews, stay as they are.
	// Its member, "revoke_only_this", is written only when it is true.
	OnlyThis bool
}

// A Link says that the CA certificate NewPEM succeeds OldPEM. The envelope around it is
// signed with the key of the latter.
type Link struct {
	OldPEM string `json:"old_pem"`
	NewPEM string `json:"new_pem"`
}

type revocationWire struct {
	CertificatePEM jsontext.Value `json:"revoke_crt_pem,omitzero"`
	Serial         jsontext.Value `json:"revoke_serial,omitzero"`
	Reason         *string        `json:"revoke_reason,omitzero"`
	OnlyThis       bool           `json:"revoke_only_this,omitzero"`
}

// DecodeRenewal reads the payload of an envelope. Errors are ErrInvalid.
func DecodeRenewal(payload []byte) (Renewal, error) {
	var r Renewal
	err := decode("renewal", payload, &r)
	if err == nil && (r.CertificatePEM == "" || r.RequestPEM == "") {
		err = refuse("renewal", "crt_pem and renew_csr_pem are needed")
	}
	if err != nil {
		return Renewal{}, err
	}
	return r, nil
}

// DecodeRevocation reads the payload of an envelope. Errors are ErrInvalid.
func DecodeRevocation(payload []byte) (Revocation, error) {
	var w revocationWire
	if err := decode("revocation", payload, &w); err != nil {
		return Revocation{}, err
	}
	if (w.CertificatePEM == nil) == (w.Serial == nil) {
		return Revocation{}, refuse("revocation", "exactly one of revoke_crt_pem and revoke_serial is needed")
	}
	r := Revocation{OnlyThis: w.OnlyThis}
	var err error
	if w.Reason != nil {
		if r.Reason, err = pki.ParseReason(*w.Reason); err != nil {
			return Revocation{}, refuse("revocation", "%v", err)
		}
	}
	if w.Serial != nil {
		r.Serial, err = parseSerial(string(w.Serial))
		return r, err
	}
	if w.CertificatePEM.Kind() != '"' {
		return Revocation{}, refuse("revocation", "revoke_crt_pem is not a string")
	}
	if err := decode("revocation", w.CertificatePEM, &r.CertificatePEM); err != nil {
		return Revocation{}, err
	}
	if r.CertificatePEM == "" {
		return Revocation{}, refuse("revocation", "revoke_crt_pem is empty")
	}
	return r, nil
}

// DecodeLink reads the payload of an envelope. Errors are ErrInvalid.
func DecodeLink(payload []byte) (Link, error) {
	var l Link
	err := decode("chain link", payload, &l)
	if err == nil && (l.OldPEM == "" || l.NewPEM == "") {
		err = refuse("chain link", "old_pem and new_pem are needed")
	}
	if err != nil {
		return Link{}, err
	}
	return l, nil
}

// EncodeRenewal writes what DecodeRenewal reads. It fails on text that is not UTF-8.
func EncodeRenewal(r Renewal) ([]byte, error) { return encode("renewal", r) }

// EncodeLink writes what DecodeLink reads. It fails on text that is not UTF-8.
func EncodeLink(l Link) ([]byte, error) { return encode("chain link", l) }

// EncodeRevocation writes what DecodeRevocation reads. It fails unless exactly one
// member of r is set, and on text that is not UTF-8.
func EncodeRevocation(r Revocation) ([]byte, error) {
	if (r.CertificatePEM == "") == (r.Serial == nil) {
		return nil, refuse("revocation", "exactly one of certificate and serial number is needed")
	}
	w := revocationWire{OnlyThis: r.OnlyThis}
	if r.Reason != 0 {
		name := pki.ReasonName(r.Reason)
		if _, err := pki.ParseReason(name); err != nil {
			return nil, refuse("revocation", "%v", err)
		}
		w.Reason = &name
	}
	if r.Serial != nil {
		serial, err := parseSerial(r.Serial.String())
		if err != nil {
			return nil, err
		}
		w.Serial = jsontext.Value(serial.String())
		return encode("revocation", w)
	}
	quoted, err := jsontext.AppendQuote(nil, r.CertificatePEM)
	if err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	w.CertificatePEM = quoted
	return encode("revocation", w)
}

// parseSerial reads a JSON number that is a serial number written as a plain integer.
// JSON knows other spellings of the same number, and 1e1000000 is a short one of a very
// long number.
func parseSerial(s string) (*big.Int, error) {
	if s == "" || s[0] == '0' {
		return nil, refuse("revocation", "revoke_serial is not a positive integer")
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return nil, refuse("revocation", "revoke_serial is not a positive integer")
		}
	}
	if len(s) > maxSerialDigits {
		return nil, refuse("revocation", "revoke_serial is longer than 20 bytes")
	}
	serial, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, refuse("revocation", "revoke_serial is not a positive integer")
	}
	if serial.BitLen() > maxSerialBits {
		return nil, refuse("revocation", "revoke_serial is longer than 20 bytes")
	}
	return serial, nil
}

func decode(what string, data []byte, out any) error {
	if err := unmarshal(data, out); err != nil {
		return refuse(what, "%v", err)
	}
	return nil
}

func encode(what string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}
