package daemon

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/hook"
	"cauase/pkg/outbox"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// Hooks returns those that count.
func (d *Daemon) Hooks() *hook.Set { return d.hooks.Set() }

// useHooks has hooks take the place of those before.
func (d *Daemon) useHooks(s *hook.Set) {
	if s == nil {
		s = &hook.Set{}
	}
	s.LogTo(d.log)
	d.hooks.Replace(s)
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

// An announcer records events for whoever is told of certificates.
type announcer struct{ d *Daemon }

// Announces reports whether anybody is.
func (n announcer) Announces(renewal bool) bool {
	return slices.ContainsFunc(n.d.hooks.Set().Recipients, func(r hook.Recipient) bool { return !renewal || r.Renewals() })
}

// Announce implements [ca.Announcer].
func (n announcer) Announce(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt store.Certificate) error {
	event := hook.IssuedEvent{
		ID: fmt.Sprintf("crt-%s-%x", crt.Authority, crt.Serial), Time: now.UTC(), Authority: string(crt.Authority),
		Certificate: hook.Issued{
			ID: strconv.FormatInt(crt.ID, 10), Serial: pki.FormatSerial(crt.Serial), Lineage: strconv.FormatInt(crt.Lineage, 10),
			Subject: crt.Subject, Names: crt.SANs, NotBefore: crt.NotBefore.UTC(), NotAfter: crt.NotAfter.UTC(), Profile: crt.Profile,
			Method: string(crt.Method), IssuedBy: actor.String(), Rule: crt.Rule, PEM: string(pki.EncodeCertificatePEM(crt.DER)),
		},
	}
	if crt.Renews != nil {
		event.Certificate.Renews = pki.FormatSerial(crt.Renews)
	}
	if crt.Asked != "" {
		asker, err := policy.ParseAsker(crt.Asked)
		if err != nil {
			return err
		}
		event.Asker = &asker
	}
	text, err := event.Text()
	if err != nil {
		return err
	}
	for _, r := range n.d.hooks.Set().Recipients {
		if event.Certificate.Renews != "" && !r.Renewals() {
			continue
		}
		if err := n.d.outbox.Add(ctx, tx, now, crt.Authority, r.Key(), text); err != nil {
			return err
		}
	}
	return nil
}
