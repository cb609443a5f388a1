package ca

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// RevokeCA revokes a CA certificate that the parent of this authority has issued, on behalf of an
// operator. This authority signs nothing with it any more, and its key is erased; what it has signed verifies
// no longer, wherever revocation of CAs is looked at. A new CA certificate is made at once, unless another one is there.
//
// Where the parent's key is elsewhere, the revocation has to be made there, and its list be imported here: only
// the latter part is done.
func (a *Authority) RevokeCA(ctx context.Context, actor audit.Actor, keyID []byte, reason int) (err error) {
	defer a.observe(audit.RevokeCA, &err)
	parent, err := a.parent()
	if err != nil {
		return err
	}
	if parent == nil {
		return fmt.Errorf("%w: authority %s signs its own CA certificates: no list could say that one of them is revoked; set up another authority in its place", ErrInvalid, a.name)
	}
	now := a.clock.Now()
	var revoked generation
	err = a.retryStale(ctx, func() error {
		loaded := a.cas.Load()
		found := false
		for _, g := range loaded.list {
			if bytes.Equal(g.crt.SubjectKeyId, keyID) {
				revoked, found = g, true
			}
		}
		if !found {
			return fmt.Errorf("%w: authority %s has no CA certificate with key identifier %s", ErrNotFound, a.name, hex.EncodeToString(keyID))
		}
		if selfSigned(revoked.crt) {
			return fmt.Errorf("%w: this CA certificate is self-signed: no list could say that it is revoked", ErrInvalid)
		}
		return parent.revoked(a.store.Update(ctx, func(tx store.Tx) error {
			return a.revokeCA(ctx, tx, now, actor, parent, loaded.version, revoked, reason)
		}))
	})
	if err != nil {
		return err
	}
	a.erase(ctx, revoked.ref)
	a.log.WarnContext(ctx, "CA certificate revoked", "key_id", hex.EncodeToString(keyID), "reason", reason)
	if err := a.reload(ctx); err != nil {
		return err
	}
	// It may be the one that signed. What stands in the way of another is to be seen in readiness.
	if _, err := a.current(ctx, now); err != nil {
		a.log.ErrorContext(ctx, "no CA certificate is left", "error", err)
	}
	return nil
}

func (a *Authority) revokeCA(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, parent *Authority, version int64, g generation, reason int) error {
	if err := a.unchanged(ctx, tx, version); err != nil {
		return err
	}
	if err := a.listAtParent(ctx, tx, now, actor, parent, g, reason); err != nil {
		return err
	}
	if err := tx.EraseCAKey(ctx, a.name, g.id, store.CARevoked); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCA, 1); err != nil {
		return err
	}
	e := a.entry(now, actor, audit.RevokeCA, audit.CAObject(g.crt.SubjectKeyId))
	e.Detail = fmt.Sprintf("reason=%d", reason)
	return tx.AppendAudit(ctx, e)
}

// listAtParent has the parent list a CA certificate that it has signed as revoked, unless its key is elsewhere.
func (a *Authority) listAtParent(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, parent *Authority, g generation, reason int) error {
	if parent.external() {
		return nil
	}
	l, err := parent.lineageOf(ctx, tx, g.crt.SerialNumber)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	err = parent.addRevocation(ctx, tx, now, actor, g.crt.Subject.String(), store.Revocation{
		Authority: parent.name,
		Serial:    g.crt.SerialNumber,
		KeyID:     g.crt.SubjectKeyId,
		RevokedAt: now.Add(-parent.crlBackdate()),
		KeepUntil: parent.keepUntil(g.crt.NotAfter),
		Reason:    reason,
	}, l.ID)
	if errors.Is(err, ErrConflict) {
		return nil // the parent may have revoked it before, by itself
	}
	return err
}

// issuesLeaves refuses operations on leaf certificates to authorities that have none.
func (a *Authority) issuesLeaves() error {
	if a.row.Role == store.RoleRoot {
		return fmt.Errorf("%w: authority %s signs CA certificates of other authorities only", ErrInvalid, a.name)
	}
	return nil
}
