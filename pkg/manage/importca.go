package manage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A CAImport says what becomes an authority's CA.
type CAImport struct {
	Authority store.AuthorityName
	Pairs     []KeyPair
	// AllowUnfit takes certificates that should not be those of a CA (ErrUnfit).
	AllowUnfit bool
}

// ImportedCAs is the result of a CAImport.
type ImportedCAs struct {
	Certificates []*x509.Certificate // oldest first
	Notes        []string            // what is worth knowing
}

// ImportCAs gives an authority its first CA certificates, each vouching for the next younger one. It
// fails with store.ErrExists if the authority has any already. To an authority that is yet to be added they
// are given by AddAuthority.
func ImportCAs(ctx context.Context, st store.Store, now time.Time, in CAImport) (ImportedCAs, error) {
	var done ImportedCAs
	err := st.Update(ctx, func(tx store.Tx) error {
		row, err := in.row(ctx, tx, now)
		if err != nil {
			return err
		}
		done, err = in.fill(ctx, tx, now, row)
		return err
	})
	if err != nil {
		return ImportedCAs{}, err
	}
	return done, nil
}

// fill gives the authority of a row its CA certificates.
func (in CAImport) fill(ctx context.Context, tx store.Tx, now time.Time, row store.Authority) (ImportedCAs, error) {
	above, err := readIssuers(ctx, tx, row.Parent)
	if err != nil {
		return ImportedCAs{}, err
	}
	done, imported, err := in.generations(now, row, above)
	if err != nil {
		return done, err
	}
	switch there, err := tx.CAs(ctx, row.Name); {
	case err != nil:
		return done, err
	case len(there) > 0:
		return done, fmt.Errorf("%w: authority %s has a CA certificate", store.ErrExists, row.Name)
	}
	for _, one := range imported {
		if err := importCA(ctx, tx, now, one.row); err != nil {
			return done, err
		}
		if err := above.record(ctx, tx, now, one); err != nil {
			return done, err
		}
	}
	if err := ca.WithoutFollowers(ctx, tx, row.Name); err != nil {
		return done, err
	}
	newest := done.Certificates[len(done.Certificates)-1].PublicKey
	if _, err := pki.KeyTypeOf(newest); err == nil {
		return done, nil
	}
	// Otherwise there would be no next key at all.
	return done, tx.PutSetting(ctx, row.Name, store.SettingNextKeyType, string(pki.NearestKeyType(newest)))
}

// row returns the authority's row. Before the first start of the daemon there are none of those that its
// flags describe: it is made, and the daemon says the rest.
func (in CAImport) row(ctx context.Context, tx store.Tx, now time.Time) (store.Authority, error) {
	row, err := tx.Authority(ctx, in.Authority)
	if standard, ok := store.Standard(in.Authority, now); ok && errors.Is(err, store.ErrNotFound) {
		row = standard
		err = tx.PutAuthority(ctx, row)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return row, fmt.Errorf("%w: authority %s", err, in.Authority)
	case err != nil:
		return row, err
	case row.Role == store.RoleDaemon:
		return row, errors.New("the authority of the daemon's own HTTPS certificate makes its CA itself")
	}
	return row, nil
}

func importCA(ctx context.Context, tx store.Tx, now time.Time, row store.CA) error {
	switch taken, err := tx.IsCAKey(ctx, row.KeyID); {
	case err != nil:
		return err
	case taken:
		return fmt.Errorf("%w: another authority has this CA key: %s", store.ErrExists, hex.EncodeToString(row.KeyID))
	}
	if _, err := tx.AddCA(ctx, row); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, row.Authority, store.CounterCA, 1); err != nil {
		return err
	}
	e := audit.NewEntry(now, string(row.Authority), operator(), audit.ImportCA, audit.CAObject(row.KeyID))
	e.Detail = "valid until " + row.NotAfter.Format(time.RFC3339)
	if row.ParentAuthority != "" {
		e.Detail += ", signed by " + string(row.ParentAuthority)
	}
	return tx.AppendAudit(ctx, e)
}

// An importedGeneration is a generation that is to be stored.
type importedGeneration struct {
	KeyPair
	row    store.CA
	issuer *issuer // nil: it is self-signed
}

