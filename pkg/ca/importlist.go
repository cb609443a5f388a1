package ca

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// ErrForeignList means that no CA of the authority has signed a revocation list.
var ErrForeignList = errors.New("none of the authority's CAs has signed it")

// maxListNumber is far from what would overflow.
const maxListNumber = math.MaxInt64 / 2

// CheckList refuses lists that are about less than all of a CA's certificates, or about others, and those whose number
// cannot be continued.
func CheckList(crl *x509.RevocationList) error {
	if err := pki.CheckCRLScope(crl); err != nil {
		return err
	}
	if crl.Number != nil && (crl.Number.Sign() < 0 || crl.Number.Cmp(big.NewInt(maxListNumber)) > 0) {
		return errors.New("its number cannot be continued: it is negative or too large")
	}
	return nil
}

// A ListImport takes over what an authority's CAs have revoked elsewhere, or what has been forgotten of it, from their lists.
type ListImport struct {
	Now       time.Time
	Authority store.AuthorityName
	Actor     audit.Actor
	CAs       []*x509.Certificate // whose lists count, oldest first

	Added   int      // revocations that were not known
	Known   int      // revocations that were
	LeftOut []string // entries that cannot be kept, and why

	number int64 // the largest of the lists
	listed int64 // the latest of their dates, in seconds since 1970
}

// Take records in tx what a list names, which has passed CheckList.
func (in *ListImport) Take(ctx context.Context, tx store.Tx, crl *x509.RevocationList) error {
	issuer, err := in.Issuer(crl)
	if err != nil {
		return err
	}
	before := in.Added
	for _, entry := range crl.RevokedCertificateEntries {
		if err := in.revoke(ctx, tx, crl, entry); err != nil {
			return err
		}
	}
	in.listed = max(in.listed, crl.ThisUpdate.Unix())
	object := audit.Object{Kind: audit.KindCRL, ID: "of ca " + hex.EncodeToString(issuer.SubjectKeyId)}
	if crl.Number != nil {
		in.number = max(in.number, crl.Number.Int64())
		object.ID = crl.Number.String() + " " + object.ID
	}
	e := audit.NewEntry(in.Now, string(in.Authority), in.Actor, audit.ImportCRL, object)
	e.Detail = fmt.Sprintf("%d revocations, %d of them new", len(crl.RevokedCertificateEntries), in.Added-before)
	return tx.AppendAudit(ctx, e)
}

// Issuer finds the CA that has signed a list, be it expired by now.
func (in *ListImport) Issuer(crl *x509.RevocationList) (*x509.Certificate, error) {
	var insecure x509.InsecureAlgorithmError
	for _, crt := range in.CAs {
		err := crt.CheckSignature(crl.SignatureAlgorithm, crl.RawTBSRevocationList, crl.Signature)
		switch {
		case string(crt.RawSubject) != string(crl.RawIssuer):
			continue
		case err == nil:
			return crt, nil
		case errors.As(err, &insecure):
			return nil, fmt.Errorf("it is signed with %s: SHA-256 or better needed", crl.SignatureAlgorithm)
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrForeignList, pki.SubjectString(crl.RawIssuer))
}

// removeFromCRL is the reason of an entry that takes one back; it is for delta CRLs.
const removeFromCRL = 8

func (in *ListImport) revoke(ctx context.Context, tx store.Tx, crl *x509.RevocationList, entry x509.RevocationListEntry) error {
	const maxBits = 160 // 20 bytes, RFC 5280 4.1.2.2
	switch serial := entry.SerialNumber; {
	case serial.Sign() <= 0 || serial.BitLen() > maxBits:
		in.leaveOut(serial, "no certificate of ours has such a serial number")
		return nil
	case entry.ReasonCode == removeFromCRL:
		in.leaveOut(serial, "it is not revoked any more")
		return nil
	}
	for _, crt := range in.CAs {
		if crt.SerialNumber.Cmp(entry.SerialNumber) == 0 {
			in.leaveOut(entry.SerialNumber, "it is that of a CA certificate")
			return nil
		}
	}
	switch _, err := tx.Revocation(ctx, in.Authority, entry.SerialNumber); {
	case err == nil:
		in.Known++
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	row := store.Revocation{
		Authority: in.Authority,
		Serial:    entry.SerialNumber,
		RevokedAt: entry.RevocationTime,
		KeepUntil: in.CAs[len(in.CAs)-1].NotAfter,
		Reason:    entry.ReasonCode,
	}
	if _, err := pki.ParseReason(pki.ReasonName(row.Reason)); err != nil {
		row.Reason = 0 // unspecified
	}
	switch crt, err := tx.CertificateBySerial(ctx, in.Authority, entry.SerialNumber); {
	case err == nil:
		row.KeyID, row.KeepUntil = crt.KeyID, crt.NotAfter
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	// One list made after the expiry still has to show it (RFC 5280 3.3).
	if life := crl.NextUpdate.Sub(crl.ThisUpdate); life > 0 {
		row.KeepUntil = store.Latest(row.KeepUntil.Add(life))
	}
	if _, err := tx.AddRevocation(ctx, row); err != nil {
		return err
	}
	in.Added++
	return nil
}

func (in *ListImport) leaveOut(serial *big.Int, why string) {
	in.LeftOut = append(in.LeftOut, fmt.Sprintf("serial %#x: %s", serial, why))
}

// Renumber makes sure that the next list is numbered above those that were imported, and dated after them, and that it
// is made at once when something is new.
func (in *ListImport) Renumber(ctx context.Context, tx store.Tx) (int64, error) {
	listed, err := tx.Counter(ctx, in.Authority, store.CounterListed)
	if err != nil {
		return 0, err
	}
	if in.listed > listed {
		if _, err := tx.AddCounter(ctx, in.Authority, store.CounterListed, in.listed-listed); err != nil {
			return 0, err
		}
	}
	number, err := tx.Counter(ctx, in.Authority, store.CounterCRLNumber)
	if err != nil {
		return 0, err
	}
	if in.Added == 0 && in.number < number {
		return number, nil
	}
	return tx.AddCounter(ctx, in.Authority, store.CounterCRLNumber, max(number, in.number)+1-number)
}
