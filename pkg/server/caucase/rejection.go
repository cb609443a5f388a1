package caucase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