// generations makes the rows, oldest first.
func (in CAImport) generations(now time.Time, of store.Authority, above issuers) (ImportedCAs, []importedGeneration, error) {
	var done ImportedCAs
	var all []importedGeneration
	for _, p := range in.Pairs {
		if errors.Is(pki.CheckValidity(p.Certificate, now), pki.ErrExpired) {
			done.Notes = append(done.Notes, fmt.Sprintf("%s: left out, it has expired on %s", p.from, p.Certificate.NotAfter.Format(time.RFC3339)))
			continue
		}
		one, notes, err := in.accept(now, of, above, p)
		if err != nil {
			return done, nil, fmt.Errorf("%s: %w", p.from, err)
		}
		for _, n := range notes {
			done.Notes = append(done.Notes, p.from+": "+n)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return done, nil, fmt.Errorf("%w: none is valid any more", pki.ErrExpired)
	}
	slices.SortStableFunc(all, func(a, b importedGeneration) int {
		return cmp.Or(a.Certificate.NotBefore.Compare(b.Certificate.NotBefore), a.Certificate.NotAfter.Compare(b.Certificate.NotAfter))
	})
	for i := range all {
		one := &all[i]
		var err error
		if one.row, err = caRow(of, *one); err != nil {
			return done, nil, fmt.Errorf("%s: %w", one.from, err)
		}
		done.Certificates = append(done.Certificates, one.trusted())
		if i == 0 {
			continue
		}
		older := all[i-1]
		if from, to := older.Certificate, one.Certificate; !pki.SameAuthority(from.RawSubject, to.RawSubject) {
			problem := fmt.Sprintf("its subject is not that of the older one, %s: hosts with cauase do not follow", pki.SubjectString(from.RawSubject))
			if !in.AllowUnfit {
				return done, nil, fmt.Errorf("%s: %w: %s", one.from, ErrUnfit, problem)
			}
			done.Notes = append(done.Notes, one.from+": "+problem)
		}
		if one.row.Link, err = envelope.SignLink(older.Key, older.trusted().Raw, one.trusted().Raw); err != nil {
			return done, nil, fmt.Errorf("%s: %w", older.from, err)
		}
	}
	return done, all, nil
}

// caRow is that of one CA. Its age counts from the beginning of its validity: nothing else is known.
func caRow(of store.Authority, one importedGeneration) (store.CA, error) {
	key, err := x509.MarshalPKCS8PrivateKey(one.Key)
	if err != nil {
		return store.CA{}, errors.New("the key has no PKCS #8 form")
	}
	keyID := one.Certificate.SubjectKeyId
	if len(keyID) == 0 {
		if keyID, err = pki.KeyID(one.Certificate.PublicKey); err != nil {
			return store.CA{}, err
		}
	}
	row := store.CA{
		Authority:   of.Name,
		CreatedAt:   one.Certificate.NotBefore,
		NotBefore:   one.Certificate.NotBefore,
		NotAfter:    one.Certificate.NotAfter,
		KeyID:       keyID,
		Certificate: one.Certificate.Raw,
		State:       store.CAUsable,
		Key:         store.KeyInRow(key),
	}
	if one.issuer == nil {
		return row, nil
	}
	row.ParentAuthority, row.ParentCA = of.Parent, one.issuer.recordAs()
	row.Anchor = one.Anchor.Raw
	row.ParentLink, err = envelope.SignLink(one.Key, one.Anchor.Raw, one.Certificate.Raw)
	return row, err
}

// accept refuses what cannot work, and what should not be a CA unless that is insisted on.
func (in CAImport) accept(now time.Time, of store.Authority, above issuers, p KeyPair) (one importedGeneration, notes []string, err error) {
	one = importedGeneration{KeyPair: p}
	if one.issuer, err = above.of(p.Certificate); err != nil {
		return one, nil, err
	}
	switch {
	case one.issuer == nil && p.Anchor != nil:
		// As such it is known to all who do not trust a root.
		one.Certificate, one.Anchor = p.Anchor, nil
		notes = append(notes, "it is taken as self-signed: who has signed its other certificate is not its parent here")
	case one.issuer == nil && of.Parent != "" && !selfIssued(p.Certificate):
		return one, nil, fmt.Errorf("no CA of %s, the parent of %s, that is known here has signed it", of.Parent, of.Name)
	case one.issuer != nil && p.Anchor == nil:
		if one.Anchor, err = ca.NewAnchor(p.Certificate, p.Key); err != nil {
			return one, nil, err
		}
	}
	crt := one.Certificate
	if _, err := pki.SignatureAlgorithm(crt.PublicKey); err != nil {
		return one, nil, err
	}
	if err := pki.CheckPublicKey(crt.PublicKey); err != nil {
		return one, nil, err
	}
	if err := pki.CheckValidity(crt, now); err != nil {
		// An authority takes a CA from the future for the work of a clock that was wrong, and erases its key.
		return one, nil, err
	}
	if unfit := unfitness(of, crt, one.issuer != nil); unfit != "" {
		if !in.AllowUnfit {
			return one, nil, fmt.Errorf("%w: %s", ErrUnfit, unfit)
		}
		notes = append(notes, unfit)
	}
	if crt.KeyUsage == 0 {
		notes = append(notes, "it has no key usage: its key may be used for everything (RFC 5280 4.2.1.3), and some verifiers want one")
	}
	if len(crt.ExtKeyUsage)+len(crt.UnknownExtKeyUsage) > 0 && !slices.Contains(crt.ExtKeyUsage, x509.ExtKeyUsageAny) {
		notes = append(notes, "it has extended key usages: many verifiers take what it signs for those alone")
	}
	if err := pki.CheckCA(one.trusted()); err != nil {
		notes = append(notes, fmt.Sprintf("cauase and its agent will not trust it: %v", err))
	}
	if _, err := pki.KeyTypeOf(crt.PublicKey); err != nil {
		notes = append(notes, fmt.Sprintf("the next CA key will be %s: none is made like this one, %s",
			pki.NearestKeyType(crt.PublicKey), pki.DescribeKey(crt.PublicKey)))
	}
	return one, notes, nil
}

// unfitness says why a certificate should not be that of a CA. The first rules, until that of the key
// usage, are caucase's.
func unfitness(of store.Authority, crt *x509.Certificate, below bool) string {
	critical := slices.ContainsFunc(crt.Extensions, func(e pkix.Extension) bool {
		return e.Critical && e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 19})
	})
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case crt.Version < 3:
		return fmt.Sprintf("it is of version %d, which has no extensions to say that it is one of a CA", crt.Version)
	case !crt.BasicConstraintsValid || !crt.IsCA:
		return "its basic constraints do not say that it is one of a CA"
	case !critical:
		return "its basic constraints are not critical"
	case hasExtension(crt, asn1.ObjectIdentifier{2, 5, 29, 15}) && crt.KeyUsage&usage != usage:
		return "its key usage does not include signing certificates and revocation lists"
	case len(crt.SubjectKeyId) == 0:
		return "it has no subject key identifier, by which clients of cauase find its revocation lists: they take no CA without; " +
			"let it certify its own key and name anew, with one, if its hosts can be given the new certificate"
	case len(crt.Subject.Names) == 0:
		return "its subject is empty: verifiers find issuers by name, and it has to have one (RFC 5280 4.1.2.4)"
	case !below && !selfIssued(crt):
		return "it is not self-signed, and clients trust no other"
	case !below && len(crt.AuthorityKeyId) > 0 && !bytes.Equal(crt.AuthorityKeyId, crt.SubjectKeyId):
		return "its authority key identifier is that of another key: OpenSSL takes it for signed by somebody else, and verifies nothing below it"
	case below && !crt.MaxPathLenZero:
		return "its path length allows for CAs below it, and the authority certifies none"
	case of.Role == store.RoleRoot && crt.MaxPathLenZero:
		return "its path length allows for no CAs below it, and the authority is a root"
	case badlySelfSigned(crt):
		return "its signature is not that of its own key"
	case len(crt.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("it has a critical extension that verifiers do not know: %s", crt.UnhandledCriticalExtensions[0])
	}
	return ""
}

func hasExtension(crt *x509.Certificate, id asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(crt.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

// badlySelfSigned reports whether a certificate claims to be self-signed and is not.
func badlySelfSigned(crt *x509.Certificate) bool {
	return bytes.Equal(crt.RawIssuer, crt.RawSubject) && pki.CheckSelfSignature(crt) != nil
}
