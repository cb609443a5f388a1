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

// A Revoking says how a certificate is to be revoked. The zero Revoking gives no reason.
type Revoking struct {
	Reason   int  // RFC 5280 5.3.1
	OnlyThis bool // and not its lineage with it
}

// RevokeOwn revokes the holder's certificate. If that is the newest of its lineage, or the key is compromised, the
// lineage ends; an older one goes alone, as whoever has renewed it may want to clean up, and whoever has only
// that one shall not be able to harm whoever has the newest.
func (a *Authority) RevokeOwn(ctx context.Context, h Holder, how Revoking) (err error) {
	defer a.observe(audit.Revoke, &err)
	if h.authority != a {
		return errNoHolder
	}
	now := a.clock.Now()
	if err := a.revoke(ctx, now, h.actor, h.crt, how); err != nil {
		return a.refused(ctx, now, h.actor, audit.Revoke, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return nil
}

// RevokeCertificate revokes a certificate, and ends its lineage, on behalf of an authenticated user. One that is
// superseded goes alone, and so does an older one of the user's own.
func (a *Authority) RevokeCertificate(ctx context.Context, actor audit.Actor, crt *x509.Certificate, how Revoking) (err error) {
	defer a.observe(audit.Revoke, &err)
	now := a.clock.Now()
	if err := a.revokeIssued(ctx, now, actor, crt, how); err != nil {
		return a.refused(ctx, now, actor, audit.Revoke, audit.SerialObject(crt.SerialNumber), err)
	}
	return nil
}

// RevokeSerial is RevokeCertificate for the certificate with a serial.
func (a *Authority) RevokeSerial(ctx context.Context, actor audit.Actor, serial *big.Int, how Revoking) (err error) {
	defer a.observe(audit.Revoke, &err)
	now := a.clock.Now()
	if err := a.revokeSerial(ctx, now, actor, serial, how); err != nil {
		return a.refused(ctx, now, actor, audit.Revoke, audit.SerialObject(serial), err)
	}
	return nil
}

// revokeIssued revokes a certificate after checking that it is one of ours, and valid.
func (a *Authority) revokeIssued(ctx context.Context, now time.Time, actor audit.Actor, crt *x509.Certificate, how Revoking) error {
	st, err := a.current(ctx, now)
	if err != nil {
		return err
	}
	if _, err := issuedHere(now, st, crt); err != nil {
		return err
	}
	return a.revoke(ctx, now, actor, crt, how)
}

func (a *Authority) revoke(ctx context.Context, now time.Time, actor audit.Actor, crt *x509.Certificate, how Revoking) error {
	keyID, err := pki.KeyIDOf(crt)
	if err != nil {
		return err
	}
	rev := store.Revocation{
		Authority: a.name,
		Serial:    crt.SerialNumber,
		KeyID:     keyID,
		RevokedAt: now.Add(-a.crlBackdate()),
		KeepUntil: a.keepUntil(crt.NotAfter),
		Reason:    how.Reason,
	}
	limits := a.budget(crt, store.Certificate{})
	return a.revoked(a.updateFor(ctx, actor, func(tx store.Tx) error {
		return a.withdraw(ctx, tx, now, actor, pki.SubjectString(crt.RawSubject), rev, how, limits)
	}))
}

// revokeSerial revokes a certificate that is perhaps not on record: it may have been issued
// before the records begin. How long it lives is then unknown, but no longer than any CA.
func (a *Authority) revokeSerial(ctx context.Context, now time.Time, actor audit.Actor, serial *big.Int, how Revoking) error {
	st, err := a.current(ctx, now)
	if err != nil {
		return err
	}
	for _, g := range st.list {
		if g.crt.SerialNumber.Cmp(serial) == 0 || g.trusted().SerialNumber.Cmp(serial) == 0 {
			return fmt.Errorf("%w: %#x is the serial of a CA certificate", ErrInvalid, serial)
		}
	}
	return a.revoked(a.updateFor(ctx, actor, func(tx store.Tx) error {
		rev := store.Revocation{
			Authority: a.name,
			Serial:    serial,
			RevokedAt: now.Add(-a.crlBackdate()),
			KeepUntil: a.keepUntil(st.list[len(st.list)-1].times.NotAfter),
			Reason:    how.Reason,
		}
		subject := "not on record"
		switch crt, err := tx.CertificateBySerial(ctx, a.name, serial); {
		case err == nil:
			rev.KeyID, rev.KeepUntil, subject = crt.KeyID, a.keepUntil(crt.NotAfter), crt.Subject
			if now.After(crt.NotAfter) {
				return fmt.Errorf("%w: certificate %#x has expired", ErrInvalid, serial)
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return a.withdraw(ctx, tx, now, actor, subject, rev, how, budgetOf(a.spans.Leaf, a.cfg.Renewals))
	}))
}

// withdraw stores a revocation, and ends the lineage of the certificate unless that goes alone.
func (a *Authority) withdraw(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, subject string, rev store.Revocation, how Revoking, limits budget) error {
	l, err := a.lineageOf(ctx, tx, rev.Serial)
	belongs := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if belongs && actor.Kind == audit.Holder {
		actor.Lineage = lineageText(l.ID)
	}
	alone := !belongs || l.State == store.LineageEnded || a.goesAlone(actor, l, rev.Serial, how)
	listed := 1
	err = a.addRevocation(ctx, tx, now, actor, subject, rev, l.ID)
	// A user goes on with all of what was revoked by itself. Its holder is none any more, and has no say in the others.
	if errors.Is(err, errRevokedBefore) && !alone && actor.Kind != audit.Holder {
		listed, err = 0, nil
	}
	if err != nil {
		return err
	}
	if !alone {
		return a.endLineage(ctx, tx, now, actor, l, rev.Reason, listed)
	}
	if !belongs || actor.Kind != audit.Holder {
		return nil
	}
	if err := limits.spendRevocation(&l, now); err != nil {
		return err
	}
	return tx.PutLineage(ctx, l)
}

// goesAlone reports whether the revocation of one certificate of l leaves the others as they are.
func (a *Authority) goesAlone(actor audit.Actor, l store.Lineage, serial *big.Int, how Revoking) bool {
	newest := l.Newest.Cmp(serial) == 0
	switch {
	case a.cfg.RevokeOne, how.OnlyThis, how.Reason == superseded:
		return true
	case actor.Kind == audit.Holder:
		return !newest && how.Reason != store.KeyCompromise
	}
	own := a.row.Role == store.RoleUsers && actor.Lineage == lineageText(l.ID)
	return own && !newest && actor.Serial != nil && actor.Serial.Cmp(l.Newest) == 0
}

// keepUntil is how long a revocation is kept of a certificate that is valid until notAfter.
func (a *Authority) keepUntil(notAfter time.Time) time.Time {
	return store.Latest(notAfter.Add(a.CRLLife()))
}

// errRevokedBefore means that there is nothing left to do.
var errRevokedBefore = fmt.Errorf("%w: the certificate is revoked already", ErrConflict)

// addRevocation stores rev and makes the revocation lists out of date. The certificate is one of the lineage with the given
// id, 0 if that is not known.
func (a *Authority) addRevocation(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, subject string, rev store.Revocation, lineage int64) error {
	switch _, err := tx.AddRevocation(ctx, rev); {
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%w: %#x", errRevokedBefore, rev.Serial)
	case err != nil:
		return err
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCRLNumber, 1); err != nil {
		return err
	}
	e := a.entry(now, actor, audit.Revoke, audit.SerialObject(rev.Serial).Of(lineage))
	e.Detail = subject
	if rev.Reason != 0 {
		e.Detail += fmt.Sprintf(" reason=%d", rev.Reason)
	}
	if lineage != 0 {
		e.Detail += " lineage=" + lineageText(lineage)
	}
	return tx.AppendAudit(ctx, e)
}
