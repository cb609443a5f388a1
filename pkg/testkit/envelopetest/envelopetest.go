// Package envelopetest makes signed messages for tests. What cannot be made ends the test.
package envelopetest

import (
	"crypto"
	"crypto/x509"
	"testing"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// Sign returns a payload in an envelope, as it goes over the wire.
func Sign(t testing.TB, key crypto.Signer, payload []byte) []byte {
	t.Helper()
	data, err := envelope.Sign(key, payload)
	return made(t, data, err)
}

// Unsigned returns a payload in an envelope that nobody has signed.
func Unsigned(t testing.TB, payload []byte) []byte {
	t.Helper()
	data, err := envelope.Unsigned(payload)
	return made(t, data, err)
}

// Parse reads an envelope as the daemon does.
func Parse(t testing.TB, data []byte) *envelope.Envelope {
	t.Helper()
	e, err := envelope.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Renewal asks for a certificate for the request, in PEM, in place of crt, whose key signs.
func Renewal(t testing.TB, crt *x509.Certificate, key crypto.Signer, request []byte) []byte {
	t.Helper()
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(request),
	})
	return Sign(t, key, made(t, payload, err))
}

// Revocation asks for crt, whose key signs, to be revoked for a reason (RFC 5280 5.3.1).
func Revocation(t testing.TB, crt *x509.Certificate, key crypto.Signer, reason int) []byte {
	t.Helper()
	payload, err := envelope.EncodeRevocation(envelope.Revocation{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), Reason: reason,
	})
	return Sign(t, key, made(t, payload, err))
}

// Link is the statement by which a CA, whose key signs, vouches for its successor. Both certificates are in PEM.
func Link(t testing.TB, key crypto.Signer, old, successor []byte) []byte {
	t.Helper()
	payload, err := envelope.EncodeLink(envelope.Link{OldPEM: string(old), NewPEM: string(successor)})
	return Sign(t, key, made(t, payload, err))
}

func made(t testing.TB, data []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
