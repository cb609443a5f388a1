package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// replayWindow is how long the same renewal is answered with the certificate it has already
// produced: long enough for a client that has lost the answer, and short enough for one that
// uses the same key and request for years.
const replayWindow = time.Hour

// Renew issues the successor of a certificate to whoever holds its key: same subject and
// extensions, new public key, full validity. It returns the certificate, PEM.
//
// The same envelope again, within an hour, gets the same certificate: an answer that was lost
// can be asked for again, and a repeated or intercepted envelope produces nothing new.
func (a *Authority) Renew(ctx context.Context, actor audit.Actor, e *envelope.Envelope) (crtPEM []byte, err error) {
	defer a.observe(audit.Renew, &err)
	now := a.clock.Now()
	renewal, err := envelope.DecodeRenewal(e.Payload())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	old, err := pki.ParseCertificatePEM([]byte(renewal.CertificatePEM))
	if err != nil {
		return nil, fmt.Errorf("%w: crt_pem: %w", ErrInvalid, err)
	}
	holder, err := a.holder(ctx, now, actor, old, e)
	if err != nil {
		return nil, err
	}
	crtPEM, err = a.renew(ctx, now, holder, old, []byte(renewal.RequestPEM))
	if err != nil {
		return nil, a.refused(ctx, now, holder, audit.Renew, audit.SerialObject(old.SerialNumber), err)
	}
	return crtPEM, nil
}

// holder turns actor into the holder of crt, if crt was issued here and is valid, and e is
// signed with its key. That it is not revoked is for the transaction that follows to see. A
// certificate that does not verify is bad input, as it is to the reference: unlike a user at the TLS
// handshake, nobody has claimed to be anybody yet.
func (a *Authority) holder(ctx context.Context, now time.Time, actor audit.Actor, crt *x509.Certificate, e *envelope.Envelope) (audit.Actor, error) {
	if e.Null() {
		return actor, fmt.Errorf("%w: the envelope is not signed", ErrUnauthorized)
	}
	st, err := a.current(ctx, now)
	if err != nil {
		return actor, err
	}
	// First that we have issued it: only then is its key one that we have found fit for arithmetic.
	if _, err := pki.VerifyIssued(crt, certificates(st.valid(now)), now); err != nil {
		return actor, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := e.Verify(crt.PublicKey); err != nil {
		return actor, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return actor, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	actor.Kind, actor.Serial, actor.KeyID = audit.Holder, crt.SerialNumber, keyID
	return actor, nil
}

func (a *Authority) renew(ctx context.Context, now time.Time, actor audit.Actor, old *x509.Certificate, csrPEM []byte) ([]byte, error) {
	req, err := pki.ParseRequest(csrPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: renew_csr_pem: %w", ErrInvalid, err)
	}
	var der []byte
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		crt, err := a.issue(now, st, issuance{id: id, request: req, method: store.Renewed, renews: old})
		if err != nil {
			return err
		}
		return a.store.Update(ctx, func(tx store.Tx) error {
			der = crt.DER
			if err := store.Ahead(ctx, tx, func(r store.Reader) {
				_ = a.notRevoked(ctx, r, old, ErrInvalid)
				_, _ = a.replayed(ctx, r, now, old, req)
				_ = a.checkRenewalKey(ctx, r, old, req)
				_, _ = r.Counter(ctx, a.cfg.Name, store.CounterCA)
			}); err != nil {
				return err
			}
			if err := a.notRevoked(ctx, tx, old, ErrInvalid); err != nil {
				return err
			}
			earlier, err := a.replayed(ctx, tx, now, old, req)
			if err == nil {
				der = earlier.DER
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
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificatePEM(der), nil
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
	if crt.Renews == nil || crt.Renews.Cmp(old.SerialNumber) != 0 || now.Sub(crt.IssuedAt) > min(replayWindow, a.cfg.Spans.Leaf/4) {
		return crt, ErrNotFound
	}
	return crt, nil
}

// notRevoked fails with an error of the given kind if crt is revoked.
func (a *Authority) notRevoked(ctx context.Context, r store.Reader, crt *x509.Certificate, kind error) error {
	switch _, err := r.Revocation(ctx, a.cfg.Name, crt.SerialNumber); {
	case err == nil:
		return fmt.Errorf("%w: certificate %s is revoked", kind, crt.SerialNumber)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}
