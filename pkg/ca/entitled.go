package ca

import (
	"context"
	"errors"
	"fmt"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// updateFor is Update for what actor has asked for. Users were authenticated a while ago: signing takes its time, and so
// does waiting for others who change something. Whoever was revoked meanwhile changes nothing any more, so that of a revocation and
// what the revoked do at the same moment, whatever comes later in the record did not happen.
func (a *Authority) updateFor(ctx context.Context, actor audit.Actor, fn func(store.Tx) error) error {
	return a.store.Update(ctx, func(tx store.Tx) error {
		if err := stillEntitled(ctx, tx, actor); err != nil {
			return err
		}
		return fn(tx)
	})
}

// stillEntitled refuses a user whose certificate has been revoked since they were authenticated. The end of a lineage revokes
// all of its certificates. Holders are looked at by what they ask for, as it is about their certificate.
func stillEntitled(ctx context.Context, r store.Reader, actor audit.Actor) error {
	if actor.Authority == "" {
		return nil
	}
	switch _, err := r.Revocation(ctx, store.AuthorityName(actor.Authority), actor.Serial); {
	case err == nil:
		return notEntitled(actor)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

// notEntitled is why a user whose certificate was revoked changes nothing.
func notEntitled(actor audit.Actor) error {
	return fmt.Errorf("%w: certificate %#x is %w", ErrUnauthorized, actor.Serial, errRevoked)
}
