package hook

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// A Subscriber is a recipient as far as events are recorded for it: by whom it is delivered is another matter.
type Subscriber interface {
	Key() string
	Renewals() bool
}

// A subscriber is one that is only known by name.
type subscriber struct {
	key      string
	renewals bool
}

func (s subscriber) Key() string    { return s.key }
func (s subscriber) Renewals() bool { return s.renewals }

// Subscribers are those that the tables name, whether or not they can be called from here.
func Subscribers(c Config, webhooks []WebhookTable) (list []Subscriber) {
	for _, path := range c.Postsign {
		list = append(list, subscriber{path, c.Renewals})
	}
	for _, w := range webhooks {
		list = append(list, subscriber{webhookKey(w.Name), w.Renewals})
	}
	return list
}

// An Announcer records events for whoever is told of certificates. It implements [ca.Announcer].
type Announcer struct {
	Subscribers func() []Subscriber
	// Add records an event for a subscriber, within a transaction.
	Add func(ctx context.Context, tx store.Tx, now time.Time, authority store.AuthorityName, key string, event []byte) error
}

// Announces reports whether anybody is told.
func (n Announcer) Announces(renewal bool) bool {
	for _, s := range n.Subscribers() {
		if !renewal || s.Renewals() {
			return true
		}
	}
	return false
}

// Announce records what is to be told of a certificate.
func (n Announcer) Announce(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt store.Certificate) error {
	text, err := eventOf(now, actor, crt)
	if err != nil {
		return err
	}
	for _, s := range n.Subscribers() {
		if crt.Renews != nil && !s.Renewals() {
			continue
		}
		if err := n.Add(ctx, tx, now, crt.Authority, s.Key(), text); err != nil {
			return err
		}
	}
	return nil
}

// eventOf is what is told of a certificate.
func eventOf(now time.Time, actor audit.Actor, crt store.Certificate) ([]byte, error) {
	event := IssuedEvent{
		ID: fmt.Sprintf("crt-%s-%x", crt.Authority, crt.Serial), Time: now.UTC(), Authority: string(crt.Authority),
		Certificate: Issued{
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
			return nil, err
		}
		event.Asker = &asker
	}
	return event.Text()
}
