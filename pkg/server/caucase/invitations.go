package caucase

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// keepInvited is room for a request and an invitation, with their line ends escaped.
const keepInvited = 2*pki.MaxCSRSize + 2*invite.MaxText

// errInsecure refuses an invitation that others may have read on its way.
var errInsecure = server.Refuse(http.StatusForbidden, "an invitation is a secret: it is presented over HTTPS only")

// putInvited signs a request for whoever presents an invitation with it.
func (f *FrontEnd) putInvited(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(x, "profile")
	if err != nil {
		return nil, err
	}
	if !x.Secure() {
		return nil, errInsecure
	}
	if err := x.ContentType(server.TypeJSON); err != nil {
		return nil, err
	}
	body, err := x.Body(keepInvited)
	if err != nil {
		return nil, err
	}
	sent, err := invite.DecodePresentation(body)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		invitation, err := invite.Parse(sent.Invitation)
		if err != nil {
			return a.RefusedInvitation(ctx, actor, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
		}
		permitted := inviter.Of(invitation)
		if err := a.CheckInvitation(ctx, actor, permitted); err != nil {
			return err
		}
		req, err := parseRequest(ctx, a, ca.Holder{}, audit.UseInvitation, "csr_pem: ", []byte(sent.RequestPEM))
		if err != nil {
			return err
		}
		submission, err := a.SubmitInvited(ctx, actor, req, permitted, ca.Asked{Profile: chosen.profile, By: asker()})
		if err != nil {
			return err
		}
		x.Header().Set("Location", strconv.FormatInt(submission.ID, 10))
		return x.Empty(http.StatusCreated)
	}, nil
}

// getInvitations lists what is on record of invitations.
func (f *FrontEnd) getInvitations(x *server.Exchange) (server.Perform, error) {
	type item struct {
		ID      string     `json:"id"`
		Inviter string     `json:"inviter,omitempty"`
		Names   []string   `json:"names,omitempty"`
		Uses    int        `json:"uses,omitempty"`
		Used    int        `json:"used"`
		Refused int        `json:"refused"`
		Made    *time.Time `json:"made,omitempty"`
		Until   time.Time  `json:"until"`
		Voided  *time.Time `json:"voided,omitempty"`
	}
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	optional := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.Truncate(time.Second)
		return &t
	}
	return func(ctx context.Context, _ audit.Actor) error {
		known, err := a.Invitations(ctx)
		if err != nil {
			return err
		}
		list := make([]item, len(known))
		for i, v := range known {
			list[i] = item{v.ID, v.Inviter, v.Names, v.Uses, v.Used, v.Refused, optional(v.MadeAt), v.Until.Truncate(time.Second), optional(v.VoidedAt)}
		}
		return replyJSON(x, list)
	}, nil
}

// deleteInvitation withdraws an invitation.
func (f *FrontEnd) deleteInvitation(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	id, err := invite.ParseID(x.Param("id"))
	if err != nil {
		return nil, server.Refuse(http.StatusBadRequest, "%s", pki.EscapeText(err.Error()))
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if err := a.Void(ctx, actor, id.String()); err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}, nil
}
