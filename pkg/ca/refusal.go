package ca

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// Refusals are for people to look into, and anybody can provoke them: the first of each action of a lineage are
// recorded at once, the number of those that follow once an hour.
const (
	refusalPeriod = time.Hour
	maxRefusals   = 4096 // lineages, invitations and actions of which there are refusals at a time; what is beyond that is counted together
	maxDetail     = 1024 // bytes that are recorded of why

	lineagesAtOnce    = 1
	invitationsAtOnce = 20 // of one, and of all together that strangers have made up
)

// A refusal is what is to be recorded, at once or by a number.
type refusal struct {
	who        string // was refused; empty: strangers, who are counted together
	entry      audit.Entry
	atOnce     int              // so many are recorded one by one
	invitation store.Invitation // in which it is counted, too; without ID: in none, without more than that: in what is known
}

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
	at     time.Time // since when there are those counted
	atOnce int       // were recorded one by one
	count  int       // were not
	last   refusal
}

// atOnce reports whether a refusal is to be recorded itself, and counts it otherwise.
func (r *refusals) atOnce(now time.Time, one refusal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since = make(map[refusalKey]*refusalCount)
	}
	key := refusalKey{one.who, one.entry.Action}
	if r.since[key] == nil && len(r.since) >= maxRefusals {
		key.who, one.invitation.ID = "", ""
	}
	c := r.since[key]
	if c == nil {
		c = &refusalCount{at: now}
		r.since[key] = c
	}
	if c.atOnce < one.atOnce {
		c.atOnce++
		return true
	}
	c.count++
	one.invitation = store.Invitation{ID: one.invitation.ID} // the first of them has made it known
	c.last = one
	return false
}

// A counted is how many refusals there were, with an entry that says so.
type counted struct {
	refusal
	count int
}

// due takes out what was counted for an hour, all of it if all is true. Whoever was refused nothing in an hour begins
// anew: who goes on being refused does not have the next ones recorded at once again.
func (r *refusals) due(now time.Time, all bool) (list []counted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.since {
		if ago := now.Sub(c.at); !all && ago >= 0 && ago < refusalPeriod {
			continue
		}
		if c.count == 0 || all {
			delete(r.since, key)
		}
		if c.count == 0 {
			continue
		}
		due := counted{c.last, c.count}
		e := &due.entry
		e.Time = now
		e.Detail = fmt.Sprintf("%d more since %s, the last: %s", c.count, c.at.UTC().Format(time.RFC3339), e.Detail)
		if key.who == "" {
			e.Actor, e.Object = audit.Actor{Kind: e.Actor.Kind}, audit.Object{Kind: e.Object.Kind}
		}
		list = append(list, due)
		c.at, c.count, c.last = now, 0, refusal{}
	}
	return list
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
	who := string(actor.Kind) + " " + actor.Lineage
	if actor.Lineage == "" {
		who += actor.Serial.String()
	}
	r := refusal{who: who, entry: a.entry(now, actor, action, object), atOnce: lineagesAtOnce}
	r.entry.Detail = why.Error()
	a.recordRefusal(ctx, now, r)
	return why
}

// recordRefusal records a refusal at once, or that there was one more later. It is in the log if that fails.
func (a *Authority) recordRefusal(ctx context.Context, now time.Time, r refusal) {
	r.entry.Result, r.entry.Detail = audit.Refused, clipDetail(pki.EscapeText(r.entry.Detail))
	if !a.refusals.atOnce(now, r) {
		return
	}
	if err := a.store.Update(ctx, func(tx store.Tx) error { return a.putRefusal(ctx, tx, r, 1) }); err != nil {
		e := r.entry
		a.log.ErrorContext(ctx, "refusal not recorded", "actor", e.Actor.String(), "action", string(e.Action), "object", e.Object.String(), "error", err)
	}
}

func (a *Authority) putRefusal(ctx context.Context, tx store.Tx, r refusal, count int) error {
	if r.invitation.ID != "" {
		if err := a.refuseInvitation(ctx, tx, r.invitation, count); err != nil {
			return err
		}
	}
	return tx.AppendAudit(ctx, r.entry)
}

// clipDetail shortens what somebody has made long, but for how it begins and ends.
func clipDetail(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	const end = maxDetail / 4
	return strings.ToValidUTF8(text[:maxDetail-end], "") + "…" + strings.ToValidUTF8(text[len(text)-end:], "")
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
	for _, kind := range []error{store.ErrUnavailable, store.ErrUncertain, ErrNoSigner, ErrSignoff, ErrLocked, context.Canceled, context.DeadlineExceeded,
		errReplayed, errEnded, errRevoked, ErrNothingForgotten} {
		if errors.Is(why, kind) {
			return true
		}
	}
	return false
}

// recordRefusals records how many refusals there were that were only counted; all of them before the end.
func (a *Authority) recordRefusals(ctx context.Context, now time.Time, all bool) error {
	list := a.refusals.due(now, all)
	if len(list) == 0 {
		return nil
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		for _, due := range list {
			if err := a.putRefusal(ctx, tx, due.refusal, due.count); err != nil {
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
