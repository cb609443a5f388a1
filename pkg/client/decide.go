package client

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

// ErrOther says that the request on record is not the one that was shown to whoever decides on it.
var ErrOther = errors.New("the pending request is another than the one that was shown")

// A Submitted request is one as the daemon shows it.
type Submitted struct {
	ID      ID
	PEM     []byte
	Profile string // that it asks for, "" from a daemon that does not say

	// Preview is what would be signed, nil from a daemon that does not say, and if nothing is pending.
	Preview *Preview
	Problem string // why nothing would be signed, "" if it would

	// Received and Submitter say when and from whom it came, to users. A reference daemon does not say.
	Received  time.Time
	Submitter *Submitter

	// Namesakes are lineages with a valid certificate that has a name of the request already, a few of them, to users.
	Namesakes []Namesake
	// MoreNamesakes says that there are more, or may be.
	MoreNamesakes bool

	// Approvals are how many users have to approve it, to users; nil where it is one, and nothing is said about it.
	Approvals *Approvals
}

// Approvals are how many users have to approve a request, and who has.
type Approvals struct {
	Needed int        `json:"needed"`
	Rule   string     `json:"rule"`   // that says so
	Reason string     `json:"reason"` // of that rule
	By     []Approver `json:"by"`
	Others []Approver `json:"others"` // of another content, which do not count for what is shown
}

// An Approver is a user who has approved a request.
type Approver struct {
	Lineage string    `json:"lineage"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
}

// ErrAwaiting means that an approval is on record, and that other users have to approve the request, too.
var ErrAwaiting = errors.New("approved, and not signed yet")

// A Namesake is a lineage that has a name already.
type Namesake struct {
	Lineage  string    `json:"lineage"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
	Name     string    `json:"name"` // that it has, "" from a daemon that does not say
}

// A Submitter is who has sent a request.
type Submitter struct {
	Kind    string `json:"kind"`    // anonymous, user, holder …
	Subject string `json:"subject"` // of a user, "" if that is not known
	Serial  string `json:"serial"`  // of a user's certificate, decimal
	Address string `json:"address"` // from which it came, "" if that is not known
}

// A Preview is a certificate before it is signed, without what all those of the authority have.
type Preview struct {
	Profile    string
	Validity   time.Duration
	Subject    []byte // DER
	Extensions []pkix.Extension
}

// Digest returns the digest of the request. It is computed from the bytes that are shown, and not what a daemon says.
// Requests that could not be accepted have one, too.
func (s Submitted) Digest() (pki.Digest, error) {
	if req, err := pki.ParseRequest(s.PEM); err == nil {
		return req.Digest, nil
	}
	return pki.DigestOf(s.PEM)
}

// A submittedWire is one in an answer of the daemon (protocol: "What would be signed").
type submittedWire struct {
	ID          string       `json:"id"`
	CSR         string       `json:"csr"`
	Profile     string       `json:"profile"`
	Certificate *previewWire `json:"certificate"`
	Problem     string       `json:"problem"`
	Received    time.Time    `json:"received_at"`
	Submitter   *Submitter   `json:"submitter"`
	Namesakes   []Namesake   `json:"namesakes"`
	More        bool         `json:"more_namesakes"`
	Approvals   *Approvals   `json:"approvals"`
}

type previewWire struct {
	Profile    string `json:"profile"`
	Validity   int64  `json:"validity_seconds"`
	Subject    []byte `json:"subject"`
	Extensions []struct {
		OID      string `json:"oid"`
		Critical bool   `json:"critical"`
		Value    []byte `json:"value"`
	} `json:"extensions"`
}

func (w submittedWire) read() (Submitted, error) {
	id, err := ParseID(w.ID)
	if err != nil {
		return Submitted{}, fmt.Errorf("%w: %w", ErrNotCA, err)
	}
	s := Submitted{ID: id, PEM: []byte(w.CSR), Profile: w.Profile, Problem: w.Problem, Received: w.Received, Submitter: w.Submitter, Namesakes: w.Namesakes, MoreNamesakes: w.More, Approvals: w.Approvals}
	if w.Certificate == nil {
		return s, nil
	}
	if s.Preview, err = w.Certificate.read(); err != nil {
		return Submitted{}, fmt.Errorf("%w: certificate for %s: %w", ErrNotCA, id, err)
	}
	return s, nil
}

func (w previewWire) read() (*Preview, error) {
	if w.Validity < 0 || w.Validity > int64(maxSpan/time.Second) {
		return nil, fmt.Errorf("a validity of %d seconds", w.Validity)
	}
	p := &Preview{Profile: w.Profile, Validity: time.Duration(w.Validity) * time.Second, Subject: w.Subject}
	for _, e := range w.Extensions {
		oid, err := x509.ParseOID(e.OID)
		if err != nil {
			return nil, fmt.Errorf("extension %.40q is none", e.OID)
		}
		var id asn1.ObjectIdentifier
		for arc := range strings.SplitSeq(oid.String(), ".") {
			n, err := strconv.Atoi(arc)
			if err != nil {
				return nil, fmt.Errorf("extension %.40q is beyond what certificates can have", e.OID)
			}
			id = append(id, n)
		}
		p.Extensions = append(p.Extensions, pkix.Extension{Id: id, Critical: e.Critical, Value: e.Value})
	}
	return p, nil
}

// maxPendingAnswer bounds the list of pending requests, of which there may be many, each with as much again beside it.
const maxPendingAnswer = 64 << 20

