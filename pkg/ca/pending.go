package ca

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
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

// roomToWait refuses a request for which there would be no room to wait for a user: at all, or for that many of
// whoever has sent it.
func (a *Authority) roomToWait(ctx context.Context, r store.Reader, actor audit.Actor) error {
	counts, err := r.CountSubmitters(ctx, a.name)
	if err != nil {
		return err
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
		return fmt.Errorf("%w: %d", ErrTooManyPending, pending)
	}
	if actor.Kind == audit.Anonymous && actor.Address != "" && own >= a.share() {
		return fmt.Errorf("%w: %d of address %s", ErrTooManyPending, own, pki.EscapeText(actor.Address))
	}
	return nil
}

// Foresee says what becomes of a request that was submitted, as far as that follows from the store, before
// anything has been computed with its key: done is set if it was received before, and an error refuses it. What
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
	err = a.store.View(ctx, func(r store.Reader) error {
		at, err := a.position(ctx, r, now, o.Digest(), o.KeyID(), asked)
		if err != nil || at.known != nil {
			done = at.known
			return err
		}
		return a.roomToWait(ctx, r, actor)
	})
	return done, err
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
