package ca

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// MaxReason bounds the reason of a rejection, in bytes.
const MaxReason = 500

const (
	// rejectionTTL is how long it is remembered that a request was rejected.
	rejectionTTL = 30 * 24 * time.Hour
	// maxRejections is how many rejections an authority remembers, the newest ones. Only users make them.
	maxRejections = 1000
)

// ErrRejected means that a user has decided against a request.
var ErrRejected = errors.New("the request was rejected")

// A Rejected is a decision against a request. It is an ErrRejected.
type Rejected struct {
	At     time.Time
	Reason string // the user's words, which can be printed; empty: none
}

func (r *Rejected) Error() string {
	text := fmt.Sprintf("%v on %s", ErrRejected, r.At.UTC().Format(time.RFC3339))
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// Is has a Rejected be an ErrRejected.
func (r *Rejected) Is(target error) bool { return target == ErrRejected }

// Reject removes a pending request, if it is one of those shown, and remembers why for whoever has made it.
func (a *Authority) Reject(ctx context.Context, actor audit.Actor, id int64, shown Shown, reason string) (err error) {
	defer a.observe(audit.Reject, &err)
	now := a.clock.Now()
	object := audit.RequestObject(id)
	reason, err = cleanReason(reason)
	if err != nil {
		return err
	}
	err = a.updateFor(ctx, actor, func(tx store.Tx) error {
		req, err := a.pending(ctx, tx, id, shown)
		if err != nil {
			return err
		}
		if err := tx.DeleteRequest(ctx, a.name, id); err != nil {
			return err
		}
		err = tx.PutRejection(ctx, store.Rejection{
			Authority: a.name, ID: id, Digest: req.Digest, KeyID: req.KeyID, RejectedAt: now, RejectedBy: actor.String(), Reason: reason,
		})
		if err != nil {
			return err
		}
		// The bound holds whenever somebody looks.
		if _, err := tx.PruneRejections(ctx, a.name, time.Time{}, maxRejections, pruneBatch); err != nil {
			return err
		}
		e := a.detailed(a.entry(now, actor, audit.Reject, object), req.Subject, req.SANs)
		if reason != "" {
			e.Detail += " reason: " + reason
		}
		return tx.AppendAudit(ctx, e)
	})
	if err != nil {
		return a.refused(ctx, now, actor, audit.Reject, object, err)
	}
	return nil
}

// cleanReason is a reason as it is kept: a line that can be printed.
func cleanReason(reason string) (string, error) {
	if len(reason) > MaxReason {
		return "", fmt.Errorf("%w: a reason of %d bytes, at most %d are accepted", ErrInvalid, len(reason), MaxReason)
	}
	reason = pki.EscapeText(strings.Join(strings.Fields(reason), " "))
	if len(reason) > MaxReason {
		reason = strings.ToValidUTF8(reason[:MaxReason-len("…")], "") + "…"
	}
	return reason, nil
}

// Rejection returns the decision against the request with a digest, or ErrNotFound if there is none, if it is not
// remembered any more, and if the request is pending again or was signed since. An id that is not zero has to be that of the
// request, too.
func (a *Authority) Rejection(ctx context.Context, id int64, digest pki.Digest) (found *Rejected, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		row, err := r.RejectionByDigest(ctx, a.name, digest[:])
		switch {
		case errors.Is(err, store.ErrNotFound):
			return ErrNotFound
		case err != nil:
			return err
		case id != 0 && row.ID != id:
			return ErrNotFound
		}
		switch _, err := r.RequestByDigest(ctx, a.name, digest[:]); {
		case err == nil:
			return ErrNotFound
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		switch crt, err := r.CertificateByCSR(ctx, a.name, digest[:]); {
		case err == nil && !crt.IssuedAt.Before(row.RejectedAt):
			return ErrNotFound
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
		found = &Rejected{At: row.RejectedAt, Reason: row.Reason}
		return nil
	})
	return found, err
}

// pruneRejections forgets those that are old, or beyond what is remembered.
func (a *Authority) pruneRejections(ctx context.Context, now time.Time) error {
	return a.prune(ctx, func(tx store.Tx) (int, error) {
		return tx.PruneRejections(ctx, a.name, now.Add(-rejectionTTL), maxRejections, pruneBatch)
	})
}
