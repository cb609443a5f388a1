package caucase

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// A person is whoever a browser acts for.
type person struct {
	users Core // nil: nobody who is a user
	actor audit.Actor
}

// name is what a decision is bound to: the user's lineage, so that one browser with the certificates of two users does
// not lend the decision of the one to the other; empty for nobody.
func (p person) name() string {
	switch {
	case p.users == nil:
		return ""
	case p.actor.Lineage == "":
		return string(p.users.Name()) + "/serial-" + p.actor.Serial.String()
	}
	return string(p.users.Name()) + "/" + p.actor.Lineage
}

// person finds out who shows a certificate, if anybody does.
func (f *FrontEnd) person(x *server.Exchange) (person, error) {
	if !x.Secure() || len(x.Request.TLS.PeerCertificates) == 0 {
		return person{}, nil
	}
	for _, a := range f.cfg.Authorities.All() {
		if a.Row().Role != store.RoleUsers {
			continue
		}
		actor, err := a.Authenticate(x.Request.Context(), x.Actor(), x.Request.TLS.PeerCertificates[0])
		switch {
		case err == nil:
			return person{a, actor}, nil
		case !errors.Is(err, ca.ErrUnauthorized):
			return person{}, err
		}
	}
	return person{}, nil
}

// decided returns what a person has decided about an origin, as far as that was not withdrawn.
func (f *FrontEnd) decided(ctx context.Context, p person, g grants, origin string) (allowed, known bool, err error) {
	one, ok := g.of(origin)
	if !ok || one.by != p.name() {
		return false, false, nil
	}
	if p.users == nil {
		return one.allowed, true, nil
	}
	recorded, err := p.users.Consents(ctx, p.actor)
	if err != nil {
		return false, false, err
	}
	for _, c := range recorded {
		if c.Origin == origin {
			return c.Allowed && one.allowed, true, nil
		}
	}
	return false, false, nil
}

// usersOf is the authority that has certified a user. There is one.
func (f *FrontEnd) usersOf() (Core, error) {
	for _, a := range f.cfg.Authorities.All() {
		if a.Row().Role == store.RoleUsers {
			return a, nil
		}
	}
	return nil, errFailed
}

// getConsents lists what a user has decided about origins.
func (f *FrontEnd) getConsents(x *server.Exchange) (server.Perform, error) {
	type item struct {
		Origin  string    `json:"origin"`
		Allowed bool      `json:"allowed"`
		At      time.Time `json:"at"`
		Until   time.Time `json:"until"`
	}
	users, err := f.usersOf()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		list, err := users.Consents(ctx, actor)
		if err != nil {
			return err
		}
		items := make([]item, len(list))
		for i, c := range list {
			items[i] = item{c.Origin, c.Allowed, c.At, c.At.Add(ca.ConsentLife)}
		}
		return replyJSON(x, items)
	}, nil
}

// deleteConsents withdraws what a user has decided about an origin, or about all.
func (f *FrontEnd) deleteConsents(x *server.Exchange) (server.Perform, error) {
	users, err := f.usersOf()
	if err != nil {
		return nil, err
	}
	origin, err := parameter(x, "origin")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if err := users.WithdrawConsents(ctx, actor, origin); err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}, nil
}
