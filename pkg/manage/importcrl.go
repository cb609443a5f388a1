package manage

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

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
			if err := ca.CheckList(crl); err != nil {
				return done, fmt.Errorf("%s: %w", from, err)
			}
			lists = append(lists, foundCRL{crl, from})
		}
	}
	err = st.Update(ctx, func(tx store.Tx) error {
		in := &crlImport{ListImport: ca.ListImport{Now: now, Authority: name, Actor: operator()}}
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
			in.CAs, in.external = append(in.CAs, crt), row.State == store.CAExternal
		}
		for _, l := range lists {
			if err := in.take(ctx, tx, l); err != nil {
				return fmt.Errorf("%s: %w", l.from, err)
			}
		}
		if in.external {
			in.done.Number = in.number
		} else if in.done.Number, err = in.Renumber(ctx, tx); err != nil {
			return err
		}
		in.done.Added, in.done.Known = in.Added, in.Known
		if err := in.Recall(ctx, tx); err != nil {
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

// A crlImport is under way in a transaction.
type crlImport struct {
	ca.ListImport
	// external says that the keys of the authority are kept elsewhere: its lists are served as they were imported.
	external bool
	number   int64 // the largest of those
	done     ImportedCRLs
}

func (in *crlImport) take(ctx context.Context, tx store.Tx, crl foundCRL) error {
	issuer, err := in.Issuer(crl.RevocationList)
	if err != nil {
		return err
	}
	if in.external {
		return in.keepExternal(ctx, tx, crl, issuer)
	}
	left := len(in.LeftOut)
	if err := in.Take(ctx, tx, crl.RevocationList); err != nil {
		return err
	}
	in.done.Lists++
	for _, text := range in.LeftOut[left:] {
		in.done.LeftOut = append(in.done.LeftOut, crl.from+": "+text)
	}
	return nil
}

// keepExternal keeps a list of a CA whose key is elsewhere, unless a newer one is there.
func (in *crlImport) keepExternal(ctx context.Context, tx store.Tx, crl foundCRL, issuer *x509.Certificate) error {
	newer, err := ca.BringList(ctx, tx, in.Authority, issuer, crl.Raw)
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
	e := audit.NewEntry(in.Now, string(in.Authority), in.Actor, audit.ImportCRL, object)
	e.Detail = fmt.Sprintf("%d revocations, of a CA whose key is kept elsewhere", len(crl.RevokedCertificateEntries))
	return tx.AppendAudit(ctx, e)
}
