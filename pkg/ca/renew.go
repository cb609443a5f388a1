package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// replayWindow is how long the same renewal is answered with the certificate it has already
// produced: long enough for a client that has lost the answer, and short enough for one that
// uses the same key and request for years.
const replayWindow = time.Hour

// errNoHolder refuses a Holder that this authority has not returned.
var errNoHolder = fmt.Errorf("%w: not a holder of a certificate of this authority", ErrUnauthorized)

// Holder returns actor as the holder of crt, if crt was issued here and is valid, and verify finds
// the holder's proof to be made with its key. Only then is verify called: before, the key could be
// anything, and arithmetic with it take any time. That crt is not revoked is for the operation that
// follows to see.
//
// A certificate that does not verify is ErrInvalid: unlike a user at the TLS handshake, nobody has
// claimed to be anybody yet. A proof that does not is ErrUnauthorized.
func (a *Authority) Holder(ctx context.Context, actor audit.Actor, crt *x509.Certificate, verify func(crypto.PublicKey) error) (Holder, error) {
	now := a.clock.Now()
	st, err := a.current(ctx, now)
	if err != nil {
		return Holder{}, err
	}
	if _, err := pki.VerifyIssued(crt, certificates(st.valid(now)), now); err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := verify(crt.PublicKey); err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	actor.Kind, actor.Serial, actor.KeyID = audit.Holder, crt.SerialNumber, keyID
	return Holder{authority: a, actor: actor, crt: crt}, nil
}

// Refused records that a front-end refuses an operation to a holder, and returns why. What is
// refused to nobody, the zero Holder, is counted, but not recorded: strangers could fill the disk.
func (a *Authority) Refused(ctx context.Context, h Holder, action audit.Action, why error) (err error) {
	defer a.observe(action, &err)
	if h.authority != a {
		return why
	}
	return a.refused(ctx, a.clock.Now(), h.actor, action, audit.SerialObject(h.crt.SerialNumber), why)
}

// Renew issues the successor of the holder's certificate: same subject and extensions, the public
// key of req, full validity.
//
// The same request again, within an hour, gets the same certificate: an answer that was lost
// can be asked for again, and a repeated or intercepted message produces nothing new.
func (a *Authority) Renew(ctx context.Context, h Holder, req *pki.Request) (_ Issued, err error) {
	defer a.observe(audit.Renew, &err)
	if h.authority != a {
		return Issued{}, errNoHolder
	}
	now := a.clock.Now()
	issued, err := a.renew(ctx, now, h.actor, h.crt, req)
	if err != nil {
		return Issued{}, a.refused(ctx, now, h.actor, audit.Renew, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return issued, nil
}

func (a *Authority) renew(ctx context.Context, now time.Time, actor audit.Actor, old *x509.Certificate, req *pki.Request) (Issued, error) {
	kept, validity, err := a.inherited(ctx, old)
	if err != nil {
		return Issued{}, err
	}
	var done store.Certificate
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		crt, err := a.issue(now, st, issuance{id: id, request: req, method: store.Renewed, renews: old, profile: kept, validity: validity})
		if err != nil {
			return err
		}
		return a.store.Update(ctx, func(tx store.Tx) error {
			done = crt
			if err := store.Prefetch(ctx, tx, func(r store.Reader) {
				_ = a.notRevoked(ctx, r, old, ErrInvalid)
				_, _ = a.replayed(ctx, r, now, old, req)
				_ = a.checkRenewalKey(ctx, r, old, req)
				_, _ = r.Counter(ctx, a.name, store.CounterCA)
			}); err != nil {
				return err
			}
			if err := a.notRevoked(ctx, tx, old, ErrInvalid); err != nil {
				return err
			}
			earlier, err := a.replayed(ctx, tx, now, old, req)
			if err == nil {
				done = earlier
				return nil
			}
			if !errors.Is(err, ErrNotFound) {
				return err
			}
			if err := a.checkRenewalKey(ctx, tx, old, req); err != nil {
				return err
			}
			return a.record(ctx, tx, now, st, actor, audit.Renew, crt)
		})
	})
	if err == nil {
		err = a.knowIssuer(ctx, done) // a repeated renewal may have been answered by another daemon
	}
	if err != nil {
		return Issued{}, err
	}
	return a.issued(done)
}

// checkRenewalKey is checkKey, but lets a user keep the key of the certificate that is renewed.
func (a *Authority) checkRenewalKey(ctx context.Context, r store.Reader, old *x509.Certificate, req *pki.Request) error {
	err := a.checkKey(ctx, r, req)
	if errors.Is(err, ErrConflict) && pki.SameKey(old.PublicKey, req.CSR.PublicKey) {
		return nil
	}
	return err
}

// replayed finds the certificate that the same renewal has produced within the replay window.
func (a *Authority) replayed(ctx context.Context, r store.Reader, now time.Time, old *x509.Certificate, req *pki.Request) (store.Certificate, error) {
	crt, err := a.usableByCSR(ctx, r, now, req)
	if err != nil {
		return crt, err
	}
	if crt.Renews == nil || crt.Renews.Cmp(old.SerialNumber) != 0 || now.Sub(crt.IssuedAt) > min(replayWindow, a.spans.Leaf/4) {
		return crt, ErrNotFound
	}
	return crt, nil
}

// notRevoked fails with an error of the given kind if crt is revoked.
func (a *Authority) notRevoked(ctx context.Context, r store.Reader, crt *x509.Certificate, kind error) error {
	switch _, err := r.Revocation(ctx, a.name, crt.SerialNumber); {
	case err == nil:
		return fmt.Errorf("%w: certificate %s is revoked", kind, crt.SerialNumber)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}
