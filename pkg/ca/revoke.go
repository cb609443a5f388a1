package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// RevokeOwn revokes the holder's certificate.
func (a *Authority) RevokeOwn(ctx context.Context, h Holder, reason int) (err error) {
	defer a.observe(audit.Revoke, &err)
	if h.authority != a {
		return errNoHolder
	}
	now := a.clock.Now()
	if err := a.revoke(ctx, now, h.actor, h.crt, reason); err != nil {
		return a.refused(ctx, now, h.actor, audit.Revoke, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return nil
}

// RevokeCertificate revokes a certificate on behalf of an authenticated user.
func (a *Authority) RevokeCertificate(ctx context.Context, actor audit.Actor, crt *x509.Certificate, reason int) (err error) {
	defer a.observe(audit.Revoke, &err)
	now := a.clock.Now()
	if err := a.revokeIssued(ctx, now, actor, crt, reason); err != nil {
		return a.refused(ctx, now, actor, audit.Revoke, audit.SerialObject(crt.SerialNumber), err)
	}
	return nil
}

// RevokeSerial revokes the certificate with a serial, on behalf of an authenticated user.
func (a *Authority) RevokeSerial(ctx context.Context, actor audit.Actor, serial *big.Int, reason int) (err error) {
	defer a.observe(audit.Revoke, &err)
	now := a.clock.Now()
	if err := a.revokeSerial(ctx, now, actor, serial, reason); err != nil {
		return a.refused(ctx, now, actor, audit.Revoke, audit.SerialObject(serial), err)
	}
	return nil
}

// revokeIssued revokes a certificate after checking that it is one of ours, and valid.
func (a *Authority) revokeIssued(ctx context.Context, now time.Time, actor audit.Actor, crt *x509.Certificate, reason int) error {
	st, err := a.current(ctx, now)
	if err != nil {
		return err
	}
	if _, err := pki.VerifyIssued(crt, certificates(st.valid(now)), now); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return a.revoke(ctx, now, actor, crt, reason)
}

func (a *Authority) revoke(ctx context.Context, now time.Time, actor audit.Actor, crt *x509.Certificate, reason int) error {
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return err
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		return a.addRevocation(ctx, tx, now, actor, pki.SubjectString(crt.RawSubject), store.Revocation{
			Authority: a.name,
			Serial:    crt.SerialNumber,
			KeyID:     keyID,
			RevokedAt: now.Add(-a.crlBackdate()),
			KeepUntil: a.keepUntil(crt.NotAfter),
			Reason:    reason,
		})
	})
}

// revokeSerial revokes a certificate that is perhaps not on record: it may have been issued
// before the records begin. How long it lives is then unknown, but no longer than any CA.
func (a *Authority) revokeSerial(ctx context.Context, now time.Time, actor audit.Actor, serial *big.Int, reason int) error {
	st, err := a.current(ctx, now)
	if err != nil {
		return err
	}
	for _, g := range st.list {
		if g.crt.SerialNumber.Cmp(serial) == 0 || g.trusted().SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("%w: %s is the serial of a CA certificate", ErrInvalid, serial)
		}
	}
	rev := store.Revocation{
		Authority: a.name,
		Serial:    serial,
		RevokedAt: now.Add(-a.crlBackdate()),
		KeepUntil: a.keepUntil(st.list[len(st.list)-1].times.NotAfter),
		Reason:    reason,
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		subject := "not on record"
		switch crt, err := tx.CertificateBySerial(ctx, a.name, serial); {
		case err == nil:
			rev.KeyID, rev.KeepUntil, subject = crt.KeyID, a.keepUntil(crt.NotAfter), crt.Subject
			if now.After(crt.NotAfter) {
				return fmt.Errorf("%w: certificate %s has expired", ErrInvalid, serial)
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return a.addRevocation(ctx, tx, now, actor, subject, rev)
	})
}

// keepUntil is how long a revocation is kept of a certificate that is valid until notAfter.
func (a *Authority) keepUntil(notAfter time.Time) time.Time {
	return store.Latest(notAfter.Add(a.CRLLife()))
}

// addRevocation stores rev and makes the revocation lists out of date.
func (a *Authority) addRevocation(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, subject string, rev store.Revocation) error {
	switch _, err := tx.AddRevocation(ctx, rev); {
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%w: certificate %s is revoked already", ErrConflict, rev.Serial)
	case err != nil:
		return err
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCRLNumber, 1); err != nil {
		return err
	}
	e := a.entry(now, actor, audit.Revoke, audit.SerialObject(rev.Serial))
	e.Detail = subject
	if rev.Reason != 0 {
		e.Detail += fmt.Sprintf(" reason=%d", rev.Reason)
	}
	return tx.AppendAudit(ctx, e)
}
