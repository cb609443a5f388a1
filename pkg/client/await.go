package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// ErrNoWait says that a daemon does not tell of new revocation lists by itself.
var ErrNoWait = errors.New("the daemon does not tell of new revocation lists: it has to be asked")

// An Awaited is the end of a wait for new revocation lists.
type Awaited struct {
	Served *ServedCRLs // nil if there are none yet
	// RetryAfter is for how long the daemon does not want to be asked again, 0 for no time.
	RetryAfter time.Duration
	// Closing says that the daemon has ended the wait because it ends itself.
	Closing bool
}

// AwaitCRLs asks the daemon to answer as soon as it has revocation lists with a number above after, and to wait so long
// for them. tag is as in [Client.RevalidateCRLs]. It fails with [ErrNoWait] if the daemon does not wait: one that
// does not know how to, such as caucase, ignores the parameters and answers at once.
func (c *Client) AwaitCRLs(ctx context.Context, after *big.Int, wait time.Duration, tag string) (Awaited, error) {
	const op = "wait for new revocation lists"
	query := url.Values{"after": {after.String()}, "wait": {fmt.Sprintf("%ds", int64(wait/time.Second))}}
	began := c.options.Clock.Now()
	body, header, err := c.http.do(ctx, call{
		op: op, method: http.MethodGet, path: "/crl", query: query, want: http.StatusOK, limit: pki.MaxCRLSize, tag: tag, wait: wait,
	})
	if err != nil {
		return Awaited{}, err
	}
	later := retryAfter(header)
	if body != nil {
		served, err := parseServed(body, header)
		switch {
		case err != nil:
			return Awaited{}, fmt.Errorf("%s: %w", op, err)
		case !served.above(after):
			return Awaited{}, fmt.Errorf("%s: %w", op, ErrNoWait)
		}
		return Awaited{Served: served, RetryAfter: later}, nil
	}
	closing := header.Get("Connection") == "close" // it ends, and its successor may know
	if later == 0 && !closing && c.options.Clock.Now().Sub(began) < wait/2 {
		return Awaited{}, fmt.Errorf("%s: %w", op, ErrNoWait)
	}
	return Awaited{RetryAfter: later, Closing: closing}, nil
}

// above reports whether one of the lists has a number above this one.
func (s *ServedCRLs) above(number *big.Int) bool {
	return slices.ContainsFunc(s.crls, func(crl *x509.RevocationList) bool { return crl.Number != nil && crl.Number.Cmp(number) > 0 })
}
