package caucase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// frontEnd is the name of this one, in rules and on record.
const frontEnd = "caucase"

// Content types of the protocol.
const (
	typeCSR = "application/pkcs10"
	typeCRT = "application/pkix-cert"
	// typeChain is that of a certificate followed by those of its issuers (RFC 8555 9.1).
	typeChain = "application/pem-certificate-chain"
)

// getPending lists what waits for a decision.
func (f *FrontEnd) getPending(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(x, "foreign")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		pending, err := a.Pending(ctx)
		if err != nil {
			return err
		}
		requests := make([]ca.Submitted, 0, len(pending))
		for _, r := range pending {
			// The reference's client shows nothing of a list in which it cannot read one.
			if s := ca.SubmittedOf(r); chosen.foreign || !s.Foreign() {
				requests = append(requests, s)
			}
		}
		list, err := describeRequests(ctx, a, ca.Approval{}, requests, true)
		if err != nil {
			return err
		}
		return replyJSON(x, list)
	}, nil
}

// parseRequest reads a request that was sent, and counts one that cannot be read as refused.
func parseRequest(ctx context.Context, a Core, h ca.Holder, action audit.Action, what string, text []byte) (*pki.Request, error) {
	req, err := pki.ParseRequest(text)
	if err != nil {
		return nil, a.Refused(ctx, h, action, fmt.Errorf("%w: %s%w", ca.ErrInvalid, what, err))
	}
	return req, nil
}

func (f *FrontEnd) putRequest(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(x, "profile", "once", "foreign")
	if err != nil {
		return nil, err
	}
	body, err := x.Body(keepCSR)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		user, known := x.Recognise(ctx)
		if known {
			actor = user
		}
		chosen.foreign = chosen.foreign && known // whoever it is refused to hears what is wrong with the request
		submission, err := f.submit(ctx, a, actor, submitting{text: body, choice: chosen})
		return replySubmitted(x, submission, err)
	}, nil
}

// submitting is a request that is being submitted.
type submitting struct {
	text []byte
	choice
	*proofs // of who asks; nil: nobody has proved anything
}

// submit submits a request of anybody's. Whether there is room for it, and whether it is there already, comes
// before what costs more than to look.
func (f *FrontEnd) submit(ctx context.Context, a Core, actor audit.Actor, s submitting) (ca.Submission, error) {
	outline, err := pki.ParseOutline(s.text)
	if err != nil && s.foreign {
		if req, unusable := pki.ParseForeign(s.text); unusable == nil {
			return f.submitAs(ctx, a, actor, req, s)
		}
	}
	if err != nil {
		return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	if s.once {
		switch rejected, err := a.Rejection(ctx, 0, pki.Digest(outline.Digest())); {
		case err == nil:
			return ca.Submission{}, rejected
		case !errors.Is(err, ca.ErrNotFound):
			return ca.Submission{}, err
		}
	}
	if s.proofs != nil {
		if err := f.examine(ctx, a, s.proofs, pki.Digest(outline.Digest())); err != nil {
			return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, err)
		}
	}
	switch done, err := a.Foresee(ctx, actor, outline, s.profile); {
	case err != nil:
		return ca.Submission{}, err
	case done != nil && s.proofs == nil: // a proof that does not count is refused, whatever it is for
		return *done, nil
	}
	req, err := outline.Check()
	if err != nil {
		return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	return f.submitAs(ctx, a, actor, req, s)
}

// submitAs submits a request as one of whoever proves to ask.
func (f *FrontEnd) submitAs(ctx context.Context, a Core, actor audit.Actor, req *pki.Request, s submitting) (ca.Submission, error) {
	by, err := f.prove(ctx, actor, s.proofs, req)
	if err != nil {
		return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, err)
	}
	return a.Submit(ctx, actor, req, ca.Asked{Profile: s.profile, By: by})
}

func (f *FrontEnd) getRequest(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	var how ca.Approval
	var chosen choice
	describe := x.Accepts(server.TypeJSON)
	if describe {
		if chosen, err = choose(x, "profile", "validity"); err != nil {
			return nil, err
		}
		how.Profile, how.Validity = chosen.profile, chosen.validity
	}
	tell := x.Accepts(typeProblem)
	if tell {
		if chosen, err = choose(x, "digest"); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, _ audit.Actor) error {
		x.Vary("Accept")
		req, err := a.Request(ctx, id)
		if errors.Is(err, ca.ErrNotFound) && tell && chosen.digest != nil {
			return tellRejection(ctx, x, a, id, *chosen.digest, err)
		}
		if err != nil {
			return err
		}
		if describe {
			return replyDescribed(ctx, x, a, how, req)
		}
		if req.Digest != (pki.Digest{}) { // as for what was imported without its request
			x.Header().Set("ETag", requestTag(req.Digest))
		}
		return x.Reply(http.StatusOK, typeCSR, req.Text)
	}, nil
}

func (f *FrontEnd) deleteRequest(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	shown, err := readShown(x)
	if err != nil {
		return nil, err
	}
	reason, err := rejectionReason(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if err := a.Reject(ctx, actor, id, shown, reason); err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}, nil
}

func (f *FrontEnd) getCertificate(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		issued, err := a.Certificate(ctx, id)
		if err != nil {
			return err
		}
		return replyIssued(x, a, issued)
	}, nil
}

// replyIssued answers with a certificate: alone, as the reference does, or followed by those of its
// issuers for whoever asks for that.
func replyIssued(x *server.Exchange, a Core, issued ca.Issued) error {
	if strictFollower(x.Request.UserAgent()) {
		a.NoteStrictFollower(true) // or a user, who has fetched it for a holder
	}
	x.Vary("Accept")
	body := pki.EncodeCertificatePEM(issued.Certificate.Raw)
	if !x.Accepts(typeChain) {
		return x.Reply(http.StatusOK, typeCRT, body)
	}
	for _, issuer := range issued.Chain {
		body = append(body, pki.EncodeCertificatePEM(issuer.Raw)...)
	}
	return x.Reply(http.StatusOK, typeChain, body)
}

// putCertificate signs a request, as it is or with what a template has instead.
func (f *FrontEnd) putCertificate(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(x, "profile", "validity")
	if err != nil {
		return nil, err
	}
	body, err := x.Body(keepCSR)
	if err != nil {
		return nil, err
	}
	how := ca.Approval{Profile: chosen.profile, Validity: chosen.validity}
	if how.Shown, err = readShown(x); err != nil {
		return nil, err
	}
	var template pki.Outline
	if len(body) > 0 {
		if err := x.ContentType(typeCSR); err != nil {
			return nil, err
		}
		if template, err = pki.ParseOutline(body); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, actor audit.Actor) (err error) {
		if len(body) > 0 {
			// Only for a user: it computes.
			if how.Template, err = template.Check(); err != nil {
				return err
			}
		}
		_, err = a.Approve(ctx, actor, id, how)
		if waits := (*ca.Awaiting)(nil); errors.As(err, &waits) {
			// It is on record, and there is no certificate yet.
			return x.Reply(http.StatusAccepted, server.TypeText, []byte(pki.EscapeText(waits.Error())+"\n"))
		}
		if err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}, nil
}

// object returns the authority under whose path x is, and the id in the path.
func (f *FrontEnd) object(x *server.Exchange) (Core, int64, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, 0, err
	}
	id, err := pathID(x)
	return a, id, err
}

// replyJSON answers with v, without escaping what only HTML minds, and without a line end.
func replyJSON(x *server.Exchange, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return x.Reply(http.StatusOK, server.TypeJSON, bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}
