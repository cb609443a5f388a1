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
	if err := issuedHere(now, st, crt); err != nil {
		return Holder{}, err
	}
	if err := verify(crt.PublicKey); err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	keyID, err := pki.KeyIDOf(crt)
	if err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	actor.Kind, actor.Serial, actor.KeyID = audit.Holder, crt.SerialNumber, keyID
	return Holder{authority: a, actor: actor, crt: crt}, nil
}

// issuedHere refuses what this authority has not issued, or what is not valid. It has no serial number that cannot be
// on record: others may have issued such with a key that was imported.
func issuedHere(now time.Time, st state, crt *x509.Certificate) error {
	if _, err := pki.VerifyIssued(crt, certificates(st.valid(now)), now); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if serial := crt.SerialNumber; serial.Sign() <= 0 || serial.BitLen() > maxSerialBits {
		return fmt.Errorf("%w: the serial number %#x is not one of 1 to 20 bytes (RFC 5280 4.1.2.2): it can be neither on record nor on a revocation list; "+
			"its holder has to request a new certificate", ErrInvalid, serial)
	}
	return nil
}

// maxSerialBits is the most a serial number may have: 20 bytes.
const maxSerialBits = 160

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
// can be asked for again. After that, and once that certificate is revoked, it gets none: a repeated or
// intercepted message produces nothing new, ever.
func (a *Authority) Renew(ctx context.Context, h Holder, req *pki.Request) (issued Issued, err error) {
	defer a.observeOnce(audit.Renew, &err, &issued.again)
	if h.authority != a {
		return Issued{}, errNoHolder
	}
	now := a.clock.Now()
	issued, err = a.renew(ctx, now, h.actor, h.crt, req)
	if err != nil {
		return Issued{}, a.refused(ctx, now, h.actor, audit.Renew, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return issued, nil
}

func (a *Authority) renew(ctx context.Context, now time.Time, actor audit.Actor, old *x509.Certificate, req *pki.Request) (Issued, error) {
	if limit := MaxRenewalRequest + 2*len(old.Raw); len(req.PEM) > limit { // there are clients that repeat all names
		return Issued{}, fmt.Errorf("%w: the request of this renewal has at most %d bytes, and not %d", ErrInvalid, limit, len(req.PEM))
	}
	var done store.Certificate
	forked, again := false, false
	err := a.retryStale(ctx, func() error {
		forked, again = false, false
		// Who gets none is told so before anything is signed.
		seen, kept, err := a.lookAt(ctx, now, old, req)
		if err != nil {
			return err
		}
		if seen.made != nil {
			done, again = *seen.made, true
			return nil
		}
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		crt, err := a.issue(now, st, issuance{
			id: id, request: req, method: store.Renewed, renews: old, profile: a.cfg.Profiles.ForRenewal(kept.Profile), validity: kept.Validity,
		})
		if err != nil {
			return err
		}
		return a.store.Update(ctx, func(tx store.Tx) error {
			done, forked = crt, false
			if err := store.Prefetch(ctx, tx, func(r store.Reader) {
				_, _ = a.standing(ctx, r, now, old, req)
				_ = a.checkRenewalKey(ctx, r, old, req)
				_, _ = r.Counter(ctx, a.name, store.CounterCA)
			}); err != nil {
				return err
			}
			at, err := a.standing(ctx, tx, now, old, req)
			if err != nil {
				return err
			}
			if at.made != nil {
				done, again = *at.made, true
				return nil
			}
			if err := a.checkRenewalKey(ctx, tx, old, req); err != nil {
				return err
			}
			if err := a.budget(old, kept).spendRenewal(&at.Lineage, now, sizeOf(crt)); err != nil {
				return err
			}
			forked = at.fork && a.cfg.Fork == ForkFlag
			return a.recordRenewal(ctx, tx, now, st, actor, at.continuation, crt)
		})
	})
	if err == nil {
		err = a.knowIssuer(ctx, done) // a repeated renewal may have been answered by another daemon
	}
	if err != nil {
		return Issued{}, err
	}
	if forked {
		a.observe(audit.Fork, &err)
	}
	issued, err := a.issued(done)
	issued.again = again
	return issued, err
}

// budget is that of the lineage of old, which was issued as the row kept says.
func (a *Authority) budget(old *x509.Certificate, kept store.Certificate) budget {
	validity := old.NotAfter.Sub(old.NotBefore)
	if kept.Validity > 0 {
		validity = min(validity, kept.Validity)
	}
	return budgetOf(min(validity, a.spans.Leaf), a.cfg.Renewals)
}

// A standing is how a certificate stands that is to be renewed with a request.
type standing struct {
	continuation
	made *store.Certificate // what the request has made of it a moment ago, to be answered again
}

// lookAt finds the standing of old, and the row by which it was issued, as far as one is on record.
func (a *Authority) lookAt(ctx context.Context, now time.Time, old *x509.Certificate, req *pki.Request) (s standing, kept store.Certificate, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		err := store.Prefetch(ctx, r, func(r store.Reader) {
			_, _ = a.standing(ctx, r, now, old, req)
			_, _ = r.CertificateBySerial(ctx, a.name, old.SerialNumber)
		})
		if err != nil {
			return err
		}
		if s, err = a.standing(ctx, r, now, old, req); err != nil || s.made != nil {
			return err
		}
		if kept, err = r.CertificateBySerial(ctx, a.name, old.SerialNumber); errors.Is(err, store.ErrNotFound) {
			kept, err = store.Certificate{}, nil
		}
		return err
	})
	if err != nil || s.made != nil {
		return s, kept, err
	}
	l, next := s.Lineage, kept
	next.DER, next.CSR = old.Raw, nil // what is to be made is about as large
	return s, kept, a.budget(old, kept).spendRenewal(&l, now, sizeOf(next))
}

