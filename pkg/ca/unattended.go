package ca

import (
	"context"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// issueUnattended signs a request that nobody has looked at.
func (a *Authority) issueUnattended(ctx context.Context, now time.Time, st state, id int64, req *incoming) (minted, error) {
	in := issuance{id: id, request: req.Request, method: store.AutoSigned, profile: req.asked, asker: req.asker}
	if req.approvedByRule() {
		var err error
		if in.validity, err = a.capped(req.verdict, req.asked, 0); err != nil {
			return minted{}, err
		}
		in.longest = req.verdict.MaxValidity
		in.rule, in.ruleDigest = req.verdict.Rule, req.verdict.Digest
	}
	return a.issue(ctx, now, st, in)
}

// unattended is the daemon, deciding about the request that actor has sent.
func unattended(actor audit.Actor) audit.Actor {
	return audit.Actor{Kind: audit.Daemon, RequestID: actor.RequestID}
}

// refusedUnattended records that a request was not approved automatically because of what it would be made
// into, and returns why. It does not count as received: the first user's is not lost over a mistake.
// Strangers can send such requests as long as the automatic approvals last, so that no more of them are recorded than
// there are approvals.
func (a *Authority) refusedUnattended(ctx context.Context, now time.Time, actor audit.Actor, req *pki.Request, why error) error {
	a.observe(audit.Sign, &why)
	e := a.entry(now, unattended(actor), audit.Sign, audit.Object{Kind: audit.KindRequest})
	e.Result, e.Detail = audit.Refused, describe(req.Subject, req.SANs)+": "+pki.EscapeText(why.Error())
	err := a.store.Update(ctx, func(tx store.Tx) error {
		recorded, err := tx.Counter(ctx, a.name, store.CounterRefusedAuto)
		if err != nil {
			return err
		}
		switch approvals, _, err := a.autoApprovals(ctx, tx); {
		case err != nil:
			return err
		case recorded >= approvals:
			return nil
		}
		if _, err := tx.AddCounter(ctx, a.name, store.CounterRefusedAuto, 1); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, e)
	})
	if err != nil {
		a.log.ErrorContext(ctx, "refusal not recorded", "actor", e.Actor.String(), "action", string(e.Action), "error", err)
	}
	return why
}

// submitted is the entry about a request that was not known.
func (a *Authority) submitted(now time.Time, actor audit.Actor, id int64, req *incoming) audit.Entry {
	e := a.detailed(a.entry(now, actor, audit.Submit, audit.RequestObject(id)), req.Subject, req.SANs)
	if req.named != "" {
		e.Detail += " profile=" + req.named
	}
	if v := req.verdict; v != nil && v.Decision == policy.Hold && v.Rule != "" {
		e.Detail += " held by rule " + v.Rule
		if v.Reason != "" {
			e.Detail += ": " + v.Reason
		}
	}
	return e
}

// receive counts and records a request that was not known and does not wait for a user.
func (a *Authority) receive(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, id int64, req *incoming) error {
	if _, err := tx.AddCounter(ctx, a.name, store.CounterReceivedCSR, 1); err != nil {
		return err
	}
	return tx.AppendAudit(ctx, a.submitted(now, actor, id, req))
}

// pendingRow is the row of a request that waits for a user.
func (a *Authority) pendingRow(now time.Time, actor audit.Actor, id int64, req *incoming) store.Request {
	return store.Request{
		Authority:  a.name,
		ID:         id,
		ReceivedAt: now,
		Submitter:  actor.String(),
		Address:    actor.Address,
		PEM:        req.PEM,
		Digest:     req.Digest[:],
		KeyID:      req.KeyID,
		Subject:    req.Subject,
		SANs:       req.SANs,
		Profile:    req.named,
		Asked:      req.asker,
	}
}
