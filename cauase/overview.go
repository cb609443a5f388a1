package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/rollover"
)

// An overview is what ca show says, in words and as JSON: where an authority stands in
// its self-renewal, as far as can be told from here.
type overview struct {
	Authority     string          `json:"authority"`
	Store         string          `json:"store"`
	Daemon        string          `json:"daemon,omitempty"`  // address, if it has answered
	Problem       string          `json:"problem,omitempty"` // why it has not, or was not believed
	Now           time.Time       `json:"now"`
	SpanSeconds   float64         `json:"span_seconds"`
	SpanEstimated bool            `json:"span_estimated"` // from the CA certificates
	Generations   []generation    `json:"generations"`    // oldest first
	Next          nextGeneration  `json:"next"`
	CRLs          []crlGeneration `json:"crls"` // oldest CA first

	FirstContact bool `json:"first_contact"` // nothing here vouches for any of it

	Adoption *client.Adoption `json:"adoption,omitempty"` // of the newest CA certificate, as the daemon says

	span        time.Duration
	problemText string // Problem, in a few words
}

// A generation is one CA certificate and its phases.
type generation struct {
	certificateView
	Phase       rollover.Phase `json:"phase"`
	ActiveFrom  time.Time      `json:"active_from"`
	RetiredFrom time.Time      `json:"retired_from"`
	InStore     bool           `json:"in_store"`
	Vouched     bool           `json:"vouched"` // by what is in the store, or by a pin

	crt     *x509.Certificate
	created time.Time // rather than NotBefore, which may be backdated
	first   bool      // of all, says the daemon: it has signed from the start
	waiting bool      // for hosts to have it
}

// A nextGeneration is the CA certificate that does not exist yet.
type nextGeneration struct {
	PassiveFrom time.Time `json:"passive_from"` // when it is made
	ActiveFrom  time.Time `json:"active_from"`
	Overdue     bool      `json:"overdue"` // or made already, where the daemon was not asked
}

