package manage

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
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// ErrForeignCRL means that no CA of the authority has signed a revocation list.
var ErrForeignCRL = errors.New("none of the authority's CAs has signed it")

// ImportedCRLs is the result of ImportCRLs.
type ImportedCRLs struct {
	Lists   int
	Added   int      // revocations that were not known
	Known   int      // revocations that were
	LeftOut []string // entries that cannot be kept, and why
	Number  int64    // of the next list, at least

	Revoked []RevokedCA // CA certificates of ours that the lists of a root name, taken out of use
}

// ImportCRLs takes over what an authority's CAs have revoked elsewhere, from lists in PEM or DER. The
// next list is numbered above all of them. Where a root has revoked CA certificates of authorities here, they are
// taken out of use; netloc is that of NewAuthority.
func ImportCRLs(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, files []File, netloc string) (done ImportedCRLs, err error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return done, err
	}
	if done, err = importCRLs(ctx, st, clk.Now(), name, files); err != nil || row.Role != store.RoleRoot {
		return done, err
	}
	done.Revoked, err = revokeListed(ctx, st, clk, name, netloc)
	return done, err
}

func importCRLs(ctx context.Context, st store.Store, now time.Time, name store.AuthorityName, files []File) (done ImportedCRLs, err error) {
	var lists []foundCRL
	for _, f := range files {
		crls, err := pki.ParseCRLFile(f.Data)
		if err != nil {
			return done, fmt.Errorf("%s: %w", f.Name, err)
		}
		for i, crl := range crls {
			from := f.Name
			if len(crls) > 1 {
				from = fmt.Sprintf("%s, list %d", f.Name, i+1)
			}
			if err := checkCRL(crl); err != nil {
				return done, fmt.Errorf("%s: %w", from, err)
			}
			lists = append(lists, foundCRL{crl, from})
		}
	}
	err = st.Update(ctx, func(tx store.Tx) error {
		in := &crlImport{now: now, name: name}
		cas, err := tx.CAs(ctx, name)
		if err != nil {
			return err
		}
		for _, row := range cas {
			crt, err := x509.ParseCertificate(row.Certificate)
			if err != nil {
				return fmt.Errorf("CA certificate %d: %w", row.ID, err)
			}
			pki.AsCA(crt, row.KeyID)
			in.cas, in.external = append(in.cas, crt), row.State == store.CAExternal
		}
		for _, l := range lists {
			if err := in.take(ctx, tx, l); err != nil {
				return fmt.Errorf("%s: %w", l.from, err)
			}
		}
		if in.external {
			in.done.Number = in.number
		} else if in.done.Number, err = in.renumber(ctx, tx); err != nil {
			return err
		}
		done = in.done
		return nil
	})
	return done, err
}

type foundCRL struct {
	*x509.RevocationList
	from string
}

// maxNumber is far from what would overflow.
const maxNumber = math.MaxInt64 / 2

// checkCRL refuses lists that are about less than all of a CA's certificates, or about others, and those whose number
// cannot be continued.
func checkCRL(crl *x509.RevocationList) error {
	if err := pki.CheckCRLScope(crl); err != nil {
		return err
	}
	if crl.Number != nil && (crl.Number.Sign() < 0 || crl.Number.Cmp(big.NewInt(maxNumber)) > 0) {
		return errors.New("its number cannot be continued: it is negative or too large")
	}
	return nil
}

// A crlImport is under way in a transaction.
type crlImport struct {
	now  time.Time
	name store.AuthorityName
	cas  []*x509.Certificate // oldest first
	// external says that the keys of the authority are kept elsewhere: its lists are served as they were imported.
	external bool
	number   int64 // the largest of the lists
	listed   int64 // the latest of their dates, in seconds since 1970
	done     ImportedCRLs
}

func (in *crlImport) take(ctx context.Context, tx store.Tx, crl foundCRL) error {
	issuer, err := in.issuer(crl)
	if err != nil {
		return err
	}
	if in.external {
		return in.keepExternal(ctx, tx, crl, issuer)
	}
	before := in.done.Added
	for _, entry := range crl.RevokedCertificateEntries {
		if err := in.revoke(ctx, tx, crl, entry); err != nil {
			return err
		}
	}
	in.done.Lists++
	in.listed = max(in.listed, crl.ThisUpdate.Unix())
	object := audit.Object{Kind: audit.KindCRL, ID: "of ca " + hex.EncodeToString(issuer.SubjectKeyId)}
	if crl.Number != nil {
		in.number = max(in.number, crl.Number.Int64())
		object.ID = crl.Number.String() + " " + object.ID
	}
	e := audit.NewEntry(in.now, string(in.name), audit.Actor{Kind: audit.Operator}, audit.ImportCRL, object)
	e.Detail = fmt.Sprintf("%d revocations, %d of them new", len(crl.RevokedCertificateEntries), in.done.Added-before)
	return tx.AppendAudit(ctx, e)
}

