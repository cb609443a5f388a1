package client

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

// A Survey is what an authority has, beside what is trusted here.
type Survey struct {
	// Trust is what UpdateTrust would return.
	Trust Trust

	// Others are CA certificates that the daemon serves and that are valid now, but for
	// which nothing trusted here vouches, oldest first.
	Others []*x509.Certificate
}

// Survey asks what UpdateTrust would, also of a daemon that nothing vouches for, for
// somebody to look at.
func (c *Client) Survey(ctx context.Context, local []*x509.Certificate, pins []Pin) (Survey, error) {
	now := c.options.Clock.Now()
	links, err := c.chain(ctx)
	if err != nil {
		return Survey{}, err
	}
	var s Survey
	if s.Trust, err = c.follow(ctx, local, pins, links, now); err != nil {
		return Survey{}, err
	}
	for _, l := range links {
		for _, crt := range []*x509.Certificate{l.old, l.new} {
			if l.err == nil && checkAnchor(crt) == nil && pki.CheckValidity(crt, now) == nil && !slices.ContainsFunc(slices.Concat(s.Trust.CAs, s.Trust.Withdrawn), crt.Equal) {
				s.Others = append(s.Others, crt)
			}
		}
	}
	s.Others = current(s.Others, now)
	// A CA certificate that is trusted may have withdrawn some of these.
	all := slices.Concat(s.Others, s.Trust.CAs)
	ByAge(all)
	_, withdrawn, err := c.withdraw(ctx, all)
	s.Others = slices.DeleteFunc(s.Others, func(crt *x509.Certificate) bool { return slices.ContainsFunc(withdrawn, crt.Equal) })
	return s, err
}

// ErrNoTimeline says that the daemon has no timeline, as no reference daemon does.
var ErrNoTimeline = errors.New("the daemon does not say how long its spans are")

// A Timeline is what a daemon says about its self-renewal that its CA certificates do not
// show. Nothing vouches for it but the network.
type Timeline struct {
	Span time.Duration // validity of an issued certificate
	Now  time.Time     // by the daemon's clock

	// Parent is the authority whose CA signs the CA certificates of this one, "" if these
	// are self-signed.
	Parent AuthorityName

	// NextCA is when the daemon makes the next CA certificate; zero when it makes none: the authority is
	// retired, or people bring its CA certificates.
	NextCA    time.Time
	RetiredAt time.Time // zero: it is not retired

	// ActiveFrom is when CAs start to sign, or did, by their subject key identifier
	// in hexadecimal.
	ActiveFrom map[string]time.Time

	// Activation says of CAs that were started out of turn how they begin to sign: "now", since ActiveFrom, or "adopted", when hosts have
	// them, and at ActiveFrom at the latest. By key identifier, as ActiveFrom.
	Activation map[string]string

	// Adoption is how many hosts have the newest CA certificate; nil if the daemon does not say.
	Adoption *Adoption
}

// An Adoption is how many hosts have a CA certificate: lineages with a valid certificate, which are the sum of the others.
type Adoption struct {
	KeyID     string `json:"key_id"`
	Hosts     int    `json:"hosts"`
	Confirmed int    `json:"confirmed"` // their agents say so
	Renewed   int    `json:"renewed"`   // cannot tell, but had a certificate since it was made
	Behind    int    `json:"behind"`    // have confirmed an earlier one
	Silent    int    `json:"silent"`    // cannot tell, and had no certificate since
}

// maxSpan is more than any daemon allows.
const maxSpan = 100 * 365 * 24 * time.Hour

// Timeline fetches the timeline of the authority (protocol: "Timeline"), or says that
// there is none with ErrNoTimeline.
func (c *Client) Timeline(ctx context.Context) (Timeline, error) {
	const op = "get timeline"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/timeline", want: http.StatusOK})
	switch {
	case IsStatus(err, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed):
		return Timeline{}, ErrNoTimeline
	case err != nil:
		return Timeline{}, err
	}
	t, err := readTimeline(body)
	if err != nil {
		return Timeline{}, fmt.Errorf("%s: %w", op, err)
	}
	return t, nil
}

func readTimeline(body []byte) (Timeline, error) {
	var wire struct {
		Span        float64   `json:"span_seconds"`
		Now         time.Time `json:"now"`
		Parent      string    `json:"parent"`
		NextCA      time.Time `json:"next_ca"`
		RetiredAt   time.Time `json:"retired_at"`
		Generations []struct {
			KeyID      string    `json:"key_id"`
			ActiveFrom time.Time `json:"active_from"`
			Activation string    `json:"activation"`
		} `json:"generations"`
		Adoption *Adoption `json:"adoption"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return Timeline{}, fmt.Errorf("%w: %s", ErrNotCA, pki.EscapeText(err.Error()))
	}
	if !(wire.Span >= 1 && wire.Span <= maxSpan.Seconds()) {
		return Timeline{}, fmt.Errorf("%w: a span of %v seconds", ErrNotCA, wire.Span)
	}
	var parent AuthorityName
	if wire.Parent != "" {
		var err error
		if parent, err = ParseAuthority(wire.Parent); err != nil {
			return Timeline{}, fmt.Errorf("%w: parent %w", ErrNotCA, err)
		}
	}
	t := Timeline{Parent: parent, Span: time.Duration(wire.Span * float64(time.Second)), Now: wire.Now,
		NextCA: wire.NextCA, RetiredAt: wire.RetiredAt, ActiveFrom: map[string]time.Time{}, Activation: map[string]string{}}
	for _, g := range wire.Generations {
		t.ActiveFrom[g.KeyID] = g.ActiveFrom
		if g.Activation == activatedNow || g.Activation == activatedWhenAdopted {
			t.Activation[g.KeyID] = g.Activation
		}
	}
	if a := wire.Adoption; a != nil && min(a.Hosts, a.Confirmed, a.Renewed, a.Behind, a.Silent) >= 0 && len(a.KeyID) <= 2*maxKeyID && pki.EscapeText(a.KeyID) == a.KeyID {
		t.Adoption = a
	}
	return t, nil
}

// What Timeline.Activation says.
const (
	activatedNow         = "now"
	activatedWhenAdopted = "adopted"
)

// maxKeyID is more than key identifiers have.
const maxKeyID = 64

// Early reports whether a CA was started out of turn, and whether it signs already, or waits for hosts to have it.
func (t Timeline) Early(ca *x509.Certificate) (early, waiting bool) {
	how := t.Activation[hex.EncodeToString(ca.SubjectKeyId)]
	return how != "", how == activatedWhenAdopted
}

// ActiveFromOf returns what the timeline says about ca, if that can be: between the
// limits of its validity.
func (t Timeline) ActiveFromOf(ca *x509.Certificate) (time.Time, bool) {
	from, ok := t.ActiveFrom[hex.EncodeToString(ca.SubjectKeyId)]
	return from, ok && !from.Before(ca.NotBefore) && !from.After(ca.NotAfter)
}
