// Package signing is the front-end for whoever wants one certificate for one request, in one exchange: PUT /api/csr/{id} takes a request and
// answers with its certificate, if rules and hooks approve it. See docs/signing-api.md.
package signing

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// frontEnd is what this one is called in rules.
const frontEnd = "signing"

// MaxClient bounds an id, in characters.
const MaxClient = 128

// A Core is what is needed of a certificate authority. Package ca implements it.
type Core interface {
	Foresee(ctx context.Context, actor audit.Actor, o pki.Outline, profile string) (*ca.Submission, error)
	Submit(ctx context.Context, actor audit.Actor, req *pki.Request, how ca.Asked) (ca.Submission, error)
	Refused(ctx context.Context, h ca.Holder, action audit.Action, why error) error
}

// A Target is which authority signs, with which profile.
type Target struct {
	Authority store.AuthorityName
	Profile   string // empty: the authority's default
}

// Config is what a FrontEnd works with. All of it is needed.
type Config struct {
	// Target is asked at each request, and false where the configuration has none any more.
	Target func() (Target, bool)
	// Authority returns the authority of a name, and whether there is one.
	Authority func(name store.AuthorityName) (Core, bool)
}

// A FrontEnd is a server.FrontEnd.
type FrontEnd struct{ cfg Config }

// New returns a FrontEnd.
func New(cfg Config) *FrontEnd { return &FrontEnd{cfg} }

// Routes is the one that there is.
func (f *FrontEnd) Routes() []server.Route {
	return []server.Route{{
		Method: http.MethodPut, Path: "api/csr/{id}", Access: server.Anyone, Handler: f.put,
		// No browser is to ask, whatever a page makes it do: it may be within networks that rules name.
		Origin: func(x *server.Exchange) error {
			if x.Request.Header.Get("Origin") != "" {
				return server.Refuse(http.StatusForbidden, "pages in browsers cannot ask for certificates here")
			}
			return nil
		},
	}}
}

// Matches reports that no parameter leads on.
func (f *FrontEnd) Matches(string, string) bool { return false }

// Identify recognises nobody: who asks is for rules and hooks to judge.
func (f *FrontEnd) Identify(_ context.Context, actor audit.Actor, _ *x509.Certificate) (audit.Actor, error) {
	return actor, ca.ErrUnauthorized
}

// Options answers that PUT is possible.
func (f *FrontEnd) Options(x *server.Exchange, _ string) error { return x.Empty(http.StatusNoContent) }

// checkClient refuses what is no id: nothing in it can be a path, an option or a quote anywhere.
func checkClient(id string) error {
	if id == "" || len(id) > MaxClient {
		return server.Refuse(http.StatusBadRequest, "the id has 1 to %d letters and digits", MaxClient)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return server.Refuse(http.StatusBadRequest, "the id has letters and digits of ASCII only")
		}
	}
	return nil
}

func (f *FrontEnd) put(x *server.Exchange) (server.Perform, error) {
	target, on := f.cfg.Target()
	if !on {
		return nil, server.ErrNotFound
	}
	id := x.Param("id")
	if err := checkClient(id); err != nil {
		return nil, err
	}
	authority, there := f.cfg.Authority(target.Authority)
	if !there {
		return nil, server.Refuse(http.StatusServiceUnavailable, "the authority that signs cannot be used at the moment, try again later")
	}
	body, err := x.Body(pki.MaxCSRSize)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		x.Header().Set("Cache-Control", server.NoStore)
		by := policy.Asker{Address: actor.Address, FrontEnd: frontEnd, Client: id}
		done, err := f.submit(ctx, authority, actor, body, target, by)
		if err != nil {
			return err
		}
		if done.Issued == nil {
			x.Header().Set("Retry-After", strconv.Itoa(retryAfter))
			return reply(x, http.StatusAccepted, heldAs(done))
		}
		return reply(x, http.StatusOK, signed{string(pki.EncodeCertificatePEM(done.Issued.Certificate.Raw))})
	}, nil
}