// standing finds out what r says of a renewal of old with req, and refuses one that there must not be.
func (a *Authority) standing(ctx context.Context, r store.Reader, now time.Time, old *x509.Certificate, req *pki.Request) (standing, error) {
	made, err := r.RenewalByCSR(ctx, a.name, req.Digest[:], old.SerialNumber)
	replay := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return standing{}, err
	}
	refusal := a.notRevoked(ctx, r, old, ErrInvalid)
	var c continuation
	if refusal == nil {
		c, refusal = a.continuing(ctx, r, old)
	}
	switch {
	case refusal != nil && !errors.Is(refusal, ErrInvalid):
		return standing{}, refusal
	case replay && refusal != nil:
		return standing{}, errReplayed
	case replay:
		return standing{continuation: c, made: &made}, a.repeatable(ctx, r, now, made)
	case refusal != nil:
		return standing{}, refusal
	case c.fork && a.cfg.Fork == ForkRefuse:
		return standing{}, fmt.Errorf("%w: certificate %#x was renewed before; use the one that was made then, or ask for a new one", ErrConflict, old.SerialNumber)
	}
	return standing{continuation: c}, nil
}

// repeatable refuses to answer with what the same renewal has produced once that was too long ago, or it is not valid.
func (a *Authority) repeatable(ctx context.Context, r store.Reader, now time.Time, made store.Certificate) error {
	if now.After(made.NotAfter) || now.Sub(made.IssuedAt) > min(replayWindow, a.spans.Leaf/4) {
		return errReplayed
	}
	switch _, err := r.Revocation(ctx, a.name, made.Serial); {
	case err == nil:
		return errReplayed
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

// checkRenewalKey is checkKey, but lets a user keep the key of the certificate that is renewed.
func (a *Authority) checkRenewalKey(ctx context.Context, r store.Reader, old *x509.Certificate, req *pki.Request) error {
	err := a.checkKey(ctx, r, req.KeyID)
	if errors.Is(err, ErrConflict) && pki.SameKey(old.PublicKey, req.CSR.PublicKey) {
		return nil
	}
	return err
}

// notRevoked fails with an error of the given kind if crt is revoked.
func (a *Authority) notRevoked(ctx context.Context, r store.Reader, crt *x509.Certificate, kind error) error {
	switch _, err := r.Revocation(ctx, a.name, crt.SerialNumber); {
	case err == nil:
		return fmt.Errorf("%w: certificate %#x is %w", kind, crt.SerialNumber, errRevoked)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}
