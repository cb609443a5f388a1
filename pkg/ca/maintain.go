package ca

import (
	"context"
	"errors"
	"math/big"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// crlAhead is how early, as a part of a list's life, the loop makes the next one: early enough
// that nobody who asks has to wait for it.
const crlAhead = 20

// pruneAfter is how old, as a part of their life, the lists being served must be before anything
// is forgotten for good. A clock that jumps ahead makes new lists at once; until it is set back
// again, hopefully sooner than that, nothing that it takes for long expired is lost.
const pruneAfter = 4

// pruneBatch bounds how much one transaction deletes, and so how long others wait for it.
const pruneBatch = 500

// Maintain does what time alone makes due: it rolls over, erases the keys of expired CAs,
// renews revocation lists before anybody waits for them, and forgets what need not be
// remembered. It is called from a loop; operations that need a rollover do not wait for it.
func (a *Authority) Maintain(ctx context.Context) error {
	if err := a.cfg.Ready(); err != nil {
		return err
	}
	now := a.clock.Now()
	if a.external() {
		return a.reload(ctx)
	}
	var errs []error
	// Another daemon on the same store may have rolled over.
	if err := a.reload(ctx); errors.Is(err, store.ErrUnavailable) {
		return err // each of what follows would wait for it, too
	} else if err != nil {
		errs = append(errs, err)
	}
	if a.locked() != nil {
		// Nothing else can be done. What is pruned, say, would have to be followed by new lists.
		return errors.Join(append(errs, a.recordRefusals(ctx, now, false))...)
	}
	errs = append(errs, a.endLineages(ctx, now), a.recordRefusals(ctx, now, false), a.recordFollower(ctx))
	errs = append(errs, a.prepareSignoff(ctx, now))
	errs = append(errs, a.activateWaiting(ctx, now))
	if err := a.rollOver(ctx, now, false); !errors.Is(err, ErrSignoff) {
		errs = append(errs, err)
	}
	errs = append(errs, a.eraseExpiredKeys(ctx, now), a.expirePending(ctx, now))
	lists, err := a.listsAhead(ctx, a.CRLLife()/crlAhead)
	if !errors.Is(err, ErrSignoff) {
		errs = append(errs, err)
	}
	if err == nil && now.Sub(lists.from) >= a.CRLLife()/pruneAfter {
		errs = append(errs, a.pruneCertificates(ctx, now), a.pruneRevocations(ctx, now, lists), a.pruneInvitations(ctx, now), a.pruneRejections(ctx, now))
	}
	return errors.Join(errs...)
}

// eraseExpiredKeys forgets the keys of CAs that have expired, once their successor exists, is
// vouched for and has lived for a span: should the clock merely have jumped, it is noticed and set
// back by then, and they are needed again.
func (a *Authority) eraseExpiredKeys(ctx context.Context, now time.Time) error {
	g := a.cas.Load()
	if n := len(g.list); n == 0 || now.Before(rollover.ActiveAt(a.spans, g.list[n-1].times)) {
		return nil
	}
	phases := a.cfg.Decide(now, a.spans, g.times()).Phases
	erased := false
	for i, c := range g.list {
		if phases[i] != rollover.Expired || c.key == nil || i == len(g.list)-1 {
			continue
		}
		err := a.store.Update(ctx, func(tx store.Tx) error { return a.forgetKey(ctx, tx, now, c, store.CAErased, "expired") })
		if err != nil {
			return err
		}
		a.erase(ctx, c.ref)
		erased = true
	}
	if !erased {
		return nil
	}
	return a.reload(ctx)
}

func (a *Authority) pruneCertificates(ctx context.Context, now time.Time) error {
	return a.prune(ctx, func(tx store.Tx) (int, error) {
		return tx.PruneCertificates(ctx, a.name, now.Add(-a.cfg.Retention), pruneBatch)
	})
}

// pruneRevocations drops revocations of certificates that have expired so long ago that a
// list made after their expiry has shown them (RFC 5280 3.3). KeepUntil lies one list's life, as it was
// when they were revoked, after the expiry: lists made since then, those being served, have done so,
// also when the daemon was off meanwhile, or when spans have changed.
func (a *Authority) pruneRevocations(ctx context.Context, now time.Time, lists *crlSet) error {
	cutoff := earlier(now, lists.from)
	var gone pruning
	var batch []*big.Int
	var counter int64
	for {
		err := a.store.Update(ctx, func(tx store.Tx) (err error) {
			if batch, err = tx.PruneRevocations(ctx, a.name, cutoff, pruneBatch); err != nil || len(batch) == 0 {
				return err
			}
			counter, err = tx.AddCounter(ctx, a.name, store.CounterPruned, int64(len(batch)))
			return err
		})
		if err == nil && len(batch) > 0 {
			gone.add(batch, counter)
		}
		if err != nil || len(batch) < pruneBatch {
			return errors.Join(err, a.dropEntries(ctx, gone))
		}
	}
}

// prune repeats one batch until nothing is left to do.
func (a *Authority) prune(ctx context.Context, batch func(store.Tx) (int, error)) error {
	for {
		var n int
		err := a.store.Update(ctx, func(tx store.Tx) (err error) {
			n, err = batch(tx)
			return err
		})
		if err != nil || n < pruneBatch {
			return err
		}
	}
}
