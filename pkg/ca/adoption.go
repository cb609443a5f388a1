package ca

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Hosts confirm which CA certificates they have. An authority counts those that were seen in the last span: lineages that
// go on, and have a certificate that is valid, which was issued or renewed within a span.

// Confirm records that the holder has the CA certificate with this key identifier on disk. Only what is newer than what
// was confirmed before is recorded, so that a message that is repeated changes nothing.
func (a *Authority) Confirm(ctx context.Context, h Holder, keyID []byte) (err error) {
	defer a.observe(audit.HoldCA, &err)
	if h.authority != a {
		return errNoHolder
	}
	now := a.clock.Now()
	if err := a.confirm(ctx, now, h, keyID); err != nil {
		return a.refused(ctx, now, h.actor, audit.HoldCA, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return nil
}

func (a *Authority) confirm(ctx context.Context, now time.Time, h Holder, keyID []byte) error {
	order := a.cas.Load().indexOf(keyID)
	if order < 0 {
		// Another daemon may have made it a moment ago.
		if err := a.reload(ctx); err != nil {
			return err
		}
		if order = a.cas.Load().indexOf(keyID); order < 0 {
			return fmt.Errorf("%w: no CA certificate of %s that is trusted has the key identifier %s", ErrInvalid, a.name, hex.EncodeToString(keyID))
		}
	}
	if h.on == nil {
		return fmt.Errorf("%w: certificate %#x is not on record, and its lineage not known; it is once it is renewed", ErrInvalid, h.crt.SerialNumber)
	}
	known := func(r store.Reader) (bool, error) {
		held, err := r.Adoption(ctx, a.name, h.on.Lineage.ID)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return err == nil && a.cas.Load().indexOf(held.CAKeyID) >= order, err
	}
	again := false
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		again, err = known(r)
		return err
	})
	if err != nil || again {
		return err
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		if again, err := known(tx); err != nil || again {
			return err
		}
		c, err := a.continuing(ctx, tx, h.crt, nil)
		if err != nil {
			return err // it was revoked, or its lineage has ended
		}
		return tx.PutAdoption(ctx, store.Adoption{Authority: a.name, Lineage: c.Lineage.ID, CAKeyID: keyID, HeldAt: now, Address: h.actor.Address})
	})
}

// indexOf returns which generation has this key identifier, -1 if none has: the larger, the newer.
func (g *generations) indexOf(keyID []byte) int {
	return slices.IndexFunc(g.list, func(c generation) bool { return string(c.crt.SubjectKeyId) == string(keyID) })
}

// soughtFrom is what holders are to have who have the generation with this index, or one after it.
func (g *generations) soughtFrom(i int) store.Sought {
	s := store.Sought{Since: g.list[i].times.CreatedAt}
	for _, c := range g.list[i:] {
		s.KeyIDs = append(s.KeyIDs, c.crt.SubjectKeyId)
	}
	return s
}

// A sought is how far it was looked who has a generation: those before had it.
type sought struct {
	generation int64
	after      store.LineagePage
}

// activateWaiting has a generation that waits for hosts to have it be active once all of them do, or at its time. Of several daemons
// the first one that looks does.
func (a *Authority) activateWaiting(ctx context.Context, now time.Time) error {
	g := a.cas.Load()
	which := a.waiting(now, g)
	if which == rollover.None {
		return nil
	}
	newest, of := g.list[which], g.soughtFrom(which)
	why, since := "", now
	if at := rollover.ActiveAt(a.spans, newest.times); !now.Before(at) {
		holders, err := store.CountAllHolders(ctx, store.Views(ctx, a.store), a.name, now, of)
		if err != nil {
			return err
		}
		since = at
		why = fmt.Sprintf("it was time: %d of %d hosts are not known to have it", holders.Missing(), holders.Seen)
	} else {
		missing, err := a.someMissing(ctx, now, newest.id, of)
		if err != nil || missing {
			return err
		}
		holders, err := store.CountAllHolders(ctx, store.Views(ctx, a.store), a.name, now, of)
		if err != nil || holders.Missing() > 0 {
			return err
		}
		why = fmt.Sprintf("all %d hosts have it", holders.Seen)
	}
	err := a.activate(ctx, now, audit.Actor{Kind: audit.Daemon}, g, which, since, why, newest.begin == store.WhenAdoptedWithdraw)
	if errors.Is(err, errStale) {
		return a.reload(ctx) // another daemon was faster
	}
	return err
}

// someMissing reports whether somebody does not have what is sought. It goes on where it has found somebody the last time: to look through
// millions of lineages again and again would be work for nothing.
func (a *Authority) someMissing(ctx context.Context, now time.Time, generation int64, of store.Sought) (bool, error) {
	at := a.sought.Load()
	if at == nil || at.generation != generation {
		at = &sought{generation: generation}
	}
	found, err := store.FindStragglers(ctx, store.Views(ctx, a.store), a.name, now, of, at.after, 1)
	if err != nil {
		return false, err
	}
	next := &sought{generation: generation}
	if len(found) > 0 {
		next.after = found[0].Page()
		next.after.ID-- // it is looked at again
	}
	a.sought.Store(next)
	return len(found) > 0, nil
}