type crlGeneration struct {
	CAKeyID    string    `json:"ca_key_id"`
	Number     string    `json:"number,omitempty"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Freshness  string    `json:"freshness"`
	Revoked    int       `json:"revoked"`
	InStore    bool      `json:"in_store"`

	generations []int // that have the same
}

// survey learns what there is, from the stores and, unless offline, from the daemon. The
// error goes with an overview of the stores alone, and is one of trust, not of reaching
// the daemon.
func (t *tool) survey(ctx context.Context, offline bool) (*overview, error) {
	now := t.clock.Now()
	o := &overview{Authority: string(t.authority), Store: t.caStore.Path, Now: now.UTC(), CRLs: []crlGeneration{}}
	stored, err := t.caStore.ReadCertificates()
	if err != nil {
		return nil, err
	}
	crls, err := t.crlStore.ReadCRLs()
	if err != nil {
		return nil, err
	}
	for _, crt := range stored {
		if crt.IsCA && !slices.ContainsFunc(o.Generations, func(g generation) bool { return g.crt.Equal(crt) }) {
			o.Generations = append(o.Generations, generation{crt: crt, InStore: true, Vouched: true})
		}
	}
	served := crls
	var said *client.Timeline
	var trustErr error
	switch {
	case offline:
		o.Problem, o.problemText = "--offline", "not asked: --offline"
	case t.caURL == "":
		o.Problem, o.problemText = "--ca-url is not given", "not asked: --ca-url is not given"
	default:
		served, said, err = t.surveyDaemon(ctx, o, stored, crls)
		if err != nil {
			o.Problem, served = err.Error(), crls
			if trustFails(err) || len(o.Generations) == 0 {
				o.problemText, trustErr = "not believed: this is what is stored here", err
			} else {
				o.problemText = "not reached: this is what is stored here"
				t.warn("%v", err)
			}
		}
	}
	if len(o.Generations) == 0 {
		if trustErr == nil {
			trustErr = fmt.Errorf("%s does not exist yet: %s ca update makes it", t.caStore.Path, toolName)
		}
		return nil, trustErr
	}
	o.order(said)
	for i := range o.Generations {
		g := &o.Generations[i]
		g.certificateView = t.viewCertificate(g.crt)
		g.Pin = client.PinOf(g.crt).String()
	}
	o.addCRLs(served, crls)
	return o, trustErr
}

// trustFails tells a daemon that is not believed from one that is not reached.
func trustFails(err error) bool {
	for _, kind := range []error{client.ErrNoAnchor, client.ErrChain, client.ErrUnknownAnchor, client.ErrPin} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// surveyDaemon adds what the daemon has.
func (t *tool) surveyDaemon(ctx context.Context, o *overview, stored []*x509.Certificate, local []*x509.RevocationList) ([]*x509.RevocationList, *client.Timeline, error) {
	c, err := t.connect()
	if err != nil {
		return nil, nil, err
	}
	found, err := c.Survey(ctx, stored, t.pins)
	if err != nil {
		return nil, nil, err
	}
	o.Daemon, o.FirstContact = c.URL(), found.Trust.FirstUse
	add := func(crt *x509.Certificate, vouched bool) {
		if !slices.ContainsFunc(o.Generations, func(g generation) bool { return g.crt.Equal(crt) }) {
			o.Generations = append(o.Generations, generation{crt: crt, Vouched: vouched})
		}
	}
	for _, crt := range found.Trust.CAs {
		add(crt, !found.Trust.FirstUse)
	}
	for _, crt := range found.Others {
		add(crt, false)
	}
	var said *client.Timeline
	timeline, err := c.Timeline(ctx)
	switch {
	case err == nil:
		said = &timeline
		if off := timeline.Now.Sub(t.clock.Now()); off.Abs() > max(time.Minute, timeline.Span/100) {
			t.warn("the daemon's clock and the one here differ by %s", duration(off.Abs()))
		}
	case !errors.Is(err, client.ErrNoTimeline):
		t.warn("%v", err)
	}
	served, err := c.UpdateCRLs(ctx, found.Trust.CAs, local)
	if err != nil {
		t.warn("%v", err)
		served = local
	}
	return served, said, nil
}

// order puts the generations in theirs and computes phases, from the certificates and
// what the daemon said, if anything.
func (o *overview) order(said *client.Timeline) {
	slices.SortStableFunc(o.Generations, func(a, b generation) int { return client.CompareAge(a.crt, b.crt) })
	var crts []*x509.Certificate
	for _, g := range o.Generations {
		crts = append(crts, g.crt)
	}
	// Not even the daemon's word can make a CA live less than three spans.
	newest := crts[len(crts)-1]
	if said != nil && said.Span <= newest.NotAfter.Sub(newest.NotBefore)/rollover.MinLife {
		o.span = said.Span
	} else {
		o.span, o.SpanEstimated, said = client.EstimateSpan(crts), true, nil
	}
	o.SpanSeconds = o.span.Seconds()
	spans := rollover.Spans{Leaf: o.span}
	var times []rollover.Generation
	for i := range o.Generations {
		g := &o.Generations[i]
		g.dateCreation(o.span, said)
		times = append(times, g.times(said))
	}
	if said != nil {
		o.Adoption = said.Adoption
	}
	plan := rollover.Decide(o.Now, spans, times)
	for i := range o.Generations {
		g := &o.Generations[i]
		g.Phase = plan.Phases[i]
		g.ActiveFrom = rollover.ActiveFrom(spans, times[i])
		if i > 0 {
			if end := times[i-1].NotAfter.Add(time.Second); end.Before(g.ActiveFrom) {
				g.ActiveFrom = latest(end, g.created)
			}
		}
		if g.first || g.Phase == rollover.Active && g.ActiveFrom.After(o.Now) {
			g.ActiveFrom = g.created
		}
		g.ActiveFrom = seconds(g.ActiveFrom)
	}
	last := times[len(times)-1]
	o.Next = nextGeneration{PassiveFrom: seconds(rollover.SuccessorAt(spans, last)), Overdue: plan.Create}
	o.Next.ActiveFrom = seconds(latest(o.Next.PassiveFrom, boundary(plan.Create, o.Now)).Add(o.span))
	for i := range o.Generations {
		next := o.Next.ActiveFrom
		if i+1 < len(o.Generations) {
			next = o.Generations[i+1].ActiveFrom
			for _, g := range o.Generations[i+1:] { // one that was started later may sign sooner
				next = earliest(next, g.ActiveFrom)
			}
		}
		o.Generations[i].RetiredFrom = earliest(next, o.Generations[i].crt.NotAfter.UTC())
	}
}

// boundary is now if what was due is not there, else no boundary.
func boundary(overdue bool, now time.Time) time.Time {
	if overdue {
		return now
	}
	return time.Time{}
}

// dateCreation finds out when a generation was made: from when it starts to sign, as the
// daemon says, or from its life, which is a whole number of spans.
func (g *generation) dateCreation(span time.Duration, said *client.Timeline) {
	if said != nil {
		early, _ := said.Early(g.crt)
		if from, ok := said.ActiveFromOf(g.crt); ok && !early {
			g.created = from.Add(-span)
			if g.created.Before(g.crt.NotBefore.Add(-time.Second)) {
				g.created, g.first = from, true
			}
			return
		}
	}
	g.created = g.crt.NotBefore
	life := math.Floor(float64(g.crt.NotAfter.Sub(g.crt.NotBefore)) / float64(span))
	if at := g.crt.NotAfter.Add(-time.Duration(life * float64(span))); life >= rollover.MinLife && at.Sub(g.crt.NotBefore) <= span/maxBackdate {
		g.created = at
	}
}

// times is what decides in which phase it is.
func (g *generation) times(said *client.Timeline) rollover.Generation {
	t := rollover.Generation{CreatedAt: g.created, NotBefore: g.crt.NotBefore, NotAfter: g.crt.NotAfter}
	if said == nil {
		return t
	}
	early, waiting := said.Early(g.crt)
	if from, ok := said.ActiveFromOf(g.crt); ok && early {
		t.Activation, t.ActivatedAt = rollover.Activated, from
		if g.waiting = waiting; waiting {
			t.Activation = rollover.WhenAdopted
		}
	}
	return t
}

// maxBackdate is the part of a span that daemons set NotBefore back at most.
const maxBackdate = 100

// addCRLs describes the lists of the generations, which are verified.
func (o *overview) addCRLs(lists, local []*x509.RevocationList) {
	for i, g := range o.Generations {
		for _, crl := range lists {
			if !bytes.Equal(crl.RawIssuer, g.crt.RawSubject) || crl.CheckSignatureFrom(g.crt) != nil {
				continue
			}
			one := crlGeneration{
				CAKeyID:    fmt.Sprintf("%x", crl.AuthorityKeyId),
				ThisUpdate: crl.ThisUpdate.UTC(), NextUpdate: crl.NextUpdate.UTC(),
				Freshness: remaining(crl.NextUpdate, o.Now),
				Revoked:   len(crl.RevokedCertificateEntries),
				InStore: slices.ContainsFunc(local, func(have *x509.RevocationList) bool {
					return bytes.Equal(have.Raw, crl.Raw)
				}),
				generations: []int{i},
			}
			if crl.Number != nil {
				one.Number = crl.Number.String()
			}
			o.CRLs = append(o.CRLs, one)
			break
		}
	}
}

// where says whether a generation is in the store, and what that means.
func (o *overview) where(g generation) string {
	switch {
	case g.InStore && g.Phase == rollover.Expired && o.Daemon != "":
		return fmt.Sprintf("in %s, until %s ca update drops it", o.Store, toolName)
	case g.InStore:
		return "in " + o.Store
	case g.Vouched:
		return fmt.Sprintf("not in %s: %s ca update adds it", o.Store, toolName)
	case o.FirstContact:
		return "not trusted here yet: compare the fingerprint with the CA's administrators"
	}
	return "NOT vouched for by anything in " + o.Store
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// seconds drops what no certificate can say.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
