package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"cauase/pkg/pki"
)

// ErrRoots is a bundle of roots that holds what nothing trusted here vouches for, or that
// lacks what the authority's CA certificates need.
var ErrRoots = errors.New("the daemon's bundle of roots does not hold")

// maxDepth bounds the authorities between one and its root.
const maxDepth = 8

// rootBundle fetches what verifies everything the authority issues. Nothing vouches for it.
func (c *Client) rootBundle(ctx context.Context) ([]*x509.Certificate, error) {
	const op = "get roots"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/root.pem", want: http.StatusOK})
	if err != nil {
		return nil, err
	}
	crts, err := pki.ParseCertificatesPEM(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return crts, nil
}

// UpdateRoots follows the roots of the authority from those stored locally to those it has
// now: what hosts have to trust that verify everything it issues. cas is its [Trust], brought
// up to date.
//
// The roots of an authority whose CA certificates are self-signed are these. Otherwise they
// are the CA certificates of the authority at the top, and known by its own signed succession
// from those stored locally. Without local ones a root is trusted that has signed one of cas,
// which is what vouches for it; if there are pins, it has to be pinned.
//
// On any error the local ones stay.
func (c *Client) UpdateRoots(ctx context.Context, cas Trust, local []*x509.Certificate, pins []Pin) (Trust, error) {
	now := c.options.Clock.Now()
	own, below := split(cas.CAs)
	if len(below) == 0 {
		return Trust{CAs: current(own, now), FirstUse: cas.FirstUse}, nil
	}
	bundle, err := c.rootBundle(ctx)
	if err != nil {
		return Trust{}, err
	}
	var foreign []*x509.Certificate // roots that are not the authority's own
	for _, crt := range bundle {
		if err := pki.CheckCA(crt); err != nil {
			return Trust{}, fmt.Errorf("%w: %w", ErrRoots, err)
		}
		if !slices.ContainsFunc(own, crt.Equal) && !errors.Is(pki.CheckValidity(crt, now), pki.ErrExpired) {
			foreign = append(foreign, crt)
		}
	}
	root, err := c.top(ctx)
	if err != nil {
		return Trust{}, err
	}
	trust, err := root.rootTrust(ctx, cas, below, foreign, withoutOwn(local, cas.CAs), len(local) > 0, pins)
	for _, kind := range []error{ErrNoAnchor, ErrChain, ErrUnknownAnchor} {
		if errors.Is(err, kind) {
			return Trust{}, fmt.Errorf("%w: root %s: %w", ErrRoots, root.options.Authority, err)
		}
	}
	if err != nil {
		return Trust{}, fmt.Errorf("root %s: %w", root.options.Authority, err)
	}
	for _, crt := range foreign {
		if !slices.ContainsFunc(trust.CAs, crt.Equal) {
			return Trust{}, fmt.Errorf("%w: nothing vouches for %s in it, %s", ErrRoots, pki.SubjectString(crt.RawSubject), PinOf(crt))
		}
	}
	trust.CAs = current(append(trust.CAs, own...), now)
	return trust, nil
}

// rootTrust brings trust in the root up to date; c is the client of the authority at the top.
// stored reports whether a store of roots was there at all: an authority that has been put
// under a root since had its own CA certificates in it, and no pins of the root were to be had.
func (c *Client) rootTrust(ctx context.Context, cas Trust, below, foreign, local []*x509.Certificate, stored bool, pins []Pin) (Trust, error) {
	if len(local) > 0 {
		return c.UpdateTrust(ctx, local, pins)
	}
	var vouched []Pin
	for _, crt := range foreign {
		pin := PinOf(crt)
		pinned := slices.Contains(pins, pin)
		signed := slices.ContainsFunc(below, func(ca *x509.Certificate) bool { return signedFor(crt, ca) || pinned && issuedBy(ca, crt) })
		if signed && (pinned || stored || len(pins) == 0) {
			vouched = append(vouched, pin)
		}
	}
	switch {
	case len(vouched) > 0:
	case len(pins) > 0 && !stored:
		return Trust{}, fmt.Errorf("%w: no root in the bundle has it", ErrPin)
	default:
		return Trust{}, fmt.Errorf("%w: none in it has signed a CA certificate trusted here", ErrRoots)
	}
	trust, err := c.UpdateTrust(ctx, nil, vouched)
	trust.FirstUse = cas.FirstUse && len(pins) == 0
	return trust, err
}

// signedFor reports whether ca says, in what its predecessor has vouched for, that root is its
// issuer. The key identifier is computed, and not taken from root: for a signature alone
// another key can be found that verifies it.
func signedFor(root, ca *x509.Certificate) bool {
	id, err := pki.KeyID(root.PublicKey)
	return err == nil && string(id) == string(ca.AuthorityKeyId) && issuedBy(ca, root)
}

// split tells self-signed CA certificates from those that a parent has signed.
func split(cas []*x509.Certificate) (own, below []*x509.Certificate) {
	for _, ca := range cas {
		if IsIntermediate(ca) {
			below = append(below, ca)
		} else {
			own = append(own, ca)
		}
	}
	return own, below
}

// withoutOwn returns what a store of roots holds beside CA certificates of the authority
// itself, those that have expired included: all of these have one subject.
func withoutOwn(local, cas []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(local), func(crt *x509.Certificate) bool {
		return slices.ContainsFunc(cas, func(ca *x509.Certificate) bool { return string(ca.RawSubject) == string(crt.RawSubject) })
	})
}

// top finds the authority above all others of this one.
func (c *Client) top(ctx context.Context) (*Client, error) {
	at := c
	for range maxDepth {
		timeline, err := at.Timeline(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at.options.Authority, err)
		}
		switch timeline.Parent {
		case "":
			if at == c {
				return nil, fmt.Errorf("%w: %s does not say which authority is its parent", ErrRoots, c.options.Authority)
			}
			return at, nil
		case at.options.Authority, c.options.Authority:
			return nil, fmt.Errorf("%w: %s is below itself", ErrRoots, timeline.Parent)
		}
		if at, err = at.For(timeline.Parent); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d authorities above %s", ErrRoots, maxDepth, c.options.Authority)
}
