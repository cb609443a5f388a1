package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A Forgetting is what a daemon may have forgotten, as it was restored from a backup.
type Forgetting struct {
	RestoredAt time.Time
	Number     int64 // of the newest revocation list from before that it knows of
	Next       int64 // of the first that was made since, at least
}

// Forgotten asks the daemon what it may have forgotten; nil: nothing, or it is one that does not ask.
func (c *Client) Forgotten(ctx context.Context) (*Forgetting, error) {
	const op = "ask what was forgotten"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/recover", want: http.StatusOK})
	if IsStatus(err, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnauthorized) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var wire struct {
		RestoredAt time.Time `json:"restored_at"`
		Number     int64     `json:"crl_number,string"`
		Next       int64     `json:"next_crl_number,string"`
	}
	if err := json.Unmarshal(body, &wire); err != nil || wire.RestoredAt.IsZero() {
		return nil, fmt.Errorf("%s: the answer cannot be read", op)
	}
	return &Forgetting{RestoredAt: wire.RestoredAt, Number: wire.Number, Next: wire.Next}, nil
}

// Evidence picks the list that tells the daemon most of what it has forgotten, nil if none does: the newest that it does not know, of a CA
// that is trusted.
func (f *Forgetting) Evidence(trusted []*x509.Certificate, lists []*x509.RevocationList) (best *x509.RevocationList) {
	for _, ca := range trusted {
		var before []*x509.RevocationList
		for _, list := range lists {
			if list.Number != nil && list.Number.Cmp(big.NewInt(f.Number)) > 0 && list.Number.Cmp(big.NewInt(f.Next)) < 0 {
				before = append(before, list)
			}
		}
		if one := newestCRL(ca, before); one != nil && (best == nil || one.Number.Cmp(best.Number) > 0) {
			best = one
		}
	}
	return best
}

// restoreJump is half of how far a restored daemon numbers its lists ahead.
var restoreJump = new(big.Int).Lsh(big.NewInt(1), 39)

// Jumped reports whether lists are numbered so far ahead of earlier ones that the daemon was restored in between.
func Jumped(earlier, later []*x509.RevocationList) bool {
	was, is := highest(earlier), highest(later)
	return was != nil && is != nil && new(big.Int).Sub(is, was).Cmp(restoreJump) > 0
}

func highest(lists []*x509.RevocationList) (n *big.Int) {
	for _, list := range lists {
		if list.Number != nil && (n == nil || list.Number.Cmp(n) > 0) {
			n = list.Number
		}
	}
	return n
}

// Recalled is what a daemon has learnt from a host.
type Recalled struct {
	Recorded bool `json:"recorded"`          // the certificate was not on record
	Added    int  `json:"revocations_added"` // were forgotten
	Known    int  `json:"revocations_known"`
}

// ErrListTooLong says that a list cannot be sent.
var ErrListTooLong = errors.New("the revocation list is too long to be sent to the daemon")

// maxEvidence bounds a list that is sent, DER, so that it fits into a message.
const maxEvidence = 6 << 20

// Recover shows the daemon the certificate that crt is, whose key signs, and a list with what it has revoked before it was restored;
// nil: none.
func (c *Client) Recover(ctx context.Context, crt *x509.Certificate, key crypto.Signer, list *x509.RevocationList) (done Recalled, err error) {
	const op = "tell what was forgotten"
	message := envelope.Recovery{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw))}
	if list != nil {
		if len(list.Raw) > maxEvidence {
			return done, ErrListTooLong
		}
		message.ListPEM = string(pki.EncodeCRLPEM(list.Raw))
	}
	payload, err := envelope.EncodeRecovery(message)
	if err != nil {
		return done, err
	}
	signed, err := envelope.Sign(key, payload)
	if err != nil {
		return done, err
	}
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodPut, path: "/recover", body: signed, typ: typeJSON, want: http.StatusOK})
	if err != nil {
		return done, err
	}
	if err := json.Unmarshal(body, &done); err != nil {
		return done, fmt.Errorf("%s: the answer cannot be read", op)
	}
	return done, nil
}