// Pending lists the requests nobody has decided on.
func (s *Session) Pending(ctx context.Context) ([]Submitted, error) {
	const op = "list requests"
	// A reference daemon takes no notice of the query.
	foreign := url.Values{"foreign": {"true"}}
	body, _, err := s.https.do(ctx, call{op: op, method: http.MethodGet, path: "/csr", query: foreign, want: http.StatusOK, limit: maxPendingAnswer})
	if err != nil {
		return nil, err
	}
	list, err := readPending(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return list, nil
}

func readPending(body []byte) ([]Submitted, error) {
	var entries []submittedWire
	if err := json.Unmarshal(body, &entries); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotCA, pki.EscapeText(err.Error()))
	}
	list := make([]Submitted, 0, len(entries))
	for _, e := range entries {
		one, err := e.read()
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// Request is [Client.Request] over HTTPS, from the daemon that a user will tell to sign
// it, and not from whoever is in between.
func (s *Session) Request(ctx context.Context, id ID) ([]byte, error) {
	return request(ctx, s.https, id)
}

// Show returns a request with what would be signed if it were approved like that, for somebody to decide by.
func (s *Session) Show(ctx context.Context, id ID, how Approval) (Submitted, error) {
	return show(ctx, s.https, id, how)
}

// Show is [Session.Show] over HTTP: nothing vouches for the answer.
func (c *Client) Show(ctx context.Context, id ID) (Submitted, error) {
	return show(ctx, c.http, id, Approval{})
}

func show(ctx context.Context, e *endpoint, id ID, how Approval) (Submitted, error) {
	op := "get request " + id.String()
	body, header, err := e.do(ctx, call{
		op: op, method: http.MethodGet, path: "/csr/" + id.String(), query: how.query(),
		accept: typeJSON + ", " + typePKCS10 + ";q=0.5", want: http.StatusOK,
	})
	if err != nil {
		return Submitted{}, err
	}
	if typ, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || typ != typeJSON {
		return Submitted{ID: id, PEM: body}, nil // a daemon that does not foretell anything
	}
	var wire submittedWire
	if err := json.Unmarshal(body, &wire); err != nil {
		return Submitted{}, fmt.Errorf("%s: %w: %s", op, ErrNotCA, pki.EscapeText(err.Error()))
	}
	found, err := wire.read()
	if err == nil && found.ID != id {
		err = fmt.Errorf("%w: it is about request %s", ErrNotCA, found.ID)
	}
	if err != nil {
		return Submitted{}, fmt.Errorf("%s: %w", op, err)
	}
	return found, nil
}

// An Approval says how a request is signed. The zero value is: as it was submitted.
type Approval struct {
	// Shown is the digest of the request that was shown to whoever approves: another one is not signed,
	// which is ErrOther. Nil: whichever it is. A reference daemon takes no notice.
	Shown *pki.Digest

	// Template is a CSR in PEM from which subject and extensions are taken, and only the
	// key from the request.
	Template []byte

	Profile  string        // "" for that of the request
	Validity time.Duration // in whole seconds, 0 for the profile's
}

func (a Approval) query() url.Values {
	query := profileQuery(a.Profile)
	if a.Validity > 0 {
		if query == nil {
			query = url.Values{}
		}
		query.Set("validity", strconv.FormatInt(int64(a.Validity/time.Second), 10))
	}
	return query
}

// Approve signs a pending request; ErrAwaiting means that other users have to approve it, too. A reference daemon takes no notice of
// profile and validity.
func (s *Session) Approve(ctx context.Context, id ID, how Approval) error {
	c := call{op: "sign request " + id.String(), method: http.MethodPut, path: "/crt/" + id.String(), query: how.query(), want: http.StatusNoContent}
	if len(how.Template) > 0 {
		template, err := pki.CanonicalRequest(how.Template)
		if err != nil {
			return err
		}
		c.body, c.typ = template, typePKCS10
	}
	err := s.decide(ctx, c, how.Shown)
	if waits := (*StatusError)(nil); errors.As(err, &waits) && waits.Status == http.StatusAccepted {
		return fmt.Errorf("request %s: %w: %s", id, ErrAwaiting, waits.Reason)
	}
	return err
}

// Reject removes a pending request, see [Approval] for what was shown. The reason, "" for none, is told to whoever has
// the request.
func (s *Session) Reject(ctx context.Context, id ID, shown *pki.Digest, reason string) error {
	c := call{op: "reject request " + id.String(), method: http.MethodDelete, path: "/csr/" + id.String(), want: http.StatusNoContent}
	if reason == "" {
		return s.decide(ctx, c, shown)
	}
	// Queries get into logs. A daemon that looks for the reason in the query only refuses one without a value, and has
	// decided nothing then.
	c.query, c.reason = url.Values{"reason": {""}}, reason
	err := s.decide(ctx, c, shown)
	if !IsStatus(err, http.StatusBadRequest) {
		return err
	}
	c.query, c.reason = url.Values{"reason": {reason}}, ""
	return s.decide(ctx, c, shown)
}

// Submit is [Client.SubmitFor] over HTTPS, in the user's name.
func (s *Session) Submit(ctx context.Context, csrPEM []byte, how Submission) (ID, error) {
	return submit(ctx, s.https, csrPEM, how)
}

func (s *Session) decide(ctx context.Context, c call, shown *pki.Digest) error {
	if shown != nil {
		c.match = `"` + shown.String() + `"`
	}
	_, _, err := s.https.do(ctx, c)
	if IsStatus(err, http.StatusPreconditionFailed) {
		return fmt.Errorf("%w: %w", ErrOther, err)
	}
	return err
}
