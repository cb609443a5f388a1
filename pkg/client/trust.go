package client

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// Why trust in an authority cannot be brought up to date. The local store stays as it
// is in every case.
var (
	// ErrNoAnchor says that there are CA certificates here, and none is valid now. Over
	// the network nothing can be learned any more: trust starts anew, by a [Pin].
	ErrNoAnchor = errors.New("no locally stored CA certificate is valid now")

	// ErrChain is a succession of CA certificates that is forged, cut or reordered.
	ErrChain = errors.New("the daemon's chain of CA certificates does not hold")

	// ErrUnknownAnchor says that the daemon does not know the CA trusted here: it
	// is another authority, or was set back to before that CA existed.
	ErrUnknownAnchor = errors.New("the daemon does not know the CA certificate trusted here")

	// ErrPin says that no CA certificate of the daemon is one of those pinned.
	ErrPin = errors.New("the daemon has no CA certificate with the expected fingerprint")
)

// Trust is the state of trust in an authority.
type Trust struct {
	CAs []*x509.Certificate // oldest first

	// FirstUse says that nothing but the network vouches for CAs: there was no store,
	// and no pin.
	FirstUse bool

	// Withdrawn are CA certificates of the authority that are trusted no longer, though they have not expired: a later one says that
	// somebody else may have their keys.
	Withdrawn []*x509.Certificate
}

// UpdateTrust follows an authority from the CA certificates stored locally to those it
// has now (protocol: 5). The newest local one that is valid is the anchor, and each
// later one must be vouched for by its predecessor's key. Expired ones are dropped, and so are those that
// a later one has withdrawn.
//
// Without local ones, pins decide which of the daemon's CA certificates are trusted to
// begin with: those pinned, or else those that a pinned root has signed, and without pins the oldest valid one is, on first use. Pins also serve to
// begin anew when all local ones have expired. Failing that, Options.CatchUp may allow the
// newest of those to be the anchor nevertheless.
//
// A pin says nothing about CAs older than the pinned one: what such a CA may have
// signed about its successor, anybody can sign with a key of his own. Hosts that need
// them (right after a rollover, when the older one still signs) pin both.
func (c *Client) UpdateTrust(ctx context.Context, local []*x509.Certificate, pins []Pin) (Trust, error) {
	for again := false; ; again = true {
		links, err := c.chain(ctx)
		if err != nil {
			return Trust{}, err
		}
		trust, err := c.follow(ctx, local, pins, links, c.options.Clock.Now())
		if again || !errors.Is(err, ErrUnknownAnchor) {
			return trust, err
		}
		// Between two answers there may have come a CA certificate. Whoever answers in the daemon's place has to lie once more.
	}
}

func (c *Client) follow(ctx context.Context, local []*x509.Certificate, pins []Pin, links []link, now time.Time) (Trust, error) {
	var trust Trust
	var cas []*x509.Certificate
	var anchor *x509.Certificate
	var err error
	if len(local) > 0 {
		cas, anchor, err = c.stored(ctx, local, pins, links, now)
	} else {
		cas, trust.FirstUse, err = c.first(ctx, pins, links)
		anchor = newestValid(cas, now)
	}
	if err != nil {
		return Trust{}, err
	}
	if anchor == nil {
		return Trust{}, noAnchorError(cas, now)
	}
	successors, err := c.successors(ctx, anchor, links)
	if err != nil {
		return Trust{}, err
	}
	trust.CAs = current(append(cas, successors...), now)
	if trust.CAs, trust.Withdrawn, err = c.withdraw(ctx, trust.CAs); err != nil {
		return Trust{}, err
	}
	if newestValid(trust.CAs, now) == nil {
		return Trust{}, fmt.Errorf("%w: it ends before a CA certificate that is valid now", ErrChain)
	}
	return trust, nil
}

// first returns what to trust where nothing was trusted so far.
func (c *Client) first(ctx context.Context, pins []Pin, links []link) (cas []*x509.Certificate, firstUse bool, err error) {
	if len(pins) > 0 {
		cas, err = c.pinned(ctx, links, pins)
		return cas, false, err
	}
	oldest, err := c.CACertificate(ctx)
	if err != nil {
		return nil, false, err
	}
	return []*x509.Certificate{oldest}, true, nil
}

