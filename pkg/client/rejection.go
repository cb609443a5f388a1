package client

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

// ErrRejected says that somebody has decided against a request.
var ErrRejected = errors.New("the request was rejected, or is long forgotten")

// A Rejection is a user's decision against a request, as the daemon tells it to whoever has the request. It is an
// ErrRejected.
type Rejection struct {
	At     time.Time
	Reason string // the user's words, printable, "" for none
}

func (r *Rejection) Error() string {
	text := "the request was rejected " + r.At.UTC().Format(time.RFC3339)
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// Is has a Rejection be an ErrRejected.
func (r *Rejection) Is(target error) bool { return target == ErrRejected }

// Errors are asked for in the form of RFC 9457, which tells of rejections, and taken in any.
const (
	typeProblem   = "application/problem+json"
	acceptProblem = typeProblem + ", */*;q=0.5"

	// typeRejected is the type of the problem that a rejection is (protocol: "Rejections").
	typeRejected = "cauase:rejected"
)

// headerReason has the reason of a rejection (protocol: "Rejections").
const headerReason = "Cauase-Reason"

// maxRejection bounds the reason of a rejection, in bytes.
const maxRejection = 500

type problemWire struct {
	Type     string    `json:"type"`
	Detail   string    `json:"detail"`
	Rejected time.Time `json:"rejected_at"`
	Reason   string    `json:"reason"`
}

// statusError reads the answer that refuses a call.
func statusError(resp *http.Response, body []byte) *StatusError {
	e := &StatusError{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	typ, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || typ != typeProblem {
		e.Reason = reason(body)
		return e
	}
	var wire problemWire
	if err := json.Unmarshal(body, &wire); err != nil {
		return e
	}
	e.Reason = reason([]byte(wire.Detail))
	if wire.Type == typeRejected && (e.Status == http.StatusConflict || e.Status == http.StatusNotFound) {
		e.Rejection = &Rejection{At: wire.Rejected, Reason: pki.EscapeText(wire.Reason[:min(len(wire.Reason), maxRejection)])}
	}
	return e
}

// retryAfter reads the header of that name (RFC 9110 10.2.3), if it has seconds. Daemons send no dates in it.
func retryAfter(header http.Header) time.Duration {
	const longest = 24 * 60 * 60
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(min(seconds, longest)) * time.Second
}

// Rejection returns how a request was rejected that the daemon has under an ID no more, as far as it tells: to whoever
// knows the request by its digest, and a while later only. Nil: it does not.
func (c *Client) Rejection(ctx context.Context, id ID, digest pki.Digest) (*Rejection, error) {
	_, _, err := c.http.do(ctx, call{
		op: "get request " + id.String(), method: http.MethodGet, path: "/csr/" + id.String(), query: url.Values{"digest": {digest.String()}},
		accept: acceptProblem, want: http.StatusOK,
	})
	var rejected *Rejection
	switch {
	case errors.As(err, &rejected):
		return rejected, nil
	case err == nil, IsStatus(err, http.StatusNotFound):
		return nil, nil
	}
	return nil, err
}
