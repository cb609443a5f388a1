package caucase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// Rejections are told to whoever asks for errors in the form of RFC 9457, and has the request (docs/protocol.md, "Rejections").
const (
	typeProblem  = "application/problem+json"
	typeRejected = "cauase:rejected"
)

type rejectionWire struct {
	Type     string    `json:"type"`
	Title    string    `json:"title"`
	Status   int       `json:"status"`
	Detail   string    `json:"detail"`
	Rejected time.Time `json:"rejected_at"`
	Reason   string    `json:"reason,omitempty"`
}

func replyRejected(x *server.Exchange, status int, r *ca.Rejected) error {
	body, err := json.Marshal(rejectionWire{
		Type: typeRejected, Title: "The request was rejected", Status: status, Detail: r.Error(), Rejected: r.At.UTC(), Reason: r.Reason,
	})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	x.Vary("Accept")
	return x.Reply(status, typeProblem, body)
}

// headerReason has the reason of a rejection, percent-encoded (RFC 3986 2.1). In a query it would get into logs.
const headerReason = "Cauase-Reason"

// rejectionReason reads why a user rejects a request. With the header, a parameter may be there without a value, which
// daemons refuse that do not know the header.
func rejectionReason(x *server.Exchange) (string, error) {
	values := x.Request.Header.Values(headerReason)
	if len(values) == 0 {
		return parameter(x, "reason")
	}
	query, err := url.ParseQuery(x.Request.URL.RawQuery)
	if err != nil {
		return "", server.Refuse(http.StatusBadRequest, "malformed query")
	}
	if len(values) != 1 || values[0] == "" || query.Get("reason") != "" || len(query["reason"]) > 1 {
		return "", server.Refuse(http.StatusBadRequest, "the reason must be given once, with a value")
	}
	reason, err := url.PathUnescape(values[0])
	if err != nil {
		return "", server.Refuse(http.StatusBadRequest, "%s is not percent-encoded", headerReason)
	}
	return reason, nil
}

// tellRejection answers about a request that is not there, to whoever knows its digest, or returns absent.
func tellRejection(ctx context.Context, x *server.Exchange, a Core, id int64, digest pki.Digest, absent error) error {
	rejected, err := a.Rejection(ctx, id, digest)
	switch {
	case errors.Is(err, ca.ErrNotFound):
		return absent
	case err != nil:
		return err
	}
	return replyRejected(x, http.StatusNotFound, rejected)
}
