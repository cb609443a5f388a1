package manage

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/store"
)

// An issuer is a CA of the parent of an authority that CA certificates are imported for.
type issuer struct {
	row store.CA
	crt *x509.Certificate
}

// recordAs is what the row of a CA certificate says of its issuer: nothing where the key of that is kept elsewhere, as
// its records are, too.
func (i *issuer) recordAs() int64 {
	if i.row.State == store.CAExternal {
		return 0
	}
	return i.row.ID
}

// issuers are the CAs of a parent, and what they have revoked.
type issuers struct {
	cas     []issuer
	revoked func(*issuer, *x509.Certificate) (bool, error)
}

// readIssuers reads the CAs of a parent; there are none of no parent.
func readIssuers(ctx context.Context, r store.Reader, parent store.AuthorityName) (issuers, error) {
	all := issuers{revoked: func(i *issuer, crt *x509.Certificate) (bool, error) { return isRevoked(ctx, r, i, crt) }}
	if parent == "" {
		return all, nil
	}
	rows, err := r.CAs(ctx, parent)
	for _, row := range rows {
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return all, fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, row.ID, parent, err)
		}
		all.cas = append(all.cas, issuer{row, crt})
	}
	return all, err
}

// isRevoked reports whether the CA certificate is on record as revoked, or on the list that was installed of an issuer
// whose key is kept elsewhere.
func isRevoked(ctx context.Context, r store.Reader, i *issuer, crt *x509.Certificate) (bool, error) {
	if i.row.State != store.CAExternal {
		_, err := r.Revocation(ctx, i.row.Authority, crt.SerialNumber)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	list, err := ca.InstalledList(ctx, r, i.row.Authority, i.row.KeyID)
	return list != nil && revokes(list, crt), err
}

// of returns the CA that has signed a certificate, nil if none of these has. One that it has revoked is refused.
func (all issuers) of(crt *x509.Certificate) (*issuer, error) {
	for n := range all.cas {
		i := &all.cas[n]
		if !bytes.Equal(i.crt.RawSubject, crt.RawIssuer) || i.crt.Equal(crt) || crt.CheckSignatureFrom(i.crt) != nil {
			continue
		}
		switch revoked, err := all.revoked(i, crt); {
		case err != nil:
			return nil, err
		case revoked:
			return nil, fmt.Errorf("%s has revoked it", i.row.Authority)
		case crt.NotAfter.After(i.crt.NotAfter):
			return nil, fmt.Errorf("it is valid for longer than its issuer, a CA of %s, which is until %s", i.row.Authority, utc(i.crt.NotAfter))
		}
		return i, nil
	}
	return nil, nil
}

// record puts a CA certificate on the record of the parent that has signed it: so its serial number is known there, and
// it can be revoked.
func (all issuers) record(ctx context.Context, tx store.Tx, now time.Time, one importedGeneration) error {
	if one.issuer == nil || one.row.ParentCA == 0 {
		return nil
	}
	switch known, err := tx.CertificateBySerial(ctx, one.row.ParentAuthority, one.Certificate.SerialNumber); {
	case err == nil && bytes.Equal(known.DER, one.Certificate.Raw):
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s has another certificate with the serial %#x on record", store.ErrExists, one.row.ParentAuthority, one.Certificate.SerialNumber)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	row, err := ca.CertifiedRow(one.row.ParentAuthority, one.row.ParentCA, now, one.Certificate)
	if err != nil {
		return err
	}
	row.IssuedBy, row.Lineage = operator().String(), row.ID
	if err := tx.AddLineage(ctx, store.FirstOf(row, store.RoleRoot), ca.NamesOf(row.DER)); err != nil {
		return err
	}
	return tx.AddCertificate(ctx, row)
}