// retryAfter is when whoever waits for a user may ask again, in seconds.
const retryAfter = 60

// signed is the answer to a request that was approved.
type signed struct {
	PEM string `json:"signed_x509_pem"`
}

// held is the answer to one that waits.
type held struct {
	Status string `json:"status"`
	ID     string `json:"request_id"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail"`
}

// heldAs says why a request waits, if that is known, and what comes of it.
func heldAs(s ca.Submission) held {
	return held{
		Status: "pending", ID: strconv.FormatInt(s.ID, 10), Reason: pki.EscapeText(s.Reason),
		Detail: "the request waits for a user's approval. Send the same request again later: the answer is its certificate once it is approved",
	}
}

// submit submits a request. Whether there is room for it, and whether it is there already, comes before what costs more than to look.
func (f *FrontEnd) submit(ctx context.Context, a Core, actor audit.Actor, text []byte, to Target, by policy.Asker) (ca.Submission, error) {
	outline, err := pki.ParseOutline(text)
	if err != nil {
		return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	switch done, err := a.Foresee(ctx, actor, outline, to.Profile); {
	case err != nil:
		return ca.Submission{}, err
	case done != nil:
		return *done, nil
	}
	req, err := outline.Check()
	if err != nil {
		return ca.Submission{}, a.Refused(ctx, ca.Holder{}, audit.Submit, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	return a.Submit(ctx, actor, req, ca.Asked{Profile: to.Profile, By: by})
}

// A class says how the errors of a sentinel are answered.
type class struct {
	sentinel error
	status   int
	reason   string // empty: the error's own text
}

// classes is the table from errors to statuses, the first match counts.
var classes = [...]class{
	{ca.ErrPolicy, http.StatusForbidden, ""},
	{ca.ErrAddressNames, http.StatusServiceUnavailable, ""},
	{ca.ErrRetired, http.StatusGone, ""},
	{ca.ErrTooManyPending, http.StatusInsufficientStorage, ""},
	{ca.ErrConflict, http.StatusConflict, ""},
	{ca.ErrUnauthorized, http.StatusForbidden, ""},
	{ca.ErrInvalid, http.StatusBadRequest, ""},
	{pki.ErrInvalid, http.StatusBadRequest, ""},
	{store.ErrUnavailable, http.StatusServiceUnavailable, "the database is not available, try again"},
	{store.ErrUncertain, http.StatusServiceUnavailable, "the database was lost on the way; send the same request again"},
	{ca.ErrToken, http.StatusServiceUnavailable, "the private keys of the CA are on a token that cannot be used now: an operator has to look"},
	{ca.ErrLocked, http.StatusServiceUnavailable, "the private keys of the CA are locked: an operator has to unlock them"},
	{ca.ErrNoSigner, http.StatusServiceUnavailable, "no CA certificate is valid now, try again later"},
	{ca.ErrSignoff, http.StatusServiceUnavailable, "no CA certificate is valid now: one has to be signed off by the parent"},
	{context.Canceled, http.StatusServiceUnavailable, "given up"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "took too long, try again"},
}

// Problem returns the status that err is answered with, and the reason to give.
func (f *FrontEnd) Problem(err error) server.Problem {
	for _, c := range classes {
		if !errors.Is(err, c.sentinel) {
			continue
		}
		p := server.Problem{Status: c.status, Reason: c.reason}
		if c.reason == "" {
			p.Reason = pki.EscapeText(err.Error())
		}
		if errors.Is(err, ca.ErrLocked) {
			p.RetryAfter = server.LockedRetry
		}
		return p
	}
	return server.Problem{}
}

// Answer sends a problem as JSON.
func (f *FrontEnd) Answer(x *server.Exchange, p server.Problem) {
	_ = reply(x, p.Status, struct {
		Error string `json:"error"`
	}{p.Reason})
}

func reply(x *server.Exchange, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return x.Reply(status, server.TypeJSON, append(text, '\n'))
}
