package client

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// EstimateSpan guesses the span of an authority, the validity of what it issues, from
// its CA certificates: a successor is made when two spans are left, and without one a CA
// is taken to live the usual four. It returns 0 for no certificates.
func EstimateSpan(cas []*x509.Certificate) time.Duration {
	cas = slices.Clone(cas)
	ByAge(cas)
	for i := len(cas) - 1; i > 0; i-- {
		if span, ok := spanBetween(cas[i-1], cas[i]); ok {
			return span
		}
	}
	if len(cas) == 0 {
		return 0
	}
	return validity(cas[len(cas)-1]) / 4
}

// spanBetween estimates the span from a CA certificate and its successor. A successor
// made late, by a daemon that was down when it was due, makes it too short, and one made
// after all was over makes it impossible. Whoever chose the successor's dates can make
// it longer than it is, but not beyond a third of old's validity, as no CA lives shorter
// than three spans.
func spanBetween(old, successor *x509.Certificate) (time.Duration, bool) {
	span := old.NotAfter.Sub(successor.NotBefore) / 2
	return min(span, validity(old)/3), span > 0
}

func validity(crt *x509.Certificate) time.Duration { return crt.NotAfter.Sub(crt.NotBefore) }

// expiredAnchor returns the newest of cas, of which none is valid now, as the anchor if it
// expired so recently that Options.CatchUp allows that, and else why not.
//
// The key of an expired CA is of no more use to its owner, who may be careless with it,
// and whoever obtains it can make a chain that would be followed. Hence the limit.
func (c *Client) expiredAnchor(cas []*x509.Certificate, links []link, now time.Time) (*x509.Certificate, error) {
	why := noAnchorError(cas, now)
	for _, ca := range cas {
		if !errors.Is(pki.CheckValidity(ca, now), pki.ErrExpired) {
			return nil, why // the clock is wrong, not the host late
		}
	}
	anchor := Newest(cas)
	i := slices.IndexFunc(links, func(l link) bool { return l.err == nil && l.old.Equal(anchor) })
	if i < 0 {
		if c.options.CatchUp > 0 {
			return nil, fmt.Errorf("%w, and the daemon has no successor of it", why)
		}
		return nil, why
	}
	if err := links[i].check(anchor); err != nil {
		return nil, fmt.Errorf("%w: link %d of %d: %w", ErrChain, i+1, len(links), err)
	}
	span, ok := spanBetween(anchor, links[i].new)
	if !ok {
		span = EstimateSpan(cas)
	}
	ago := float64(now.Sub(anchor.NotAfter)) / float64(span)
	switch {
	case ago <= c.options.CatchUp:
		return anchor, nil
	case c.options.CatchUp == 0:
		return nil, fmt.Errorf("%w, about %s spans ago", why, roundUp(ago))
	}
	return nil, fmt.Errorf("%w, about %s spans ago, which is more than the %v allowed to catch up over", why, roundUp(ago), c.options.CatchUp)
}

// roundUp shows a number such that what it says is enough.
func roundUp(f float64) string { return fmt.Sprintf("%.1f", math.Ceil(f*10)/10) }
