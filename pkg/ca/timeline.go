package ca

import (
	"context"
	"crypto/x509"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// CountPending counts the requests that wait for a user.
func (a *Authority) CountPending(ctx context.Context) (n int, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		n, err = r.CountRequests(ctx, a.name)
		return err
	})
	return n, err
}

// A Timeline is where an authority stands in its self-renewal.
type Timeline struct {
	Span        time.Duration // validity of an issued certificate
	Now         time.Time
	Generations []TimelineGeneration // oldest first, expired ones left out
	CRLNumber   int64
	ThisUpdate  time.Time
	NextUpdate  time.Time
	Revoked     int       // entries of the lists
	NextCA      time.Time // when the next CA certificate is made; zero when none is made here

	Role    store.Role
	Parent  store.AuthorityName // empty: CA certificates are self-signed
	Signoff *Awaited            // a sign-off of the parent that is waited for; nil when there is none

	Adoption *Adoption // how far the newest CA certificate has got; nil when nobody needs to know any more
}

// A TimelineGeneration is one CA certificate that has not expired.
type TimelineGeneration struct {
	Certificate *x509.Certificate
	Phase       rollover.Phase
	CreatedAt   time.Time

	// ActiveFrom is when it starts to sign. The first of all signs from the start.
	ActiveFrom time.Time
	// RetiredFrom is when its successor starts to sign, as far as that is known.
	RetiredFrom time.Time
	// Begin is how it was started, if that was out of turn. While one waits for hosts to have it, ActiveFrom is when it becomes active
	// at the latest.
	Begin store.Activation
}

// Timeline reports where the authority stands, rolling over first when that is due.
func (a *Authority) Timeline(ctx context.Context) (Timeline, error) {
	now := a.clock.Now()
	if a.external() {
		return a.externalTimeline(ctx, now)
	}
	if a.retired(now) && len(a.cas.Load().valid(now)) == 0 {
		return Timeline{Span: a.spans.Leaf, Now: now, Role: a.row.Role, Parent: a.row.Parent}, nil
	}
	st, err := a.forReading(ctx, now)
	if err != nil {
		return Timeline{}, err
	}
	lists, err := a.currentCRLs(ctx)
	if err != nil {
		return Timeline{}, err
	}
	spans := a.spans
	t := Timeline{
		Span: spans.Leaf, Now: now,
		CRLNumber: lists.number, ThisUpdate: lists.from, NextUpdate: lists.until, Revoked: lists.count,
		Role: a.row.Role, Parent: a.row.Parent,
	}
	if !a.retired(now) {
		t.NextCA = rollover.SuccessorAt(spans, st.newest().times)
	}
	switch awaited, waiting, err := a.Awaited(ctx); {
	case err != nil:
		return Timeline{}, err
	case waiting:
		t.Signoff = &awaited
	}
	if t.Adoption, err = a.RecentAdoption(ctx); err != nil {
		return Timeline{}, err
	}
	phases := a.cfg.Decide(now, spans, st.times()).Phases
	for i, g := range st.list {
		if phases[i] == rollover.Expired {
			continue
		}
		one := TimelineGeneration{
			Certificate: g.trusted(), Phase: phases[i], CreatedAt: g.times.CreatedAt, Begin: g.begin,
			ActiveFrom: rollover.ActiveFrom(spans, g.times),
		}
		if i == 0 {
			one.ActiveFrom = g.times.CreatedAt
		}
		if i+1 < len(st.list) {
			// One that was started later may be active sooner.
			one.RetiredFrom = rollover.ActiveFrom(spans, st.list[i+1].times)
			for _, next := range st.list[i+2:] {
				one.RetiredFrom = earlier(one.RetiredFrom, rollover.ActiveFrom(spans, next.times))
			}
			one.RetiredFrom = later(one.RetiredFrom, one.CreatedAt)
		} else if one.RetiredFrom = g.times.NotAfter; !t.NextCA.IsZero() {
			one.RetiredFrom = t.NextCA.Add(spans.Leaf)
		}
		t.Generations = append(t.Generations, one)
	}
	return t, nil
}
