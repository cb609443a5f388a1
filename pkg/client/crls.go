package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cauase/pkg/pki"
)

// Why revocation lists from the daemon are not taken.
var (
	ErrCRL = errors.New("the daemon's revocation list is not usable")
	// ErrCRLRollback is a list that is older than the one stored here: someone
	// wants a revocation forgotten, or the daemon was set back.
	ErrCRLRollback = errors.New("the daemon's revocation list is older than the one stored here")
)

// UpdateCRLs fetches the revocation lists of an authority and returns those to store:
// for each trusted CA the new one if it is signed by that CA, not expired, and no older
// than the local one. Local lists of CAs the daemon no longer serves are kept, local
// lists of CAs no longer trusted are not. Lists of CAs not trusted here are passed over.
//
// On any error the local ones stay.
func (c *Client) UpdateCRLs(ctx context.Context, trusted []*x509.Certificate, local []*x509.RevocationList) ([]*x509.RevocationList, error) {
	const op = "get revocation lists"
	now := c.options.Clock.Now()
	body, _, err := c.http.do(ctx, call{
		op: op, method: http.MethodGet, path: "/crl", want: http.StatusOK, limit: pki.MaxCRLSize, large: true,
	})
	if err != nil {
		return nil, err
	}
	served, err := pki.ParseCRLsPEM(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var kept []*x509.RevocationList
	fresh := 0
	for _, ca := range trusted {
		have := crlOf(ca, local)
		if have != nil && have.CheckSignatureFrom(ca) != nil {
			have = nil
		}
		got := crlOf(ca, served)
		if got == nil {
			if have != nil {
				kept = append(kept, have)
			}
			continue
		}
		if err := checkCRL(got, ca, have, now); err != nil {
			return nil, fmt.Errorf("%s: of CA %x: %w", op, ca.SubjectKeyId, err)
		}
		kept = append(kept, got)
		fresh++
	}
	if fresh == 0 {
		return nil, fmt.Errorf("%s: %w: none is of a CA trusted here", op, ErrCRL)
	}
	return kept, nil
}

// crlOf finds the list that claims to be of ca.
func crlOf(ca *x509.Certificate, crls []*x509.RevocationList) *x509.RevocationList {
	for _, crl := range crls {
		if bytes.Equal(crl.RawIssuer, ca.RawSubject) &&
			(bytes.Equal(crl.AuthorityKeyId, ca.SubjectKeyId) || bytes.Equal(crl.AuthorityKeyId, ca.AuthorityKeyId)) {
			return crl
		}
	}
	return nil
}

func checkCRL(crl *x509.RevocationList, ca *x509.Certificate, have *x509.RevocationList, now time.Time) error {
	if err := crl.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("%w: it is not signed by that CA", ErrCRL)
	}
	if crl.NextUpdate.Before(now) {
		return fmt.Errorf("%w: it expired on %s", ErrCRL, crl.NextUpdate.UTC().Format(time.RFC3339))
	}
	if have == nil {
		return nil
	}
	// The number decides, as RFC 5280 5.2.3 has it only grow; a daemon whose clock
	// was corrected may number a list higher and date it earlier.
	if have.Number != nil && crl.Number != nil {
		if order := crl.Number.Cmp(have.Number); order != 0 {
			if order < 0 {
				return fmt.Errorf("%w: number %v, here %v", ErrCRLRollback, crl.Number, have.Number)
			}
			return nil
		}
	} else if have.Number != nil {
		return fmt.Errorf("%w: it has no number, the one here has %v", ErrCRLRollback, have.Number)
	}
	if crl.ThisUpdate.Before(have.ThisUpdate) {
		return fmt.Errorf("%w: of %s, here of %s", ErrCRLRollback,
			crl.ThisUpdate.UTC().Format(time.RFC3339), have.ThisUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}