// stored returns what to trust and where to go on from, given what is stored here.
func (c *Client) stored(ctx context.Context, local []*x509.Certificate, pins []Pin, links []link, now time.Time) (cas []*x509.Certificate, anchor *x509.Certificate, err error) {
	for _, crt := range local {
		if checkAnchor(crt) == nil {
			cas = append(cas, crt)
		}
	}
	if len(cas) == 0 {
		return nil, nil, fmt.Errorf("%w: there is no CA certificate among the %d stored", ErrNoAnchor, len(local))
	}
	if anchor = newestValid(cas, now); anchor != nil {
		return cas, anchor, nil
	}
	if len(pins) > 0 {
		found, err := c.pinned(ctx, links, pins)
		if anchor = newestValid(found, now); anchor != nil {
			return found, anchor, nil
		}
		// The pin of the first contact may still be configured, years later.
		if c.options.CatchUp == 0 && err != nil {
			return nil, nil, err
		}
	}
	anchor, err = c.expiredAnchor(cas, links, now)
	return cas, anchor, err
}

// noAnchorError distinguishes a host that was away for too long from one whose clock is wrong.
func noAnchorError(cas []*x509.Certificate, now time.Time) error {
	last := slices.MaxFunc(cas, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	err := pki.CheckValidity(last, now)
	if err == nil {
		err = errors.New("older ones are not valid yet or have expired")
	}
	return fmt.Errorf("%w: the last one: %w", ErrNoAnchor, err)
}

// current drops what has expired and what occurs twice, and sorts by age.
func current(cas []*x509.Certificate, now time.Time) []*x509.Certificate {
	ByAge(cas)
	var kept []*x509.Certificate
	for _, ca := range cas {
		if errors.Is(pki.CheckValidity(ca, now), pki.ErrExpired) || slices.ContainsFunc(kept, ca.Equal) {
			continue
		}
		kept = append(kept, ca)
	}
	return kept
}

// CACertificate fetches the oldest CA certificate that is valid, and checks that it is
// one. Nothing says whose it is.
func (c *Client) CACertificate(ctx context.Context) (*x509.Certificate, error) {
	return oldestCA(ctx, c.http, "get CA certificate")
}

func oldestCA(ctx context.Context, from *endpoint, op string) (*x509.Certificate, error) {
	body, _, err := from.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/ca.crt.pem", want: http.StatusOK})
	crt, err := parseCertificate(op, body, err)
	if err != nil {
		return nil, err
	}
	if err := checkAnchor(crt); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return crt, nil
}

// A link is one step of the chain, of which nothing is verified. Links that cannot be
// read are kept as their error: those before the anchor do not matter.
type link struct {
	envelope *envelope.Envelope
	old, new *x509.Certificate
	err      error
}

// chain fetches the links, of which [envelope.ParseList] bounds the number.
func (c *Client) chain(ctx context.Context) ([]link, error) {
	return c.links(ctx, "get CA chain", "/crt/ca.crt.json")
}

func (c *Client) links(ctx context.Context, op, path string) ([]link, error) {
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: path, want: http.StatusOK})
	if err != nil {
		return nil, err
	}
	envelopes, err := envelope.ParseList(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	links := make([]link, 0, len(envelopes))
	for _, e := range envelopes {
		links = append(links, readLink(e))
	}
	return links, nil
}

func readLink(e *envelope.Envelope) link {
	l := link{envelope: e}
	payload, err := envelope.DecodeLink(e.Payload())
	if err != nil {
		return link{err: err}
	}
	if l.old, err = pki.ParseCertificatePEM([]byte(payload.OldPEM)); err != nil {
		return link{err: err}
	}
	if l.new, err = pki.ParseCertificatePEM([]byte(payload.NewPEM)); err != nil {
		return link{err: err}
	}
	return l
}

// successors walks from anchor to the end of the chain and returns what comes after
// it. A chain that does not lead there from anchor is an error as a whole.
func (c *Client) successors(ctx context.Context, anchor *x509.Certificate, links []link) ([]*x509.Certificate, error) {
	start := slices.IndexFunc(links, func(l link) bool { return l.err == nil && l.old.Equal(anchor) })
	if start < 0 {
		return nil, c.confirmNewest(ctx, anchor, links)
	}
	var found []*x509.Certificate
	last := anchor
	for i, l := range links[start:] {
		if err := l.check(last); err != nil {
			return nil, fmt.Errorf("%w: link %d of %d: %w", ErrChain, start+i+1, len(links), err)
		}
		found = append(found, l.new)
		last = l.new
	}
	return found, nil
}

