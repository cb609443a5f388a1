package vault

import (
	"crypto"
	"crypto/x509"
	"time"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// PurposeOf says which key is that of a row, a CA or a sign-off.
func PurposeOf(row store.Row) keys.Purpose {
	var p keys.Purpose
	switch v := row.(type) {
	case store.CA:
		p = keys.Purpose{Authority: string(v.Authority), Generation: v.CreatedAt}
	case store.Signoff:
		p = keys.Purpose{Authority: string(v.Authority), Generation: v.CreatedAt}
	}
	if pub := public(row); pub != nil {
		p.KeyID, _ = pki.KeyID(pub) // without one no key opens
	}
	return p
}

func publicOfCA(v store.CA) crypto.PublicKey {
	if crt, err := x509.ParseCertificate(v.Certificate); err == nil {
		return crt.PublicKey
	}
	return nil
}

func publicOfSignoff(v store.Signoff) crypto.PublicKey {
	if csr, err := x509.ParseCertificateRequest(v.Request); err == nil {
		return csr.PublicKey
	}
	return nil
}

// Opener returns a keyring of KEKs that are in no store.
func Opener(rows []store.KEK, now time.Time, wraps ...keys.Wrap) *keys.Keyring {
	known := memory{}
	for _, k := range rows {
		known[string(k.Authority)] = wrapped(k)
	}
	return keys.NewKeyring(known, func() time.Time { return now }, wraps...)
}
