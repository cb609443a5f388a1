package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/invite"
	"cauase/pkg/pki"
)

// ErrInvitedElsewhere says that the CA trusted here is not the one that an invitation is to.
var ErrInvitedElsewhere = errors.New("the CA that is trusted here is another than the one of the invitation")

// ErrNoInvitations says that the daemon is none that invitations can be presented to.
var ErrNoInvitations = errors.New("the daemon takes no invitations: it does not vouch for its HTTPS certificate, as a reference caucased")

// PinsOf returns the pins of an authority that an invitation holds, none if it holds none.
func PinsOf(inv *invite.Signed, authority AuthorityName) []Pin {
	var pins []Pin
	for _, f := range inv.CAs[string(authority)] {
		pins = append(pins, Pin(f))
	}
	return pins
}

// Invited is trust that began with an invitation, or that was found to agree with one.
type Invited struct {
	Trust

	// Vouched are those of CAs that the invitation vouches for: by itself, or through their predecessors.
	// Only a daemon that these vouch for is shown the invitation.
	Vouched []*x509.Certificate
}

// TrustInvited is [Client.UpdateTrust] for somebody who has been invited. What is trusted locally, if anything,
// has to be what the invitation vouches for, or that is [ErrInvitedElsewhere].
func (c *Client) TrustInvited(ctx context.Context, local []*x509.Certificate, inv *invite.Signed) (Invited, error) {
	pins := PinsOf(inv, c.options.Authority)
	if len(pins) == 0 {
		return Invited{}, fmt.Errorf("%w: it says nothing of the CA of %s", ErrInvitedElsewhere, c.options.Authority)
	}
	begun, err := c.UpdateTrust(ctx, nil, pins)
	if err != nil {
		return Invited{}, err
	}
	if len(local) == 0 {
		return Invited{begun, begun.CAs}, nil
	}
	trust, err := c.UpdateTrust(ctx, local, pins)
	if errors.Is(err, ErrUnknownAnchor) || errors.Is(err, ErrChain) {
		return Invited{}, fmt.Errorf("%w: %w", ErrInvitedElsewhere, err)
	}
	if err != nil {
		return Invited{}, err
	}
	vouched := slices.DeleteFunc(slices.Clone(trust.CAs), func(ca *x509.Certificate) bool {
		return !slices.ContainsFunc(begun.CAs, ca.Equal)
	})
	if len(vouched) == 0 {
		return Invited{}, ErrInvitedElsewhere
	}
	return Invited{trust, vouched}, nil
}

const opPresent = "present invitation"

// IsUninvited reports whether err is a daemon's answer that it does not accept an invitation.
func IsUninvited(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.Op == opPresent && refused.Status == http.StatusForbidden
}

// SubmitInvited hands in a request with an invitation, upon which it is signed at once, and returns its ID. The same
// request again has the same ID, and is no second use of the invitation. The invitation goes over HTTPS, to a
// daemon for which one of the given CAs vouches, and to no other.
func (c *Client) SubmitInvited(ctx context.Context, csrPEM []byte, profile string, inv *invite.Signed, vouched []*x509.Certificate) (ID, error) {
	const op = opPresent
	request, err := pki.CanonicalRequest(csrPEM)
	if err != nil {
		return 0, err
	}
	body, err := invite.Presentation{Invitation: inv.Text(), RequestPEM: string(request)}.Encode()
	if err != nil {
		return 0, err
	}
	roots, err := c.serverCAs(ctx, vouched)
	switch {
	case errors.Is(err, errNoVoucher):
		return 0, fmt.Errorf("%s: %w", op, ErrNoInvitations)
	case err != nil:
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	https := c.endpoint(c.https, &tls.Config{MinVersion: tls.VersionTLS12, Time: c.options.Clock.Now, RootCAs: roots, ServerName: c.host})
	defer https.http.CloseIdleConnections()
	_, header, err := https.do(ctx, call{
		op: op, method: http.MethodPut, path: "/invite", query: profileQuery(profile), body: body, typ: typeJSON, want: http.StatusCreated,
	})
	if err != nil {
		return 0, err
	}
	return located(op, header)
}

// An Invitation is what the daemon knows of an invitation: not its text, which is a secret.
type Invitation struct {
	ID      string     `json:"id"`
	Inviter string     `json:"inviter,omitzero"`
	Names   []string   `json:"names,omitzero"`
	Uses    int        `json:"uses,omitzero"` // 0 if the daemon knows only its id
	Used    int        `json:"used"`
	Refused int        `json:"refused"`
	Made    *time.Time `json:"made,omitzero"`
	Until   time.Time  `json:"until"`
	Voided  *time.Time `json:"voided,omitzero"`
}

// Invitations lists those that were used, refused or withdrawn, or that an operator has made, and have not ended.
func (s *Session) Invitations(ctx context.Context) ([]Invitation, error) {
	const op = "list invitations"
	body, _, err := s.https.do(ctx, call{op: op, method: http.MethodGet, path: "/invite", want: http.StatusOK})
	if err != nil {
		return nil, err
	}
	list := []Invitation{}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", op, ErrNotCA, pki.EscapeText(err.Error()))
	}
	return list, nil
}

// Void withdraws an invitation, whether it was ever presented or not.
func (s *Session) Void(ctx context.Context, id invite.ID) error {
	_, _, err := s.https.do(ctx, call{
		op: "withdraw invitation " + id.String(), method: http.MethodDelete, path: "/invite/" + id.String(), want: http.StatusNoContent,
	})
	return err
}
