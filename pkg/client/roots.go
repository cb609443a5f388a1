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

// rootBundle fetches what verifies everything the authority issues. Nothing vouches for it. It is empty where
// the daemon knows no roots.
func (c *Client) rootBundle(ctx context.Context) ([]*x509.Certificate, error) {
	const op = "get roots"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/root.pem", want: http.StatusOK})
	if noSuchRoute(err) {
		return nil, nil
	}
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
// which is what vouches for it; if there are pins, it has to be pinned. Generations of the root older
// than those are left out.
//
// On any error the local ones stay.
func (c *Client) UpdateRoots(ctx context.Context, cas Trust, local []*x509.Certificate, pins []Pin) (Trust, error) {
	now := c.options.Clock.Now()
	bundle, err := c.rootBundle(ctx)
	if err != nil {
		return Trust{}, err
	}
	var foreign []*x509.Certificate // roots that are not the authority's own
	for _, crt := range bundle {
		if err := pki.CheckCA(crt); err != nil {
			return Trust{}, fmt.Errorf("%w: %w", ErrRoots, err)
		}
		if !slices.ContainsFunc(cas.CAs, crt.Equal) && !errors.Is(pki.CheckValidity(crt, now), pki.ErrExpired) {
			foreign = append(foreign, crt)
		}
	}
	own, below := cas.CAs, []*x509.Certificate(nil)
	if len(foreign) > 0 || slices.ContainsFunc(own, IsIntermediate) {
		if own, below, err = c.belowParent(ctx, own); err != nil {
			return Trust{}, err
		}
	}
	known, err := c.withoutWithdrawn(ctx, withoutOwn(local, cas.CAs), cas.CAs)
	if err != nil {
		return Trust{}, err
	}
	if len(below) == 0 {
		// A root in the bundle may be one that has not signed anything yet, as the authority has only just been put
		// below it. Whoever can leave a root out must not take it away from those who trust it.
		return Trust{CAs: current(append(known, own...), now), FirstUse: cas.FirstUse && len(local) == 0}, nil
	}
	root, err := c.topAuthority(ctx)
	if err != nil {
		return Trust{}, err
	}
	stored := slices.ContainsFunc(local, func(crt *x509.Certificate) bool {
		return !slices.ContainsFunc(below, func(ca *x509.Certificate) bool { return sameCA(ca, crt) })
	})
	trust, err := root.rootTrust(ctx, cas, below, foreign, known, stored, pins)
	for _, kind := range []error{ErrNoAnchor, ErrChain, ErrUnknownAnchor} {
		if errors.Is(err, kind) {
			return Trust{}, fmt.Errorf("%w: root %s: %w", ErrRoots, root.options.Authority, err)
		}
	}
	if err != nil {
		return Trust{}, fmt.Errorf("root %s: %w", root.options.Authority, err)
	}
	for _, crt := range foreign {
		if !slices.ContainsFunc(trust.CAs, crt.Equal) && !predates(crt, trust.CAs) {
			return Trust{}, fmt.Errorf("%w: nothing vouches for %s in it, %s", ErrRoots, pki.SubjectString(crt.RawSubject), PinOf(crt))
		}
	}
	trust.CAs = current(append(trust.CAs, own...), now)
	return trust, nil
}

// predates reports whether crt passes for an older generation of the root that is trusted: statements lead
// from older to newer ones only, so nothing vouches for it to a newcomer, who then does without.
func predates(crt *x509.Certificate, trusted []*x509.Certificate) bool {
	return len(trusted) > 0 && !slices.ContainsFunc(trusted, func(root *x509.Certificate) bool {
		return !pki.SameAuthority(crt.RawSubject, root.RawSubject) || !crt.NotBefore.Before(root.NotBefore)
	})
}

// rootTrust brings trust in the root up to date; c is the client of the authority at the top.
// stored reports whether a store of roots held one of the authority's own, from before it was put
// below a root: no pins of the root were to be had then. One that has a parent is there only because a daemon, or
// whoever is in between, has once kept quiet about that.
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

// belowParent tells the CA certificates of cas that nobody but their own key has signed from those that
// have a parent, of which it returns what the parent has signed: themselves, or what they vouch for.
func (c *Client) belowParent(ctx context.Context, cas []*x509.Certificate) (own, below []*x509.Certificate, err error) {
	var statements []link
	if slices.ContainsFunc(cas, func(ca *x509.Certificate) bool { return !IsIntermediate(ca) }) {
		if statements, err = c.parentStatements(ctx); err != nil {
			return nil, nil, err
		}
	}
	for _, ca := range cas {
		if IsIntermediate(ca) {
			below = append(below, ca)
			continue
		}
		i := slices.IndexFunc(statements, func(s link) bool { return s.err == nil && s.old.Equal(ca) })
		if i < 0 {
			own = append(own, ca)
			continue
		}
		if err := statements[i].checkParent(ca); err != nil {
			return nil, nil, fmt.Errorf("%w: statement about the parent of %s: %w", ErrRoots, PinOf(ca), err)
		}
		below = append(below, statements[i].new)
	}
	return own, below, nil
}

// parentStatements fetches what CA certificates say of those for the same key that a parent has signed. Nothing
// of it is verified. Daemons that know no parents have none.
func (c *Client) parentStatements(ctx context.Context) ([]link, error) {
	statements, err := c.links(ctx, "get statements about the parent", "/crt/parent.json")
	if noSuchRoute(err) {
		return nil, nil
	}
	return statements, err
}

// noSuchRoute reports whether a daemon does not know what is ours in the protocol.
func noSuchRoute(err error) bool { return IsStatus(err, http.StatusNotFound, http.StatusBadRequest) }

// checkParent verifies that ca vouches for a certificate for its own name and key by another CA, which says the same
// of what it may do, and for how long: where it is the parent that is trusted, ca is worth no more than that.
func (l link) checkParent(ca *x509.Certificate) error {
	if err := l.envelope.Verify(ca.PublicKey); err != nil {
		return err
	}
	if !sameCA(l.new, ca) || !IsIntermediate(l.new) {
		return errors.New("it is not about a certificate by a parent for the same name and key")
	}
	if err := pki.CheckAnchorOf(ca, l.new); err != nil {
		return err
	}
	return checkAnchor(l.new)
}

// withoutOwn returns what a store of roots holds beside CA certificates of the authority
// itself, those that have expired included: all of these have the names of one authority.
func withoutOwn(local, cas []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(local), func(crt *x509.Certificate) bool {
		return slices.ContainsFunc(cas, func(ca *x509.Certificate) bool { return pki.SameAuthority(ca.RawSubject, crt.RawSubject) })
	})
}

// topAuthority returns a client of the root above this authority.
func (c *Client) topAuthority(ctx context.Context) (*Client, error) {
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
