package ca

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// Requests that wait for a user. Anybody can submit some, so that they are few, those of one address fewer, and
// none waits for ever.

// minShare is how many of the pending requests may be of one address, however few there may be of all.
const minShare = 5

// sharePart is the part of the pending requests that may be of one address unless the configuration says otherwise.
const sharePart = 4

// share is how many pending requests may be of one address.
func (a *Authority) share() int {
	if a.cfg.PendingShare > 0 {
		return a.cfg.PendingShare
	}
	return max(a.row.MaxPending/sharePart, minShare)
}

// A tally is how many requests were waiting when so many had been received.
type tally struct{ waiting, received int64 }

// room knows how many requests may be waiting at most, without counting them: no more than at the last count and those that have
// been received since. Its zero value knows nothing.
type room struct {
	counted  atomic.Pointer[tally]
	received atomic.Int64 // the last time that was seen
}

// most is how many may wait after so many were received.
func (r *room) most(received int64) int64 {
	t := r.counted.Load()
	if t == nil || received < t.received {
		return math.MaxInt64
	}
	return t.waiting + received - t.received
}

// note keeps a count, if there is one, once the transaction that has counted is durable.
func (r *room) note(t *tally) {
	if t != nil {
		r.counted.Store(t)
	}
}

// roomToWait refuses a request for which there would be no room to wait for a user: at all, or for that many of
// whoever has sent it. So many were received before. It returns how many wait if it had to count, nil otherwise.
func (a *Authority) roomToWait(ctx context.Context, r store.Reader, actor audit.Actor, received int64) (*tally, error) {
	if a.surelyRoom(actor, received) {
		return nil, nil
	}
	counts, err := r.CountSubmitters(ctx, a.name)
	if err != nil {
		return nil, err
	}
	pending, own := 0, 0
	network := audit.Network(actor.Address)
	for submitter, n := range counts {
		pending += n
		if address, found := strings.CutPrefix(submitter, string(audit.Anonymous)+" "); found && audit.Network(address) == network {
			own += n
		}
	}
	if pending >= a.row.MaxPending {
		return nil, fmt.Errorf("%w: %d", ErrTooManyPending, pending)
	}
	if bounded(actor) && own >= a.share() {
		return nil, fmt.Errorf("%w: %d of address %s", ErrTooManyPending, own, pki.EscapeText(actor.Address))
	}
	return &tally{int64(pending), received}, nil
}

// surelyRoom reports whether there is room without counting.
func (a *Authority) surelyRoom(actor audit.Actor, received int64) bool {
	least := a.row.MaxPending
	if bounded(actor) {
		least = min(least, a.share())
	}
	return a.room.most(received) < int64(least)
}

// bounded reports whether there is a bound to how many requests of an actor wait.
func bounded(actor audit.Actor) bool { return actor.Kind == audit.Anonymous && actor.Address != "" }

// Foresee says what becomes of a request that was submitted, as far as that follows from the store, before
// anything has been computed with its key, unless that is cheap and there looks to be room: done is set if it was received before, and an error refuses it. What
// it lets pass goes on to Submit, which looks at all of this again.
func (a *Authority) Foresee(ctx context.Context, actor audit.Actor, o pki.Outline, profileName string) (done *Submission, err error) {
	defer func() {
		if err != nil {
			a.observe(audit.Submit, &err)
		}
	}()
	if err := a.issuesLeaves(); err != nil {
		return nil, err
	}
	now := a.clock.Now()
	if a.retired(now) {
		return nil, ErrRetired
	}
	asked, err := a.profileNamed(profileName)
	if err != nil {
		return nil, err
	}
	if o.Cheap() && a.looksOpen(actor, asked) {
		return nil, nil
	}
	var on store.Submittable
	err = store.Glance(ctx, a.store, func(r store.Reader) (err error) {
		on, err = r.Submittable(ctx, a.name, o.Digest(), o.KeyID())
		return err
	})
	if err != nil || a.foreseen(actor, on) {
		return nil, err
	}
	var waiting *tally
	err = a.store.View(ctx, func(r store.Reader) error {
		at, err := a.position(ctx, r, now, o.Digest(), o.KeyID(), asked)
		if err != nil || at.known != nil {
			done = at.known
			return err
		}
		if a.ruled() {
			return nil // whether it has to wait is not known yet
		}
		waiting, err = a.roomToWait(ctx, r, actor, at.received)
		return err
	})
	a.room.note(waiting)
	return done, err
}

// looksOpen reports whether requests wait for a user as a rule, and there is room for many more by what was last seen. To ask the
// store takes as long as to compute with a cheap key: then the transaction that records the request is the first to ask.
func (a *Authority) looksOpen(actor audit.Actor, asked *profile.Profile) bool {
	waits := a.attended.Load() || !asked.Unattended()
	return waits && a.row.Role != store.RoleUsers && a.surelyRoom(actor, a.room.received.Load())
}

// foreseen reports whether nothing stands in the way of a request of which on is on record, and nothing more has to be asked.
func (a *Authority) foreseen(actor audit.Actor, on store.Submittable) bool {
	return on.Pending == 0 && !on.Certified && !on.OfCA && !on.Compromised && a.row.Role != store.RoleUsers && a.surelyRoom(actor, on.Received)
}

// expiryBatch bounds how many requests one transaction removes.
const expiryBatch = 100

// expirePending removes requests that nobody has decided about in time.
func (a *Authority) expirePending(ctx context.Context, now time.Time) error {
	if a.cfg.PendingTTL <= 0 {
		return nil
	}
	for {
		removed := 0
		var oldest []store.Request
		err := a.store.View(ctx, func(r store.Reader) (err error) {
			oldest, err = r.Requests(ctx, a.name, expiryBatch)
			return err
		})
		if err != nil || len(oldest) == 0 || oldest[0].ReceivedAt.After(now.Add(-a.cfg.PendingTTL)) {
			return err
		}
		err = a.store.Update(ctx, func(tx store.Tx) error {
			removed = 0
			for _, req := range oldest {
				if req.ReceivedAt.After(now.Add(-a.cfg.PendingTTL)) {
					return nil
				}
				switch err := tx.DeleteRequest(ctx, a.name, req.ID); {
				case errors.Is(err, store.ErrNotFound):
					continue // somebody has decided
				case err != nil:
					return err
				}
				e := a.detailed(a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.Expire, audit.RequestObject(req.ID)), req.Subject, req.SANs)
				if err := tx.AppendAudit(ctx, e); err != nil {
					return err
				}
				removed++
			}
			return nil
		})
		if err != nil || removed == 0 {
			return err
		}
	}
}
