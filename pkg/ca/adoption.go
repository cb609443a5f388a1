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

// An Adoption is how far the newest CA certificate has got.
type Adoption struct {
	KeyID   []byte
	Begin   store.Activation
	Latest  time.Time // when it becomes active at the latest; zero: it is
	Holders store.Holders
}

// Adoption counts who has the newest CA certificate; nil where nobody confirms anything.
func (a *Authority) Adoption(ctx context.Context) (*Adoption, error) {
	if a.external() || a.row.Role == store.RoleRoot || a.row.Role == store.RoleDaemon {
		return nil, nil
	}
	now, g := a.clock.Now(), a.cas.Load()
	newest := rollover.Newest(now, g.times())
	if newest == rollover.None {
		return nil, nil
	}
	one := g.list[newest]
	found := &Adoption{KeyID: one.crt.SubjectKeyId, Begin: one.begin}
	if at := rollover.ActiveAt(a.spans, one.times); now.Before(at) {
		found.Latest = at
	}
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		found.Holders, err = r.CountHolders(ctx, a.name, now, g.soughtFrom(newest))
		return err
	})
	return found, err
}

// A recentAdoption is an Adoption that may be told again: whoever asks for the timeline, which is anybody, shall not have
// all lineages counted.
type recentAdoption struct {
	making  lock
	at      time.Time
	version int64
	found   *Adoption
}

// RecentAdoption is Adoption as it was a moment ago; nil also where nobody needs to know: of the only generation, and of one that has
// existed for a span, and was met by whoever has renewed since.
func (a *Authority) RecentAdoption(ctx context.Context) (*Adoption, error) {
	now, g := a.clock.Now(), a.cas.Load()
	newest := rollover.Newest(now, g.times())
	if newest < 1 || now.Sub(g.list[newest].times.CreatedAt) > a.spans.Leaf {
		return nil, nil
	}
	r := &a.adopted
	if err := r.making.lock(ctx); err != nil {
		return nil, err
	}
	defer r.making.unlock()
	keep := min(max(a.spans.Leaf/1000, time.Second), time.Minute)
	if ago := now.Sub(r.at); r.version == g.version && ago >= 0 && ago < keep {
		return r.found, nil
	}
	found, err := a.Adoption(ctx)
	if err == nil {
		r.at, r.version, r.found = now, g.version, found
	}
	return found, err
}

// A sought is how far it was looked who has a generation: those with a smaller id had it.
type sought struct {
	generation int64
	after      int64
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
		holders, err := a.countHolders(ctx, now, of)
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
		holders, err := a.countHolders(ctx, now, of)
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

func (a *Authority) countHolders(ctx context.Context, now time.Time, of store.Sought) (h store.Holders, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		h, err = r.CountHolders(ctx, a.name, now, of)
		return err
	})
	return h, err
}

// someMissing reports whether somebody does not have what is sought. It goes on where it has found somebody the last time: to look through
// millions of lineages again and again would be work for nothing.
func (a *Authority) someMissing(ctx context.Context, now time.Time, generation int64, of store.Sought) (bool, error) {
	at := a.sought.Load()
	if at == nil || at.generation != generation {
		at = &sought{generation: generation}
	}
	var found []store.Straggler
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		found, err = r.Stragglers(ctx, a.name, now, of, at.after, 1)
		return err
	})
	if err != nil {
		return false, err
	}
	next := &sought{generation: generation}
	if len(found) > 0 {
		next.after = found[0].Lineage - 1
	}
	a.sought.Store(next)
	return len(found) > 0, nil
}

// Stragglers returns at most limit lineages whose holders are not known to have the newest CA certificate, with an id larger than after, by id.
func (a *Authority) Stragglers(ctx context.Context, after int64, limit int) (found []store.Straggler, err error) {
	now, g := a.clock.Now(), a.cas.Load()
	newest := rollover.Newest(now, g.times())
	if newest == rollover.None {
		return nil, nil
	}
	err = a.store.View(ctx, func(r store.Reader) error {
		found, err = r.Stragglers(ctx, a.name, now, g.soughtFrom(newest), after, limit)
		return err
	})
	return found, err
}
