package client

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"cauase/pkg/witness"
)

var (
	// ErrNoLog is a daemon that offers no log, such as a reference daemon, or one of an earlier version.
	ErrNoLog = errors.New("the daemon offers no log of what it has issued")

	// ErrNotLogged is a certificate that the log does not have: it was issued before there was one, by another daemon, or by somebody
	// who has stolen the key of a CA.
	ErrNotLogged = errors.New("the log of the daemon does not have this certificate")
)

// LogHead asks for the newest checkpoint of the daemon's log, and for the proof that it continues one that is kept here; nil: none is.
// That one is shown to the daemon, which may have to learn from it that its own log was rewritten. What is trusted vouches for the answer.
// How the two compare is for [witness.State.Judge] to say.
func (c *Client) LogHead(ctx context.Context, kept *witness.Kept, trusted []*x509.Certificate) (witness.Head, error) {
	return c.logHead(ctx, kept, trusted, nil)
}

// LogHeadAgain is LogHead for who has just asked the same, and wants no answer that anybody has kept.
func (c *Client) LogHeadAgain(ctx context.Context, kept *witness.Kept, trusted []*x509.Certificate) (witness.Head, error) {
	return c.logHead(ctx, kept, trusted, http.Header{"Cache-Control": {"no-cache"}})
}

func (c *Client) logHead(ctx context.Context, kept *witness.Kept, trusted []*x509.Certificate, header http.Header) (witness.Head, error) {
	const op = "get checkpoint of the log"
	asked := call{op: op, method: http.MethodGet, path: "/log/checkpoint", want: http.StatusOK, limit: witness.MaxAnswer, header: http.Header{}}
	maps.Copy(asked.header, header)
	from := int64(0)
	if kept != nil {
		from = kept.Size
		asked.query = url.Values{"size": {strconv.FormatInt(from, 10)}, "root": {base64.URLEncoding.EncodeToString(kept.Root[:])}}
		asked.header.Set(witness.HeaderCheckpoint, base64.StdEncoding.EncodeToString([]byte(kept.Signed)))
	}
	body, _, err := c.http.do(ctx, asked)
	if noSuchRoute(err) {
		return witness.Head{}, fmt.Errorf("%s: %w", op, ErrNoLog)
	}
	if err != nil {
		return witness.Head{}, err
	}
	answer, err := witness.ParseAnswer(body)
	if err != nil {
		return witness.Head{}, fmt.Errorf("%s: %w", op, err)
	}
	head, err := answer.Verify(witness.Vouching{CAs: trusted, At: c.options.Clock.Now()}, from)
	if err != nil {
		return head, fmt.Errorf("%s: %w", op, err)
	}
	return head, nil
}

// LogProof asks for the proof that the log has a certificate, as of a checkpoint that is known here to be part of it. What is trusted
// vouches for the answer, which is returned as it came but for that checkpoint.
func (c *Client) LogProof(ctx context.Context, crt *x509.Certificate, at witness.Kept, trusted []*x509.Certificate) (witness.Proof, witness.Inclusion, error) {
	const op = "get proof of the log"
	digest := sha256.Sum256(crt.Raw)
	body, _, err := c.http.do(ctx, call{
		op: op, method: http.MethodGet, path: "/log/proof", want: http.StatusOK, limit: witness.MaxAnswer,
		query: url.Values{"digest": {hex.EncodeToString(digest[:])}, "size": {strconv.FormatInt(at.Size, 10)}},
	})
	if IsStatus(err, http.StatusNotFound) {
		// Not of a daemon without a log, which has been asked for a checkpoint before.
		return witness.Proof{}, witness.Inclusion{}, fmt.Errorf("%s: %w", op, ErrNotLogged)
	}
	if err != nil {
		return witness.Proof{}, witness.Inclusion{}, err
	}
	p, err := witness.ParseProof(body)
	if err != nil {
		return p, witness.Inclusion{}, fmt.Errorf("%s: %w", op, err)
	}
	p.Check = at.Signed
	proved, err := p.Verify(witness.Vouching{CAs: trusted, At: c.options.Clock.Now()}, crt.Raw)
	if err != nil {
		return p, proved, fmt.Errorf("%s: %w", op, err)
	}
	return p, proved, nil
}
