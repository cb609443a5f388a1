package manage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// ErrNotPending means that no request with an id waits for a decision.
var ErrNotPending = errors.New("no request with this id is pending")

// An Invitee is whom an operator invites.
type Invitee struct {
	Authority store.AuthorityName
	Netloc    string       // where verifiers reach the daemon, HOST[:PORT]; empty: where the daemon has said it is
	Profiles  *profile.Set // nil: the built-in ones
	inviter.Order
}

// Invite makes an invitation, signed by the CA of the authority.
func Invite(ctx context.Context, st store.Store, clk clock.Clock, in Invitee) (*invite.Signed, error) {
	a, err := openWith(ctx, st, clk, in.Authority, in.Netloc, in.Profiles, nil)
	if err != nil {
		return nil, err
	}
	return inviter.Make(ctx, st, clk, a, audit.Actor{Kind: audit.Operator}, in.Order, nil)
}

// openWith is openOne for what depends on the profiles that there are.
func openWith(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string, profiles *profile.Set, announce ca.Announcer) (*ca.Authority, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return nil, err
	}
	config, err := configFor(ctx, st, netloc, row)
	if err != nil {
		return nil, err
	}
	users, err := maxUsers(ctx, st)
	if err != nil {
		return nil, err
	}
	return ca.OpenOne(ctx, st, clk, name, func(row store.Authority) ca.Config {
		cfg := config(row)
		cfg.Profiles, cfg.MaxUsers, cfg.Announce = profiles, users, announce
		return cfg
	})
}

// maxUsers is how many users there may be, as the daemon that was started last was told; 0 if none has said.
func maxUsers(ctx context.Context, st store.Store) (count int, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		text, err := r.Setting(ctx, "", store.SettingMaxUsers)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		n, err := store.ParseCount(text)
		if err != nil {
			return fmt.Errorf("%w: setting %s: %w", ca.ErrDamaged, store.SettingMaxUsers, err)
		}
		count = int(n)
		return nil
	})
	return count, err
}

// Void withdraws invitations to an authority.
func Void(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string, ids []invite.ID) error {
	a, err := openOne(ctx, st, clk, name, netloc)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := a.Void(ctx, audit.Actor{Kind: audit.Operator}, id.String()); err != nil {
			return fmt.Errorf("invitation %s: %w", id, err)
		}
	}
	return nil
}

// Invitations returns what is on record of invitations to an authority that have not ended.
func Invitations(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName) (list []store.Invitation, err error) {
	now := clk.Now()
	err = st.View(ctx, func(r store.Reader) error {
		if _, err := rowIn(ctx, r, name); err != nil {
			return err
		}
		list, err = r.Invitations(ctx, name, 0)
		return err
	})
	for len(list) > 0 && !now.Before(list[0].Until) {
		list = list[1:]
	}
	return list, err
}

// Pending returns the requests that wait for a decision, of all authorities or of one, oldest first.
func Pending(ctx context.Context, st store.Store, name store.AuthorityName) (list []store.Request, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		list = nil
		rows, err := authorities(ctx, r)
		if err != nil {
			return err
		}
		if name != "" {
			row, err := rowIn(ctx, r, name)
			if err != nil {
				return err
			}
			rows = []store.Authority{row}
		}
		for _, row := range rows {
			pending, err := r.Requests(ctx, row.Name, 0)
			if err != nil {
				return err
			}
			list = append(list, pending...)
		}
		return nil
	})
	return list, err
}

// An Approved is a request that an operator has had signed.
type Approved struct {
	Request store.Request
	Issued  ca.Issued
}

// An Approval is what an operator decides about a pending request.
type Approval struct {
	Authority store.AuthorityName // empty: whichever has it
	ID        int64
	Netloc    string
	Profiles  *profile.Set  // nil: the built-in ones
	Profile   string        // to sign with; empty: the request's
	Validity  time.Duration // 0: the profile's

	// Announce records what the daemon is to tell of the certificate; nil: nothing.
	Announce ca.Announcer
}

// Approve signs a pending request on behalf of an operator.
func Approve(ctx context.Context, st store.Store, clk clock.Clock, in Approval) (Approved, error) {
	pending, err := Pending(ctx, st, in.Authority)
	if err != nil {
		return Approved{}, err
	}
	for _, req := range pending {
		if req.ID != in.ID {
			continue
		}
		a, err := openWith(ctx, st, clk, req.Authority, in.Netloc, in.Profiles, in.Announce)
		if err != nil {
			return Approved{}, err
		}
		issued, err := a.Approve(ctx, audit.Actor{Kind: audit.Operator}, req.ID, ca.Approval{Profile: in.Profile, Validity: in.Validity})
		if errors.Is(err, ca.ErrNotFound) {
			err = ErrNotPending // any more
		}
		return Approved{req, issued}, err
	}
	return Approved{}, fmt.Errorf("%w: %d", ErrNotPending, in.ID)
}
