package ca

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// errForeign is why a foreign request is not signed as it is.
var errForeign = errors.New("it is of a form of which only the key can be certified: it is signed with a template, which says for whom, as cauase sign FILE does")

// submitForeign records a request of which only the key can be certified, see [pki.ParseForeign], for a user, who is going to
// say for whom. It is never signed unattended, and not for what is in it: what is decided about, by rules and profiles, is the template,
// once there is one.
func (a *Authority) submitForeign(ctx context.Context, now time.Time, actor audit.Actor, req *incoming) (done Submission, err error) {
	if actor.Kind != audit.User {
		return Submission{}, fmt.Errorf("%w: only users may submit it: %w", ErrInvalid, errForeign)
	}
	if a.retired(now) {
		return Submission{}, ErrRetired
	}
	var waiting *tally
	err = a.retryStale(ctx, func() error {
		id, err := newID()
		if err != nil {
			return err
		}
		return a.updateFor(ctx, actor, func(tx store.Tx) error {
			done, waiting = Submission{ID: id}, nil
			at, err := a.position(ctx, tx, now, req.Digest[:], req.KeyID, req.asked)
			if err != nil {
				return err
			}
			if at.known != nil {
				done = *at.known
				return nil
			}
			if waiting, err = a.roomToWait(ctx, tx, actor, at.received); err != nil {
				return err
			}
			if err := tx.AppendAudit(ctx, a.submitted(now, actor, id, req)); err != nil {
				return err
			}
			return tx.AddReceived(ctx, a.pendingRow(now, actor, id, req))
		})
	})
	if err != nil {
		return Submission{}, err
	}
	a.room.note(waiting)
	return done, nil
}
