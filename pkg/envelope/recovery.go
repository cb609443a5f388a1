package envelope

// A Recovery is the payload of PUT /{authority}/recover: what the host to which CertificatePEM belongs has kept from before a
// restore of the daemon. The envelope around it is signed with the key of that certificate.
//
// It is an extension of ours.
type Recovery struct {
	CertificatePEM string `json:"crt_pem"`
	ListPEM        string `json:"crl_pem,omitempty"` // the newest revocation list of the authority; empty: it has none
}

// EncodeRecovery writes what DecodeRecovery reads. It fails on text that is not UTF-8.
func EncodeRecovery(r Recovery) ([]byte, error) { return encode("recovery", r) }

// DecodeRecovery reads the payload of an envelope. Errors are ErrInvalid.
func DecodeRecovery(payload []byte) (Recovery, error) {
	var r Recovery
	if err := decode("recovery", payload, &r); err != nil {
		return Recovery{}, err
	}
	if r.CertificatePEM == "" {
		return Recovery{}, refuse("recovery", "crt_pem is needed")
	}
	return r, nil
}
