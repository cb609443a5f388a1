package ca

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// Refusals are for people to look into, and anybody can provoke them: the first of each action of a lineage is recorded
// at once, the number of those that follow once an hour.
const (
	refusalPeriod = time.Hour
	maxRefusals   = 4096 // lineages and actions of which there are refusals at a time; what is beyond that is counted together
)

// A refusalKey is what refusals are counted by.
type refusalKey struct {
	who    string
	action audit.Action
}

// refusals counts what is not recorded one by one. Its zero value is ready.
type refusals struct {
	mu    sync.Mutex
	since map[refusalKey]*refusalCount
}

type refusalCount struct {
	at    time.Time // when the first was recorded
	count int       // of those since
	last  audit.Entry
}

// first reports whether a refusal is to be recorded itself, and counts it otherwise.
func (r *refusals) first(now time.Time, who string, e audit.Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since = make(map[refusalKey]*refusalCount)
	}
	key := refusalKey{who, e.Action}
	if c := r.since[key]; c == nil && len(r.since) >= maxRefusals {
		key.who = ""
	}
	if c := r.since[key]; c != nil {
		c.count++
		c.last = e
		return false
	}
	r.since[key] = &refusalCount{at: now}
	return true
}

// due takes out what was counted for an hour, all of it if all is true, and returns entries that say so.
func (r *refusals) due(now time.Time, all bool) (entries []audit.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.since {
		if ago := now.Sub(c.at); !all && ago >= 0 && ago < refusalPeriod {
			continue
		}
		delete(r.since, key)
		if c.count == 0 {
			continue
		}
		e := c.last
		e.Time = now
		e.Detail = fmt.Sprintf("%d more since %s, the last: %s", c.count, c.at.UTC().Format(time.RFC3339), e.Detail)
		if key.who == "" {
			e.Actor, e.Object = audit.Actor{Kind: e.Actor.Kind}, audit.Object{Kind: e.Object.Kind}
		}
		entries = append(entries, e)
	}
	return entries
}

// refused records that an operation was refused to someone who has shown who they are, and
// returns why. What strangers try is in the access log: here they could fill the disk.
func (a *Authority) refused(ctx context.Context, now time.Time, actor audit.Actor, action audit.Action, object audit.Object, why error) error {
	if actor.Serial == nil || notRefused(why) {
		return why
	}
	if actor.Kind == audit.Holder {
		var gone bool
		if actor, gone = a.holderNow(ctx, actor); gone {
			return why
		}
	}
	e := a.entry(now, actor, action, object)
	e.Result, e.Detail = audit.Refused, pki.EscapeText(why.Error())
	who := string(actor.Kind) + " " + actor.Lineage
	if actor.Lineage == "" {
		who += actor.Serial.String()
	}
	if !a.refusals.first(now, who, e) {
		return why
	}
	err := a.store.Update(ctx, func(tx store.Tx) error { return tx.AppendAudit(ctx, e) })
	if err != nil {
		a.log.ErrorContext(ctx, "refusal not recorded", "actor", e.Actor.String(), "action", string(action), "object", object.String(), "error", err)
	}
	return why
}

// holderNow returns an actor with the lineage, and whether they are no holder any more: what a message says that was
// sent while they were is of no interest. If that cannot be found out they are.
func (a *Authority) holderNow(ctx context.Context, actor audit.Actor) (_ audit.Actor, gone bool) {
	err := a.store.View(ctx, func(r store.Reader) error {
		found, l, err := a.known(ctx, r, actor)
		if err != nil {
			return err
		}
		actor, gone = found, l.State != store.LineageActive
		switch _, err := r.Revocation(ctx, a.name, actor.Serial); {
		case err == nil:
			gone = true
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return nil
	})
	return actor, gone && err == nil
}

// notRefused tells whether an operation failed for reasons that are not its own, or for one that is known.
func notRefused(why error) bool {
	for _, kind := range []error{store.ErrUnavailable, store.ErrUncertain, ErrNoSigner, ErrSignoff, context.Canceled, context.DeadlineExceeded,
		errReplayed, errEnded, errRevoked} {
		if errors.Is(why, kind) {
			return true
		}
	}
	return false
}

// recordRefusals records how many refusals there were that were only counted; all of them before the end.
func (a *Authority) recordRefusals(ctx context.Context, now time.Time, all bool) error {
	entries := a.refusals.due(now, all)
	if len(entries) == 0 {
		return nil
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		for _, e := range entries {
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// Finish records what was only counted, before the daemon ends.
func (a *Authority) Finish(ctx context.Context) {
	if err := a.recordRefusals(ctx, a.clock.Now(), true); err != nil {
		a.log.ErrorContext(ctx, "refusals not recorded", "error", err)
	}
}
