package ca

import (
	"context"
	"fmt"
	"math/big"

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

// stillEntitled refuses a user whose certificate has been revoked, or its CA withdrawn, since they were authenticated. The end of a lineage
// revokes all of its certificates. Holders are looked at by what they ask for, as it is about their certificate.
func stillEntitled(ctx context.Context, r store.Reader, actor audit.Actor) error {
	if actor.Authority == "" {
		return nil
	}
	s, err := r.Standing(ctx, store.AuthorityName(actor.Authority), actor.Serial, actor.Issuer)
	if err == nil && !s.Good() {
		err = notEntitled(actor, s)
	}
	return err
}

// notEntitled is why a user changes nothing whose certificate stands like this.
func notEntitled(actor audit.Actor, s store.Standing) error {
	return fmt.Errorf("%w: %w", ErrUnauthorized, against(actor.Serial, s))
}

// against says what is said against the certificate with a serial number, of which something is.
func against(serial *big.Int, s store.Standing) error {
	if s.Revoked {
		return fmt.Errorf("certificate %#x is %w", serial, errRevoked)
	}
	return fmt.Errorf("certificate %#x is of a CA that does not count any more, as it was withdrawn, revoked or set aside", serial)
}
