package manage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// checkRoot accepts a CA certificate of a root whose key is kept elsewhere.
func checkRoot(crt *x509.Certificate, now time.Time) error {
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if err := pki.CheckCA(crt); err != nil {
		return err
	}
	switch {
	case crt.KeyUsage&usage != usage:
		return errors.New("its key usage does not say that it signs certificates and revocation lists")
	case crt.MaxPathLen == 0:
		return errors.New("its path length allows for no authority below it")
	}
	return pki.CheckValidity(crt, now)
}

// unexpired leaves out what has expired, unless that is all there is.
func unexpired(crts []*x509.Certificate, now time.Time) []*x509.Certificate {
	kept := slices.DeleteFunc(slices.Clone(crts), func(crt *x509.Certificate) bool {
		return errors.Is(pki.CheckValidity(crt, now), pki.ErrExpired)
	})
	if len(kept) == 0 {
		return crts
	}
	return kept
}

// fillExternal sorts the certificates by age and has row say what follows from the newest one.
func (in NewAuthority) fillExternal(row *store.Authority, now time.Time) error {
	slices.SortStableFunc(in.External, func(a, b *x509.Certificate) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), a.NotAfter.Compare(b.NotAfter))
	})
	newest := in.External[len(in.External)-1]
	for i, crt := range in.External {
		if err := checkRoot(crt, now); err != nil {
			return fmt.Errorf("certificate %s: %w", fingerprint(crt.Raw), err)
		}
		if !pki.SameAuthority(crt.RawSubject, newest.RawSubject) {
			return fmt.Errorf("the certificates are of two CAs: %s and %s", pki.SubjectString(crt.RawSubject), pki.SubjectString(newest.RawSubject))
		}
		if i > 0 && crt.Equal(in.External[i-1]) {
			return fmt.Errorf("certificate %s is there twice", fingerprint(crt.Raw))
		}
	}
	keyType, err := pki.KeyTypeOf(newest.PublicKey)
	if err != nil {
		keyType = pki.NearestKeyType(newest.PublicKey)
	}
	row.Subject, row.KeyType = newest.RawSubject, string(keyType)
	if row.Span == 0 {
		return spanOf(row, newest)
	}
	return nil
}

// spanOf gives a root the span that its newest CA certificate seems to have been made with.
func spanOf(row *store.Authority, newest *x509.Certificate) error {
	row.Span = (newest.NotAfter.Sub(newest.NotBefore) / RootLife).Truncate(24 * time.Hour)
	row.Life = RootLife
	if row.Span == 0 {
		return errors.New("the certificates are valid for too short a time: at least four days are needed")
	}
	return nil
}

// RootLife is the validity of a root's CA certificate in spans, which is how long those that it signs may be
// valid: so it rolls over by the rule of all authorities.
const RootLife = 4

// recordExternal stores the CA certificates and lists of a root whose key is kept elsewhere.
func (in NewAuthority) recordExternal(ctx context.Context, tx store.Tx, now time.Time, row store.Authority) error {
	for _, crt := range in.External {
		if err := addExternal(ctx, tx, now, row.Name, crt, nil); err != nil {
			return err
		}
	}
	for _, der := range in.Lists {
		if _, _, err := storeExternalList(ctx, tx, row.Name, in.External, der); err != nil {
			return err
		}
	}
	return nil
}

// addExternal stores a CA certificate of an authority whose key is kept elsewhere.
func addExternal(ctx context.Context, tx store.Tx, now time.Time, name store.AuthorityName, crt *x509.Certificate, link []byte) error {
	keyID := crt.SubjectKeyId
	switch taken, err := tx.IsCAKey(ctx, keyID); {
	case err != nil:
		return err
	case taken:
		return fmt.Errorf("%w: the key of %s is that of a CA in this database", store.ErrExists, fingerprint(crt.Raw))
	}
	if _, err := tx.AddCA(ctx, store.CA{
		Authority: name, CreatedAt: crt.NotBefore, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
		KeyID: keyID, Certificate: crt.Raw, State: store.CAExternal, Link: link,
	}); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, name, store.CounterCA, 1); err != nil {
		return err
	}
	e := audit.NewEntry(now, string(name), operator(), audit.ImportCA, audit.CAObject(keyID))
	e.Detail = "without its key, valid until " + crt.NotAfter.UTC().Format(time.RFC3339)
	return tx.AppendAudit(ctx, e)
}

// storeExternalList stores a revocation list of one of cas, unless one that is not older is there.
func storeExternalList(ctx context.Context, tx store.Tx, name store.AuthorityName, cas []*x509.Certificate, der []byte) (list *x509.RevocationList, newer bool, err error) {
	if list, err = x509.ParseRevocationList(der); err != nil {
		return nil, false, fmt.Errorf("revocation list: %w", err)
	}
	for _, crt := range cas {
		if !bytes.Equal(list.AuthorityKeyId, crt.SubjectKeyId) {
			continue
		}
		newer, err = ca.BringList(ctx, tx, name, crt, der)
		return list, newer, err
	}
	return nil, false, fmt.Errorf("the revocation list of the CA with key identifier %s is of none of %s that is known", hex.EncodeToString(list.AuthorityKeyId), name)
}

// subjectOf is the subject of the newest CA certificate that can be read, nil when there is none.
func subjectOf(cas []store.CA) []byte {
	for i := len(cas) - 1; i >= 0; i-- {
		if crt, err := x509.ParseCertificate(cas[i].Certificate); err == nil {
			return crt.RawSubject
		}
	}
	return nil
}