// confirmNewest decides whether anchor, which the chain leads nowhere from, is where it
// ends: in the last link, or as the only CA certificate there is.
func (c *Client) confirmNewest(ctx context.Context, anchor *x509.Certificate, links []link) error {
	if len(links) > 0 {
		last := links[len(links)-1]
		if last.err != nil || !last.new.Equal(anchor) {
			return fmt.Errorf("%w: %s", ErrUnknownAnchor, PinOf(anchor))
		}
		return nil
	}
	only, err := c.CACertificate(ctx)
	if err != nil {
		return err
	}
	if !only.Equal(anchor) {
		return fmt.Errorf("%w: here is %s, there %s", ErrUnknownAnchor, PinOf(anchor), PinOf(only))
	}
	return nil
}

// check verifies one link that has to continue from last.
func (l link) check(last *x509.Certificate) error {
	switch {
	case l.err != nil:
		return l.err
	case !l.old.Equal(last):
		return errors.New("it does not continue the one before it")
	}
	if err := l.envelope.Verify(last.PublicKey); err != nil {
		return err
	}
	if err := checkAnchor(l.new); err != nil {
		return err
	}
	switch {
	case sameCA(l.new, last):
		return errors.New("a CA does not succeed itself")
	case !pki.SameAuthority(l.new.RawSubject, last.RawSubject):
		return fmt.Errorf("subject changes from %s to %s", pki.SubjectString(last.RawSubject), pki.SubjectString(l.new.RawSubject))
	case l.new.NotBefore.Before(last.NotBefore):
		return errors.New("the successor is older than its predecessor")
	}
	return nil
}

// A Pin is the SHA-256 fingerprint of a CA certificate.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// PinOf returns the fingerprint of crt.
func PinOf(crt *x509.Certificate) Pin { return sha256.Sum256(crt.Raw) }

func (p Pin) String() string { return pinPrefix + hex.EncodeToString(p[:]) }

// ParsePin reads "sha256:" and 64 hexadecimal digits, in either case and with or
// without the colons of openssl.
func ParsePin(s string) (Pin, error) {
	var p Pin
	digits, ok := strings.CutPrefix(s, pinPrefix)
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if !ok || err != nil || len(raw) != len(p) {
		return p, fmt.Errorf("%.80q is not a fingerprint: sha256: and 64 hexadecimal digits needed", s)
	}
	copy(p[:], raw)
	return p, nil
}

// pinned returns the daemon's CA certificates that are pinned. Being pinned is proof
// enough, so links need not be verified.
func (c *Client) pinned(ctx context.Context, links []link, pins []Pin) ([]*x509.Certificate, error) {
	oldest, err := c.CACertificate(ctx)
	if err != nil {
		return nil, err
	}
	served := []*x509.Certificate{oldest}
	for _, l := range links {
		if l.err == nil {
			served = append(served, l.old, l.new)
		}
	}
	var found []*x509.Certificate
	for _, crt := range served {
		if slices.Contains(pins, PinOf(crt)) && checkAnchor(crt) == nil {
			found = append(found, crt)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if found, err = c.belowPinned(ctx, served, pins); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: the oldest valid one is %s", ErrPin, PinOf(oldest))
	}
	return found, nil
}

// belowPinned returns those of served that a pinned root has signed.
func (c *Client) belowPinned(ctx context.Context, served []*x509.Certificate, pins []Pin) ([]*x509.Certificate, error) {
	bundle, err := c.rootBundle(ctx)
	if err != nil {
		return nil, err
	}
	bundle = slices.DeleteFunc(bundle, func(root *x509.Certificate) bool {
		return !slices.Contains(pins, PinOf(root)) || pki.CheckCA(root) != nil
	})
	if len(bundle) == 0 {
		return nil, nil
	}
	_, below, err := c.belowParent(ctx, served)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for _, root := range bundle {
		for _, crt := range served {
			signed := slices.ContainsFunc(below, func(ca *x509.Certificate) bool { return sameCA(ca, crt) && issuedBy(ca, root) })
			if signed && checkAnchor(crt) == nil && !slices.ContainsFunc(found, crt.Equal) {
				found = append(found, crt)
			}
		}
	}
	ByAge(found)
	return found, nil
}
