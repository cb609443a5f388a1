package caucase

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// A described request is a request with what would become of it (docs/protocol.md, section 9). Ids are
// strings: they have 63 bits, and JSON numbers in a browser 53. A profile is named where it is not the one
// that requests have anyway.
type described struct {
	ID      string `json:"id"`
	CSR     string `json:"csr"`
	Profile string `json:"profile,omitempty"`

	Certificate *previewed `json:"certificate,omitempty"`
	Problem     string     `json:"problem,omitempty"` // why there would be none

	// For users only.
	Received  *time.Time `json:"received_at,omitempty"`
	Submitter *submitter `json:"submitter,omitempty"`
	Namesakes []namesake `json:"namesakes,omitempty"`
	More      bool       `json:"more_namesakes,omitempty"` // there are more, or may be
	Approvals *approvals `json:"approvals,omitempty"`      // where a rule asks for several, or says something to users
}

// approvals are how many users have to approve a request, and who has.
type approvals struct {
	Needed int        `json:"needed"`
	Rule   string     `json:"rule,omitempty"`
	Reason string     `json:"reason,omitempty"` // of that rule
	By     []approver `json:"by,omitempty"`
	Others []approver `json:"others,omitempty"` // of another content, which do not count for this one
}

type approver struct {
	Lineage string    `json:"lineage"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
}

// addApprovals says how many users have to approve requests that wait, and who has.
func addApprovals(ctx context.Context, a Core, how ca.Approval, list []described, requests []ca.Submitted) error {
	standings, err := a.Standings(ctx, how, requests)
	if err != nil {
		return err
	}
	wire := func(of []ca.Approver) (list []approver) {
		for _, one := range of {
			list = append(list, approver{strconv.FormatInt(one.Lineage, 10), one.Subject, one.At.UTC()})
		}
		return list
	}
	for i, s := range standings {
		if requests[i].Pending && (s.Needed > 1 || s.Reason != "" || len(s.By)+len(s.Others) > 0) {
			list[i].Approvals = &approvals{s.Needed, s.Rule, s.Reason, wire(s.By), wire(s.Others)}
		}
	}
	return nil
}

// A namesake is a lineage with a valid certificate for a name that the request asks for, or one of which either covers the other.
type namesake struct {
	Lineage  string    `json:"lineage"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
	Name     string    `json:"name"`
}

// addNamesakes says who has the names of requests that wait already.
func addNamesakes(ctx context.Context, a Core, list []described, requests []ca.Submitted) error {
	found, err := a.Namesakes(ctx, requests)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].More = found[i].More
		for _, n := range found[i].List {
			list[i].Namesakes = append(list[i].Namesakes, namesake{strconv.FormatInt(n.Lineage, 10), n.Subject, n.NotAfter.UTC(), n.Name})
		}
	}
	return nil
}

// A submitter is who has sent a request, as far as that is known.
type submitter struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"` // of a user
	Serial  string `json:"serial,omitempty"`
	Address string `json:"address,omitempty"`
}

func wireSubmitter(ctx context.Context, a Core, r ca.Submitted) *submitter {
	actor := audit.ParseActor(r.Submitter, "")
	kind, _, _ := strings.Cut(r.Submitter, " ")
	s := &submitter{Kind: pki.EscapeText(kind), Address: pki.EscapeText(r.Address)}
	if actor.Serial != nil {
		s.Serial, s.Subject = actor.Serial.String(), a.SubjectOf(ctx, actor)
	}
	return s
}

// A previewed certificate is one that has not been signed.
type previewed struct {
	Profile    string      `json:"profile"`
	Validity   int64       `json:"validity_seconds"`
	Subject    []byte      `json:"subject"`
	Extensions []extension `json:"extensions"`
}

type extension struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical"`
	Value    []byte `json:"value"`
}

func describeRequests(ctx context.Context, a Core, how ca.Approval, requests []ca.Submitted, toUser bool) ([]described, error) {
	list := make([]described, len(requests))
	previews, err := a.Preview(ctx, how, requests...)
	switch {
	case errors.Is(err, ca.ErrNoSigner), errors.Is(err, ca.ErrSignoff), errors.Is(err, ca.ErrLocked):
		// They are there all the same, and can be rejected.
		previews = make([]ca.Preview, len(requests))
		for i := range previews {
			previews[i].Problem = err
		}
	case err != nil:
		return nil, err
	}
	for i, r := range requests {
		list[i] = described{ID: strconv.FormatInt(r.ID, 10), CSR: string(r.Text), Profile: r.Profile}
		if toUser && r.Pending {
			list[i].Received, list[i].Submitter = moment(r.ReceivedAt.UTC()), wireSubmitter(ctx, a, r)
		}
		switch p := previews[i]; {
		case !r.Pending:
		case p.Problem != nil:
			list[i].Problem = pki.EscapeText(p.Problem.Error())
		default:
			list[i].Certificate = &previewed{Profile: p.Profile, Validity: int64(p.Validity / time.Second), Subject: p.Subject, Extensions: []extension{}}
			for _, e := range p.Extensions {
				list[i].Certificate.Extensions = append(list[i].Certificate.Extensions, extension{e.Id.String(), e.Critical, e.Value})
			}
		}
	}
	if toUser {
		if err := addNamesakes(ctx, a, list, requests); err != nil {
			return nil, err
		}
		if err := addApprovals(ctx, a, how, list, requests); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func replyDescribed(ctx context.Context, x *server.Exchange, a Core, how ca.Approval, req ca.Submitted) error {
	_, isUser := x.Recognise(ctx)
	if isUser {
		x.ForCaller()
	}
	list, err := describeRequests(ctx, a, how, []ca.Submitted{req}, isUser)
	if err != nil {
		return err
	}
	return replyJSON(x, list[0])
}