// keepExternal keeps a list of a CA whose key is elsewhere, unless a newer one is there.
func (in *crlImport) keepExternal(ctx context.Context, tx store.Tx, crl foundCRL, issuer *x509.Certificate) error {
	newer, err := ca.BringList(ctx, tx, in.name, issuer, crl.Raw)
	if err != nil {
		return err
	}
	in.done.Lists++
	in.number = max(in.number, crl.Number.Int64())
	if !newer {
		in.done.LeftOut = append(in.done.LeftOut, crl.from+": a list that is as new, or newer, is there")
		return nil
	}
	object := audit.Object{Kind: audit.KindCRL, ID: crl.Number.String() + " of ca " + hex.EncodeToString(issuer.SubjectKeyId)}
	e := audit.NewEntry(in.now, string(in.name), audit.Actor{Kind: audit.Operator}, audit.ImportCRL, object)
	e.Detail = fmt.Sprintf("%d revocations, of a CA whose key is kept elsewhere", len(crl.RevokedCertificateEntries))
	return tx.AppendAudit(ctx, e)
}

// issuer finds the CA that has signed a list, be it expired by now.
func (in *crlImport) issuer(crl foundCRL) (*x509.Certificate, error) {
	var insecure x509.InsecureAlgorithmError
	for _, crt := range in.cas {
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
	return nil, fmt.Errorf("%w: %s", ErrForeignCRL, pki.SubjectString(crl.RawIssuer))
}

// removeFromCRL is the reason of an entry that takes one back; it is for delta CRLs.
const removeFromCRL = 8

func (in *crlImport) revoke(ctx context.Context, tx store.Tx, crl foundCRL, entry x509.RevocationListEntry) error {
	const maxBits = 160 // 20 bytes, RFC 5280 4.1.2.2
	switch serial := entry.SerialNumber; {
	case serial.Sign() <= 0 || serial.BitLen() > maxBits:
		in.leaveOut(crl, serial, "no certificate of ours has such a serial number")
		return nil
	case entry.ReasonCode == removeFromCRL:
		in.leaveOut(crl, serial, "it is not revoked any more")
		return nil
	}
	for _, crt := range in.cas {
		if crt.SerialNumber.Cmp(entry.SerialNumber) == 0 {
			in.leaveOut(crl, entry.SerialNumber, "it is that of a CA certificate")
			return nil
		}
	}
	switch _, err := tx.Revocation(ctx, in.name, entry.SerialNumber); {
	case err == nil:
		in.done.Known++
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	row := store.Revocation{
		Authority: in.name,
		Serial:    entry.SerialNumber,
		RevokedAt: entry.RevocationTime,
		KeepUntil: in.cas[len(in.cas)-1].NotAfter,
		Reason:    entry.ReasonCode,
	}
	if _, err := pki.ParseReason(pki.ReasonName(row.Reason)); err != nil {
		row.Reason = 0 // unspecified
	}
	switch crt, err := tx.CertificateBySerial(ctx, in.name, entry.SerialNumber); {
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
	in.done.Added++
	return nil
}

func (in *crlImport) leaveOut(crl foundCRL, serial *big.Int, why string) {
	in.done.LeftOut = append(in.done.LeftOut, fmt.Sprintf("%s: serial %#x: %s", crl.from, serial, why))
}

// renumber makes sure that the next list is numbered above those that were imported, and dated after them, and that it
// is made at once when something is new.
func (in *crlImport) renumber(ctx context.Context, tx store.Tx) (int64, error) {
	listed, err := tx.Counter(ctx, in.name, store.CounterListed)
	if err != nil {
		return 0, err
	}
	if in.listed > listed {
		if _, err := tx.AddCounter(ctx, in.name, store.CounterListed, in.listed-listed); err != nil {
			return 0, err
		}
	}
	number, err := tx.Counter(ctx, in.name, store.CounterCRLNumber)
	if err != nil {
		return 0, err
	}
	if in.done.Added == 0 && in.number < number {
		return number, nil
	}
	return tx.AddCounter(ctx, in.name, store.CounterCRLNumber, max(number, in.number)+1-number)
}
