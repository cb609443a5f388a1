package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A withdrawal is a statement that a CA certificate is to be trusted no longer. Nothing of it is verified.
type withdrawal struct {
	envelope      *envelope.Envelope
	withdrawn, by *x509.Certificate
}

// withdrawals fetches the statements about CA certificates that were withdrawn. What cannot be read is passed over: it may be
// about CA certificates that are nobody's here. Daemons that know none have none.
func (c *Client) withdrawals(ctx context.Context) ([]withdrawal, error) {
	const op = "get withdrawn CA certificates"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/withdrawn.json", want: http.StatusOK})
	if noSuchRoute(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	envelopes, err := envelope.ParseList(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var all []withdrawal
	for _, e := range envelopes {
		payload, err := envelope.DecodeWithdrawal(e.Payload())
		if err != nil {
			continue
		}
		one := withdrawal{envelope: e}
		var errs [2]error
		one.withdrawn, errs[0] = pki.ParseCertificatePEM([]byte(payload.WithdrawnPEM))
		one.by, errs[1] = pki.ParseCertificatePEM([]byte(payload.ByPEM))
		if errors.Join(errs[:]...) == nil {
			all = append(all, one)
		}
	}
	return all, nil
}

// withdraw drops those of cas, oldest first, that a later one of them says are not to be trusted. Nobody has a say who is
// withdrawn: a thief of an earlier key withdraws nothing that came after it. The newest always stays, so that where there is one
// only nobody need be asked.
func (c *Client) withdraw(ctx context.Context, cas []*x509.Certificate) (kept, withdrawn []*x509.Certificate, err error) {
	if len(cas) < 2 {
		return cas, nil, nil
	}
	statements, err := c.withdrawals(ctx)
	if err != nil {
		return nil, nil, err
	}
	gone := func(ca *x509.Certificate) bool { return slices.ContainsFunc(withdrawn, ca.Equal) }
	for i := len(cas) - 1; i > 0; i-- {
		by := cas[i]
		if gone(by) {
			continue
		}
		for _, s := range statements {
			earlier := slices.ContainsFunc(cas[:i], s.withdrawn.Equal)
			if earlier && s.by.Equal(by) && !gone(s.withdrawn) && !sameCA(s.withdrawn, by) && s.envelope.Verify(by.PublicKey) == nil {
				withdrawn = append(withdrawn, s.withdrawn)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(cas), gone), withdrawn, nil
}

// withoutWithdrawn drops from known, CA certificates that are stored as roots, those of the authority itself that were
// withdrawn, given those that are trusted.
func (c *Client) withoutWithdrawn(ctx context.Context, known, trusted []*x509.Certificate) ([]*x509.Certificate, error) {
	var own []*x509.Certificate
	for _, crt := range known {
		if slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool { return pki.SameAuthority(ca.RawSubject, crt.RawSubject) }) {
			own = append(own, crt)
		}
	}
	if len(own) == 0 {
		return known, nil
	}
	all := slices.Concat(own, trusted)
	ByAge(all)
	_, withdrawn, err := c.withdraw(ctx, all)
	return slices.DeleteFunc(known, func(crt *x509.Certificate) bool { return slices.ContainsFunc(withdrawn, crt.Equal) }), err
}

// ErrIssuerWithdrawn says that a certificate is of a CA that was withdrawn, as one says that is trusted. Its holder can exchange it for another one; it
// is good for nothing else.
var ErrIssuerWithdrawn = errors.New("the CA that has signed it was withdrawn, as somebody else may have its key")

// IssuerWithdrawn reports whether a certificate is Orphaned because its CA was withdrawn, as one of those trusted says. There are others:
// whoever trusts only a CA certificate that does not sign yet has such a certificate, and would get another one like it.
func (c *Client) IssuerWithdrawn(ctx context.Context, crt *x509.Certificate, trusted []*x509.Certificate) (bool, error) {
	if !Orphaned(crt, trusted) {
		return false, nil
	}
	statements, err := c.withdrawals(ctx)
	return slices.ContainsFunc(statements, func(s withdrawal) bool {
		return string(s.withdrawn.SubjectKeyId) == string(crt.AuthorityKeyId) && slices.ContainsFunc(trusted, s.by.Equal) && s.envelope.Verify(s.by.PublicKey) == nil
	}), err
}

// Orphaned reports whether a certificate is of an authority of which CA certificates are trusted, but not of one of these: its CA may have
// been withdrawn.
func Orphaned(crt *x509.Certificate, trusted []*x509.Certificate) bool {
	ours := func(ca *x509.Certificate) bool { return pki.SameAuthority(ca.RawSubject, crt.RawIssuer) }
	issuer := func(ca *x509.Certificate) bool { return string(ca.SubjectKeyId) == string(crt.AuthorityKeyId) }
	return len(crt.AuthorityKeyId) > 0 && slices.ContainsFunc(trusted, ours) && !slices.ContainsFunc(trusted, issuer)
}

// ErrNotTold says that a daemon does not ask which CA certificates hosts have, as no reference daemon does.
var ErrNotTold = errors.New("the daemon does not take confirmations of CA certificates")

// ConfirmCA tells the daemon that the CA certificate with this key identifier is on this host's disk. It proves to be the holder of crt
// by signing with its key.
func (c *Client) ConfirmCA(ctx context.Context, crt *x509.Certificate, key crypto.Signer, keyID []byte) error {
	const op = "confirm CA certificate"
	payload, err := envelope.EncodeHolding(envelope.Holding{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), KeyID: keyID})
	if err != nil {
		return err
	}
	signed, err := envelope.Sign(key, payload)
	if err != nil {
		return err
	}
	_, _, err = c.http.do(ctx, call{op: op, method: http.MethodPut, path: "/crt/holds", body: signed, typ: typeJSON, want: http.StatusNoContent})
	if IsStatus(err, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnauthorized) {
		return fmt.Errorf("%w: CA %s: %w", ErrNotTold, hex.EncodeToString(keyID), err)
	}
	return err
}
