package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// ErrKeyKept means that a key was to be replaced by itself.
var ErrKeyKept = fmt.Errorf("%w: the request has the key that is to be replaced", ErrInvalid)

// superseded is the reason of a certificate that has been replaced (RFC 5280 5.3.1).
const superseded = 4

// Replace moves a certificate to the key of req: it issues one with the subject and extensions of
// old, and revokes every certificate on record that has old's key. It does not matter whether old
// has expired, as whoever calls it has seen the key; if it is revoked, Replace refuses. The result
// is the new certificate.
//
// Its changes are made in one transaction, or in that of the caller (store.Within).
func (a *Authority) Replace(ctx context.Context, actor audit.Actor, old *x509.Certificate, req *pki.Request) (_ Issued, err error) {
	defer a.observe(audit.Renew, &err)
	now := a.clock.Now()
	if pki.SameKey(old.PublicKey, req.CSR.PublicKey) {
		return Issued{}, ErrKeyKept
	}
	kept, validity, err := a.inherited(ctx, old)
	if err != nil {
		return Issued{}, err
	}
	var crt minted
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		crt, err = a.issue(ctx, now, st, issuance{id: id, request: req, method: store.Renewed, renews: old, profile: kept, validity: validity})
		if err != nil {
			return err
		}
		return a.revoked(a.store.Update(ctx, func(tx store.Tx) error {
			lineage, err := a.continuing(ctx, tx, old, req.KeyID)
			if err != nil {
				return err
			}
			if err := a.checkKey(ctx, tx, req.KeyID); err != nil {
				return err
			}
			lineage.fork = false // whatever was issued after the backup from which it is restored
			if err := a.recordRenewal(ctx, tx, now, st, actor, lineage, crt.Certificate); err != nil {
				return err
			}
			return a.revokeKey(ctx, tx, now, actor, old)
		}))
	})
	if err != nil {
		return Issued{}, a.refused(ctx, now, actor, audit.Renew, audit.SerialObject(old.SerialNumber), err)
	}
	return a.issuedAs(crt)
}

// keyPage is how many certificates are read at a time.
const keyPage = 500

// revokeKey revokes crt, and what else is on record with its key.
func (a *Authority) revokeKey(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt *x509.Certificate) error {
	keyID, err := pki.KeyIDOf(crt)
	if err != nil {
		return err
	}
	rows := []store.Certificate{{Serial: crt.SerialNumber, Subject: pki.SubjectString(crt.RawSubject), NotAfter: crt.NotAfter}}
	for after := int64(0); ; {
		page, err := tx.Certificates(ctx, a.name, after, keyPage)
		if err != nil {
			return err
		}
		for _, row := range page {
			after = row.ID
			if string(row.KeyID) == string(keyID) && row.Serial.Cmp(crt.SerialNumber) != 0 {
				rows = append(rows, row)
			}
		}
		if len(page) < keyPage {
			break
		}
	}
	for _, row := range rows {
		switch _, err := tx.Revocation(ctx, a.name, row.Serial); {
		case err == nil:
			continue
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		err := a.addRevocation(ctx, tx, now, actor, row.Subject, store.Revocation{
			Authority: a.name,
			Serial:    row.Serial,
			KeyID:     keyID,
			RevokedAt: now.Add(-a.crlBackdate()),
			KeepUntil: later(row.NotAfter, now).Add(a.CRLLife()), // one that has expired shows in a list, too
			Reason:    superseded,
		}, row.Lineage)
		if err != nil {
			return err
		}
	}
	return nil
}
