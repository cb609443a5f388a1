package ca

import (
	"context"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// An Adoption is how far the newest CA certificate has got.
type Adoption struct {
	KeyID   []byte
	Begin   store.Activation
	Latest  time.Time // when it becomes active at the latest; zero: it is
	Holders store.Holders
}

// Adoption counts who has the newest CA certificate; nil where nobody confirms anything.
func (a *Authority) Adoption(ctx context.Context) (*Adoption, error) {
	now, g := a.clock.Now(), a.cas.Load()
	newest := a.confirmable(now, g)
	if newest == rollover.None {
		return nil, nil
	}
	found := a.adoptionOf(now, g, newest)
	var err error
	found.Holders, err = store.CountAllHolders(ctx, store.Views(ctx, a.store), a.name, now, g.soughtFrom(newest))
	return found, err
}

// confirmable is the newest generation if there is one that hosts confirm.
func (a *Authority) confirmable(now time.Time, g *generations) int {
	if a.external() || a.row.Role == store.RoleRoot || a.row.Role == store.RoleDaemon {
		return rollover.None
	}
	return rollover.Newest(now, g.times())
}

// adoptionOf is the Adoption of a generation before anybody is counted.
func (a *Authority) adoptionOf(now time.Time, g *generations, which int) *Adoption {
	one := g.list[which]
	found := &Adoption{KeyID: one.crt.SubjectKeyId, Begin: one.begin}
	if at := rollover.ActiveAt(a.spans, one.times); now.Before(at) {
		found.Latest = at
	}
	return found
}

// A census counts holders for whoever asks for the timeline, which is anybody, and for metrics: what was counted a moment ago is told again,
// and of millions so many are counted at a time that nobody waits long: the next one to ask goes on.
type census struct {
	making  lock
	version int64     // of the generations
	found   *Adoption // what was counted last; nil: nothing yet
	at      time.Time // when that count had begun

	begun time.Time
	after store.LineagePage // that the count has come to; zero: none is under way
	soFar store.Holders     // until there
}

// How much work a census may be.
const (
	censusPages = 20                     // that are counted for one who asks: within a second
	censusRest  = 100 * time.Microsecond // for each lineage, until they are counted again: some twenty times as long as counting takes
)

// RecentAdoption is Adoption as it was a moment ago; nil also where nobody needs to know: of the only generation, and of one that has
// existed for a span, and was met by whoever has renewed since; and as long as not all have been counted, which takes a few calls where there are very many.
func (a *Authority) RecentAdoption(ctx context.Context) (*Adoption, error) {
	now, g := a.clock.Now(), a.cas.Load()
	newest := a.confirmable(now, g)
	if newest < 1 || now.Sub(g.list[newest].times.CreatedAt) > a.spans.Leaf {
		return nil, nil
	}
	c := &a.adopted
	if err := c.making.lock(ctx); err != nil {
		return nil, err
	}
	defer c.making.unlock()
	if c.version != g.version || now.Before(c.begun) {
		*c = census{making: c.making, version: g.version}
	}
	if c.found != nil && now.Sub(c.at) < restAfter(c.found.Holders, a.spans.Leaf) {
		return c.found, nil
	}
	err := a.goOnCounting(ctx, c, now, g, newest)
	return c.found, err
}

// restAfter is how long what was counted is told again.
func restAfter(h store.Holders, span time.Duration) time.Duration {
	return max(min(max(span/1000, time.Second), time.Minute), time.Duration(h.Seen)*censusRest)
}

// goOnCounting counts some pages, and has the sum be found once these are all.
func (a *Authority) goOnCounting(ctx context.Context, c *census, now time.Time, g *generations, newest int) error {
	if c.after == (store.LineagePage{}) {
		c.begun, c.soFar = now, store.Holders{}
	}
	of := g.soughtFrom(newest)
	for range censusPages {
		var h store.Holders
		var last store.LineagePage
		err := a.store.View(ctx, func(r store.Reader) (err error) {
			h, last, err = r.CountHolders(ctx, a.name, now, of, c.after, store.HoldersPage)
			return err
		})
		if err != nil {
			return err
		}
		c.after, c.soFar = last, c.soFar.Plus(h)
		if c.after == (store.LineagePage{}) {
			c.found, c.at = a.adoptionOf(now, g, newest), c.begun
			c.found.Holders = c.soFar
			break
		}
	}
	return nil
}
