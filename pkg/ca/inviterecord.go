package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// Invite makes an invitation on behalf of an operator. sign is given the key of the CA that signs now, and
// returns the invitation that it has signed. Also, when set, is done in the transaction that records it.
func (a *Authority) Invite(ctx context.Context, actor audit.Actor, sign func(crypto.Signer) (Invitation, error), also func(context.Context, store.Tx) error) (_ Invitation, err error) {
	defer a.observe(audit.MakeInvitation, &err)
	if err := a.issuesLeaves(); err != nil {
		return Invitation{}, err
	}
	now := a.clock.Now()
	if a.retired(now) {
		return Invitation{}, ErrRetired
	}
	st, err := a.current(ctx, now)
	if err != nil {
		return Invitation{}, err
	}
	inv, err := sign(st.signer.key)
	if err != nil {
		return Invitation{}, err
	}
	if _, err := a.invitedProfile(inv, ""); err != nil {
		return Invitation{}, err
	}
	if err := inv.check(now, time.Time{}); err != nil {
		return Invitation{}, err
	}
	return inv, a.store.Update(ctx, func(tx store.Tx) error {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		if err := a.roomForInvitation(ctx, tx, ErrConflict); err != nil {
			return err
		}
		if err := tx.PutInvitation(ctx, inv.row(store.Invitation{}, actor)); err != nil {
			return err
		}
		e := a.entry(now, actor, audit.MakeInvitation, audit.InvitationObject(inv.ID))
		e.Detail = describe("", inv.Names) + fmt.Sprintf(" uses=%d until=%s", inv.Uses, stamp(inv.Until))
		if inv.Profile != "" {
			e.Detail += " profile=" + inv.Profile
		}
		return tx.AppendAudit(ctx, e)
	})
}

// InvitationsSince returns the time of which older invitations of operators do not count, as the database was restored; the
// zero time: it was not.
func (a *Authority) InvitationsSince(ctx context.Context) (since time.Time, err error) {
	now := a.clock.Now()
	err = a.store.View(ctx, func(r store.Reader) error {
		since, err = a.invitationsSince(ctx, r)
		return err
	})
	return operatorsSince(now, since), err
}

// operatorsSince is since which invitations of operators count. If a clock was ahead when the database was restored, that
// is no reason to let nobody in until then: those are on record here, and a restore withdraws what is.
func operatorsSince(now, since time.Time) time.Time {
	if since.After(now.Add(invitationSkew)) {
		return time.Time{}
	}
	return since
}

// Invitations returns what is on record of invitations that have not ended, in the order of their ends.
func (a *Authority) Invitations(ctx context.Context) (list []store.Invitation, err error) {
	now := a.clock.Now()
	err = a.store.View(ctx, func(r store.Reader) error {
		list, err = r.Invitations(ctx, a.name, 0)
		return err
	})
	for len(list) > 0 && !now.Before(list[0].Until) {
		list = list[1:]
	}
	return list, err
}

// Void withdraws the invitation with an id, whether it was ever presented or not. That it was withdrawn already is
// fine.
func (a *Authority) Void(ctx context.Context, actor audit.Actor, id string) (err error) {
	defer a.observe(audit.VoidInvitation, &err)
	now := a.clock.Now()
	object := audit.InvitationObject(id)
	err = a.updateFor(ctx, actor, func(tx store.Tx) error {
		row, err := tx.Invitation(ctx, a.name, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			if err := a.roomForInvitation(ctx, tx, ErrConflict); err != nil {
				return err
			}
			// Whatever it says, and if it was made this moment by a clock that is ahead.
			row = store.Invitation{Authority: a.name, ID: id, Until: store.Latest(now.Add(MaxInvitation + invitationSkew))}
		case err != nil:
			return err
		case !row.VoidedAt.IsZero():
			return nil
		}
		row.VoidedAt = now
		if err := tx.PutInvitation(ctx, row); err != nil {
			return err
		}
		e := a.entry(now, actor, audit.VoidInvitation, object)
		if row.Uses > 0 {
			e.Detail = describe("", row.Names) + fmt.Sprintf(" used %d of %d", row.Used, row.Uses)
		}
		return tx.AppendAudit(ctx, e)
	})
	if err != nil {
		return a.refused(ctx, now, actor, audit.VoidInvitation, object, err)
	}
	return nil
}

// roomForInvitation refuses to keep more than can be.
func (a *Authority) roomForInvitation(ctx context.Context, r store.Reader, kind error) error {
	n, err := r.CountInvitations(ctx, a.name)
	if err == nil && n >= maxInvitations {
		err = fmt.Errorf("%w: %d invitations are on record, and no more are possible before some of them end", kind, n)
	}
	return err
}

func (a *Authority) pruneInvitations(ctx context.Context, now time.Time) error {
	return a.prune(ctx, func(tx store.Tx) (int, error) {
		return tx.PruneInvitations(ctx, a.name, now.Add(-invitationSkew), pruneBatch)
	})
}

// RefusedInvitation records that a front-end could not read what somebody has presented as an invitation, and returns
// why.
func (a *Authority) RefusedInvitation(ctx context.Context, actor audit.Actor, why error) (err error) {
	defer a.observe(audit.UseInvitation, &err)
	return a.refusedInvitation(ctx, a.clock.Now(), actor, inviter{}, Invitation{}, why)
}

// refusedInvitation records that somebody was refused who has presented an invitation, and returns why. Those of an
// invitation that counts are counted by it: it is known whose it is, and worth knowing. Others, which strangers can
// make up, are counted together.
func (a *Authority) refusedInvitation(ctx context.Context, now time.Time, actor audit.Actor, by inviter, inv Invitation, why error) error {
	r := refusal{entry: a.entry(now, actor, audit.UseInvitation, audit.InvitationObject(inv.ID)), atOnce: invitationsAtOnce}
	r.entry.Detail = why.Error()
	if by.verified && by.ended == nil && inv.check(now, time.Time{}) == nil {
		r.who = "invitation " + inv.ID
		r.entry.Detail += ", signed by " + by.actor.String()
		r.invitation = inv.row(store.Invitation{}, by.actor)
	}
	a.recordRefusal(ctx, now, r)
	return why
}

// refuseInvitation counts refusals in what is remembered of an invitation.
func (a *Authority) refuseInvitation(ctx context.Context, tx store.Tx, inv store.Invitation, count int) error {
	row, err := tx.Invitation(ctx, a.name, inv.ID)
	if errors.Is(err, store.ErrNotFound) {
		err = a.roomForInvitation(ctx, tx, ErrUninvited)
		if errors.Is(err, ErrUninvited) || err == nil && inv.Uses == 0 {
			return nil // the audit log has it
		}
	}
	if err != nil {
		return err
	}
	if inv.Uses > 0 {
		inv.Used, inv.Refused, inv.VoidedAt = row.Used, row.Refused, row.VoidedAt
		row = inv
	}
	row.Refused += count
	return tx.PutInvitation(ctx, row)
}
