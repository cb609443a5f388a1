package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
// for each trusted CA the new one if it is signed by that CA, complete (see [pki.CheckCRLScope]), not
// expired, and no older than the local one. Local lists of CAs the daemon no longer serves are kept, local
// lists of CAs no longer trusted are not. Lists of CAs not trusted here are passed over.
//
// On any error the local ones stay.
func (c *Client) UpdateCRLs(ctx context.Context, trusted []*x509.Certificate, local []*x509.RevocationList) ([]*x509.RevocationList, error) {
	crls, _, err := c.RevalidateCRLs(ctx, trusted, local, "")
	return crls, err
}

// RevalidateCRLs is UpdateCRLs for those who ask often: tag is what it returned the last
// time, together with the lists that are local now. Lists can be many megabytes, which
// need not come again while they are the same. Daemons that know no tags return "".
func (c *Client) RevalidateCRLs(ctx context.Context, trusted []*x509.Certificate, local []*x509.RevocationList, tag string) (crls []*x509.RevocationList, newTag string, err error) {
	crls, newTag, _, err = c.LookForCRLs(ctx, trusted, local, tag)
	return crls, newTag, err
}

// LookForCRLs is RevalidateCRLs for those who want to know of new CA certificates, too: it also returns what the daemon
// has sent, nil if that is the same as before, see [ServedCRLs.Strange].
func (c *Client) LookForCRLs(ctx context.Context, trusted []*x509.Certificate, local []*x509.RevocationList, tag string) (crls []*x509.RevocationList, newTag string, served *ServedCRLs, err error) {
	const op = "get revocation lists"
	now := c.options.Clock.Now()
	if tag != "" && !complete(trusted, local, now) {
		tag = "" // the same again would not do
	}
	body, header, err := c.http.do(ctx, call{
		op: op, method: http.MethodGet, path: "/crl", want: http.StatusOK, limit: pki.MaxCRLSize, large: true, tag: tag,
	})
	if err != nil {
		return nil, "", nil, err
	}
	if body == nil {
		crls, _, err = selectCRLs(trusted, local, nil, now)
		return crls, tag, nil, err
	}
	if served, err = parseServed(body, header); err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", op, err)
	}
	crls, newTag, err = c.TakeCRLs(trusted, local, served)
	if err != nil {
		return nil, "", served, fmt.Errorf("%s: %w", op, err)
	}
	return crls, newTag, served, nil
}

// ServedCRLs are revocation lists as a daemon has sent them. Whether any of them is to be believed is for
// [Client.TakeCRLs] to say.
type ServedCRLs struct {
	crls []*x509.RevocationList
	tag  string
}

func parseServed(body []byte, header http.Header) (*ServedCRLs, error) {
	crls, err := pki.ParseCRLsPEM(body)
	if err != nil {
		return nil, err
	}
	return &ServedCRLs{crls: crls, tag: header.Get("ETag")}, nil
}

// Strange reports whether there is a list of a CA that is not among those trusted, and has the name of their authority: there may be
// one that has followed them. So it does if there is none of one that is trusted: it may have been withdrawn. Nothing vouches for
// either, so that it is no more than a reason to ask.
func (s *ServedCRLs) Strange(trusted []*x509.Certificate) bool {
	missing := slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool {
		return !slices.ContainsFunc(s.crls, func(crl *x509.RevocationList) bool { return claimsIssuer(crl, ca) })
	})
	return missing || slices.ContainsFunc(s.crls, func(crl *x509.RevocationList) bool {
		known := func(ca *x509.Certificate) bool { return claimsIssuer(crl, ca) }
		ours := func(ca *x509.Certificate) bool { return pki.SameAuthority(ca.RawSubject, crl.RawIssuer) }
		return slices.ContainsFunc(trusted, ours) && !slices.ContainsFunc(trusted, known)
	})
}

// TakeCRLs is [Client.RevalidateCRLs] with lists that were sent already.
func (c *Client) TakeCRLs(trusted []*x509.Certificate, local []*x509.RevocationList, served *ServedCRLs) (crls []*x509.RevocationList, tag string, err error) {
	crls, fresh, err := selectCRLs(trusted, local, served.crls, c.options.Clock.Now())
	if err != nil {
		return nil, "", err
	}
	if fresh == 0 {
		return nil, "", fmt.Errorf("%w: none is of a CA trusted here", ErrCRL)
	}
	return crls, served.tag, nil
}

// complete reports whether there is a good list of every trusted CA.
func complete(trusted []*x509.Certificate, crls []*x509.RevocationList, now time.Time) bool {
	for _, ca := range trusted {
		crl := newestCRL(ca, crls)
		if crl == nil || crl.NextUpdate.Before(now) {
			return false
		}
	}
	return true
}

// selectCRLs picks a list for each trusted CA, and counts those that were served.
func selectCRLs(trusted []*x509.Certificate, local, served []*x509.RevocationList, now time.Time) (kept []*x509.RevocationList, fresh int, err error) {
	for _, ca := range trusted {
		have := newestCRL(ca, local)
		got := findCRL(ca, served)
		if got == nil {
			if have != nil {
				kept = append(kept, have)
			}
			continue
		}
		if err := checkCRL(got, ca, have, now); err != nil {
			return nil, 0, fmt.Errorf("of CA %x: %w", ca.SubjectKeyId, err)
		}
		kept = append(kept, got)
		fresh++
	}
	return kept, fresh, nil
}

// newestCRL returns the genuine list of ca with the highest number: beside the current
// one, a directory may hold copies that somebody keeps there.
func newestCRL(ca *x509.Certificate, crls []*x509.RevocationList) *x509.RevocationList {
	var newest *x509.RevocationList
	for _, crl := range crls {
		if !claimsIssuer(crl, ca) || pki.CheckCRLScope(crl) != nil || crl.CheckSignatureFrom(ca) != nil {
			continue
		}
		if newest == nil || newest.Number == nil || crl.Number != nil && crl.Number.Cmp(newest.Number) > 0 {
			newest = crl
		}
	}
	return newest
}

// claimsIssuer reports whether a list claims to be of ca.
func claimsIssuer(crl *x509.RevocationList, ca *x509.Certificate) bool {
	return bytes.Equal(crl.RawIssuer, ca.RawSubject) &&
		(bytes.Equal(crl.AuthorityKeyId, ca.SubjectKeyId) || bytes.Equal(crl.AuthorityKeyId, ca.AuthorityKeyId))
}

// findCRL finds the list that claims to be of ca: a complete one, if there is one.
func findCRL(ca *x509.Certificate, crls []*x509.RevocationList) (found *x509.RevocationList) {
	for _, crl := range crls {
		switch {
		case !claimsIssuer(crl, ca):
		case pki.CheckCRLScope(crl) == nil:
			return crl
		case found == nil:
			found = crl
		}
	}
	return found
}

func checkCRL(crl *x509.RevocationList, ca *x509.Certificate, have *x509.RevocationList, now time.Time) error {
	if err := crl.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("%w: it is not signed by that CA", ErrCRL)
	}
	if err := pki.CheckCRLScope(crl); err != nil {
		return fmt.Errorf("%w: %w", ErrCRL, err)
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
