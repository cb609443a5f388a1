package daemon

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"

	"cauase/pkg/ca"
	"cauase/pkg/hook"
	"cauase/pkg/outbox"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
)

// Hooks returns those that count.
func (d *Daemon) Hooks() *hook.Set { return d.hooks.Set() }

// decideBy has rules and hooks take the place of those before. No request is decided about by the ones and the others of before.
func (d *Daemon) decideBy(rules *policy.Set, s *hook.Set) {
	if s == nil {
		s = &hook.Set{}
	}
	s.LogTo(d.log)
	d.hooks.Replace(rules, s)
	if d.outbox != nil {
		d.outbox.Kick()
	}
}

// askToStart has boot hooks decide whether there is to be a daemon.
func (d *Daemon) askToStart(ctx context.Context) error {
	if len(d.hooks.Set().Boot) == 0 {
		return nil
	}
	about := hook.BootInput{Time: d.clock.Now().UTC(), Program: d.cfg.Version, Netloc: d.cfg.Netloc.String()}
	for _, address := range d.Listening() {
		about.Listening = append(about.Listening, address.String())
	}
	if err := d.hooks.Set().MayStart(ctx, about); err != nil {
		return fmt.Errorf("the daemon is not to start: %w", err)
	}
	return nil
}

// openOutbox makes the outbox, which delivers once the daemon runs.
func (d *Daemon) openOutbox() {
	d.outbox = outbox.New(outbox.Config{
		Store: d.store, Clock: d.clock, Log: d.log, Observe: d.metrics.observeDeliveries(),
		Recipients: func() []outbox.Recipient {
			var list []outbox.Recipient
			for _, r := range d.hooks.Set().Recipients {
				list = append(list, r)
			}
			return list
		},
	})
}

// A hookedPolicy asks authorize hooks beside the rules.
type hookedPolicy struct{ *hook.Policy }

// Decides reports whether there is anybody to ask but the rules.
func (p hookedPolicy) Decides() bool { return len(p.Hooks.Set().Authorize) > 0 }

// A presigner asks presign hooks.
type presigner struct{ d *Daemon }

// Presigns reports whether there are any.
func (p presigner) Presigns() bool { return len(p.d.hooks.Set().Presign) > 0 }

// Presign implements [ca.Presigner].
func (p presigner) Presign(ctx context.Context, about ca.Proposal) (ca.Amendment, error) {
	keyType, err := pki.LikeKeyType(about.Request.CSR.PublicKey)
	if err != nil {
		return ca.Amendment{}, err
	}
	change, err := p.d.hooks.Set().Ask(ctx, hook.Proposal{
		Time: about.Time, Authority: string(about.Authority), Profile: about.Profile, Method: string(about.Method), Asker: about.Asker,
		Request: about.Request, PublicKey: about.Request.CSR.PublicKey, KeyType: string(keyType), Subject: about.Subject, Extensions: about.Extensions,
		NotBefore: about.NotBefore, NotAfter: about.NotAfter,
	})
	if refusal := (*hook.Refusal)(nil); errors.As(err, &refusal) {
		return ca.Amendment{}, &ca.Denied{Rule: refusal.Hook, Reason: refusal.Reason}
	}
	if err != nil || len(change.By) == 0 {
		return ca.Amendment{}, err
	}
	out := ca.Amendment{By: strings.Join(change.By, " and "), Subject: change.Subject, Validity: change.Validity}
	if change.Names != nil || len(change.Extensions) > 0 {
		if out.Extensions, err = change.Amend(about.Extensions); err != nil {
			return ca.Amendment{}, &ca.Denied{Rule: out.By, Reason: "it wants names that are not possible"}
		}
		out.Extensions = append([]pkix.Extension{}, out.Extensions...) // not nil: all are gone
	}
	return out, nil
}

// announcer records events for whoever is told of certificates.
func (d *Daemon) announcer() ca.Announcer {
	return hook.Announcer{
		Subscribers: func() []hook.Subscriber {
			recipients := d.hooks.Set().Recipients
			if len(recipients) == 0 {
				return nil
			}
			list := make([]hook.Subscriber, len(recipients))
			for i, r := range recipients {
				list[i] = r
			}
			return list
		},
		Add: d.outbox.Add,
	}
}
