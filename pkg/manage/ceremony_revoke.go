package manage

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// RevokeCA revokes a CA certificate of an authority at its parent. Where the parent's key is elsewhere,
// elsewhere is true, and what was done is only that the authority uses it no longer.
func RevokeCA(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, keyID []byte, reason int, netloc string) (elsewhere bool, err error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return false, err
	}
	if row.Parent == "" {
		return false, fmt.Errorf("%s signs its CA certificates itself: no list could say that one of them is revoked; set up another authority in its place", name)
	}
	err = st.View(ctx, func(r store.Reader) error {
		elsewhere = signsElsewhere(ctx, r, row.Parent) == nil
		return nil
	})
	if err != nil {
		return elsewhere, err
	}
	a, err := openOne(ctx, st, clk, name, netloc)
	if err != nil {
		return elsewhere, err
	}
	return elsewhere, a.RevokeCA(ctx, operator(), keyID, reason)
}

// RevokeBelow has a root revoke a CA certificate that it has signed, by the certificate or, where
// that is on record, by its serial alone. The revocation is in the lists that ExportAuthority returns then.
// CA certificates of authorities in the same database are taken out of use, and returned.
func RevokeBelow(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, crt *x509.Certificate, serial *big.Int, reason int) ([]RevokedCA, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return nil, err
	}
	if row.Role != store.RoleRoot {
		return nil, fmt.Errorf("%s has the role %s: it has signed no CA certificates", name, row.Role)
	}
	err = st.View(ctx, func(r store.Reader) error {
		if signsElsewhere(ctx, r, name) == nil {
			return fmt.Errorf("the key of %s is not in this database: revoke in that of the offline root, and bring its list with authority install", name)
		}
		if crt != nil {
			serial = crt.SerialNumber
			return signedBy(ctx, r, name, crt)
		}
		if _, err := r.CertificateBySerial(ctx, name, serial); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: %s has signed no CA certificate with the serial %#x that is on record", ca.ErrNotFound, name, serial)
		} else {
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	root, err := openOne(ctx, st, clk, name, "")
	if err != nil {
		return nil, err
	}
	err = root.RevokeSerial(ctx, operator(), serial, ca.Revoking{Reason: reason})
	if err != nil && !errors.Is(err, ca.ErrConflict) {
		return nil, err
	}
	// Also if it was revoked before: the authority below may not have been told.
	revoked, failed := revokeListed(ctx, st, clk, name, "")
	return revoked, errors.Join(err, failed)
}

// signedBy returns nil if a root has signed a CA certificate.
func signedBy(ctx context.Context, r store.Reader, root store.AuthorityName, crt *x509.Certificate) error {
	cas, err := certificatesOf(ctx, r, root)
	if err != nil {
		return err
	}
	for _, one := range cas {
		if !crt.Equal(one) && crt.CheckSignatureFrom(one) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: the certificate is not one that %s has signed for another authority", ca.ErrInvalid, root)
}

// revokeListed takes out of use the CA certificates of our authorities, in use or in stock, that the installed lists of
// a root name.
func revokeListed(ctx context.Context, st store.Store, clk clock.Clock, root store.AuthorityName, netloc string) ([]RevokedCA, error) {
	entries, err := listedBy(ctx, st, clk, root)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	now := clk.Now()
	var found []RevokedCA
	var dropped []store.Signoff
	err = st.Update(ctx, func(tx store.Tx) error {
		found, dropped = nil, nil
		rows, err := tx.Authorities(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			cas, stock, err := entries.revokedAmong(ctx, tx, now, row.Name, root)
			if err != nil {
				return err
			}
			for _, s := range stock {
				if err := dropSignoff(ctx, tx, now, s, "its CA certificate was revoked by "+string(root)); err != nil {
					return err
				}
			}
			found, dropped = append(found, cas...), append(dropped, stock...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eraseKeys(ctx, dropped)
	for i, one := range found {
		_, found[i].Err = RevokeCA(ctx, st, clk, one.Authority, one.keyID, one.Reason, netloc)
	}
	for _, s := range dropped {
		found = append(found, RevokedCA{Authority: s.Authority, KeyID: hex.EncodeToString(s.KeyID)})
	}
	return found, err
}

// revokedAmong returns what is listed of an authority: CA certificates that could still be used, and those in stock.
func (l rootEntries) revokedAmong(ctx context.Context, r store.Reader, now time.Time, name, root store.AuthorityName) (cas []RevokedCA, stock []store.Signoff, err error) {
	rows, err := r.CAs(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range rows {
		if row.State != store.CAUsable || row.ParentAuthority != root || now.After(row.NotAfter) {
			continue
		}
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, row.ID, name, err)
		}
		if reason, revoked := l.reason(crt); revoked {
			cas = append(cas, RevokedCA{Authority: name, KeyID: hex.EncodeToString(row.KeyID), Reason: reason, keyID: crt.SubjectKeyId})
		}
	}
	signoffs, err := r.Signoffs(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range signoffs {
		if s.Certificate == nil {
			continue
		}
		crt, err := x509.ParseCertificate(s.Certificate)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: sign-off %d of %s: %w", ca.ErrDamaged, s.ID, name, err)
		}
		if _, revoked := l.reason(crt); revoked {
			stock = append(stock, s)
		}
	}
	return cas, stock, nil
}
