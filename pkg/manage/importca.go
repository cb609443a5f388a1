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
// fails with store.ErrExists if the authority has any already.
func ImportCAs(ctx context.Context, st store.Store, now time.Time, in CAImport) (ImportedCAs, error) {
	var done ImportedCAs
	err := st.Update(ctx, func(tx store.Tx) error {
		row, err := in.row(ctx, tx, now)
		if err != nil {
			return err
		}
		var rows []store.CA
		if done, rows, err = in.rows(now, row); err != nil {
			return err
		}
		switch there, err := tx.CAs(ctx, in.Authority); {
		case err != nil:
			return err
		case len(there) > 0:
			return fmt.Errorf("%w: authority %s has a CA certificate", store.ErrExists, in.Authority)
		}
		for _, row := range rows {
			if err := importCA(ctx, tx, now, row); err != nil {
				return err
			}
		}
		newest := done.Certificates[len(done.Certificates)-1].PublicKey
		if _, err := pki.KeyTypeOf(newest); err == nil {
			return nil
		}
		// Otherwise there would be no next key at all.
		return tx.PutSetting(ctx, in.Authority, store.SettingNextKeyType, string(pki.NearestKeyType(newest)))
	})
	if err != nil {
		return ImportedCAs{}, err
	}
	return done, nil
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
	e := audit.NewEntry(now, string(row.Authority), audit.Actor{Kind: audit.Operator}, audit.ImportCA, audit.CAObject(row.KeyID))
	e.Detail = "valid until " + row.NotAfter.Format(time.RFC3339)
	return tx.AppendAudit(ctx, e)
}

// rows makes the rows, oldest first.
func (in CAImport) rows(now time.Time, of store.Authority) (ImportedCAs, []store.CA, error) {
	var done ImportedCAs
	var pairs []KeyPair
	for _, p := range in.Pairs {
		if errors.Is(pki.CheckValidity(p.Certificate, now), pki.ErrExpired) {
			done.Notes = append(done.Notes, fmt.Sprintf("%s: left out, it has expired on %s", p.from, p.Certificate.NotAfter.Format(time.RFC3339)))
			continue
		}
		notes, err := in.check(now, of, p.Certificate)
		if err != nil {
			return done, nil, fmt.Errorf("%s: %w", p.from, err)
		}
		for _, n := range notes {
			done.Notes = append(done.Notes, p.from+": "+n)
		}
		pairs = append(pairs, p)
	}
	if len(pairs) == 0 {
		return done, nil, fmt.Errorf("%w: none is valid any more", pki.ErrExpired)
	}
	slices.SortStableFunc(pairs, func(a, b KeyPair) int {
		return cmp.Or(a.Certificate.NotBefore.Compare(b.Certificate.NotBefore), a.Certificate.NotAfter.Compare(b.Certificate.NotAfter))
	})
	rows := make([]store.CA, len(pairs))
	for i, p := range pairs {
		row, err := caRow(of, p)
		if err != nil {
			return done, nil, fmt.Errorf("%s: %w", p.from, err)
		}
		if i > 0 {
			if from, to := pairs[i-1].Certificate, p.Certificate; !bytes.Equal(from.RawSubject, to.RawSubject) {
				problem := fmt.Sprintf("its subject is not that of the older one, %s: hosts with cauase do not follow", pki.SubjectString(from.RawSubject))
				if !in.AllowUnfit {
					return done, nil, fmt.Errorf("%s: %w: %s", p.from, ErrUnfit, problem)
				}
				done.Notes = append(done.Notes, p.from+": "+problem)
			}
			if row.Link, err = envelope.SignLink(pairs[i-1].Key, pairs[i-1].Certificate.Raw, p.Certificate.Raw); err != nil {
				return done, nil, fmt.Errorf("%s: %w", pairs[i-1].from, err)
			}
		}
		rows[i] = row
		done.Certificates = append(done.Certificates, p.Certificate)
	}
	return done, rows, nil
}

// caRow is that of one CA. Its age counts from the beginning of its validity: nothing else is known.
func caRow(of store.Authority, p KeyPair) (store.CA, error) {
	key, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return store.CA{}, errors.New("the key has no PKCS #8 form")
	}
	keyID := p.Certificate.SubjectKeyId
	if len(keyID) == 0 {
		if keyID, err = pki.KeyID(p.Certificate.PublicKey); err != nil {
			return store.CA{}, err
		}
	}
	row := store.CA{
		Authority:   of.Name,
		CreatedAt:   p.Certificate.NotBefore,
		NotBefore:   p.Certificate.NotBefore,
		NotAfter:    p.Certificate.NotAfter,
		KeyID:       keyID,
		Certificate: p.Certificate.Raw,
		State:       store.CAUsable,
		Key:         store.KeyInRow(key),
	}
	if !bytes.Equal(p.Certificate.RawIssuer, p.Certificate.RawSubject) {
		row.ParentAuthority = of.Parent
	}
	return row, nil
}

// check refuses what cannot work, and what should not be a CA unless that is insisted on.
func (in CAImport) check(now time.Time, of store.Authority, crt *x509.Certificate) (notes []string, err error) {
	if _, err := pki.SignatureAlgorithm(crt.PublicKey); err != nil {
		return nil, err
	}
	if err := pki.CheckPublicKey(crt.PublicKey); err != nil {
		return nil, err
	}
	if err := pki.CheckValidity(crt, now); err != nil {
		// An authority takes a CA from the future for the work of a clock that was wrong, and erases its key.
		return nil, err
	}
	unfit := unfitness(crt)
	if of.Role == store.RoleRoot && unfit == "" && crt.MaxPathLenZero {
		unfit = "its path length allows for no CAs below it, and the authority is a root"
	}
	if unfit != "" {
		if !in.AllowUnfit {
			return nil, fmt.Errorf("%w: %s", ErrUnfit, unfit)
		}
		notes = append(notes, unfit)
	}
	if len(crt.SubjectKeyId) == 0 {
		notes = append(notes, "it has no subject key identifier; what it signs names it by the hash of its key")
	}
	if err := pki.CheckCA(crt); err != nil {
		notes = append(notes, fmt.Sprintf("cauase and its agent will not trust it: %v", err))
	}
	if _, err := pki.KeyTypeOf(crt.PublicKey); err != nil {
		notes = append(notes, fmt.Sprintf("the next CA key will be %s: none is made like this one, %s",
			pki.NearestKeyType(crt.PublicKey), pki.DescribeKey(crt.PublicKey)))
	}
	return notes, nil
}

// unfitness says why a certificate should not be that of a CA. The first rules, until that of the key
// usage, are caucase's.
func unfitness(crt *x509.Certificate) string {
	critical := slices.ContainsFunc(crt.Extensions, func(e pkix.Extension) bool {
		return e.Critical && e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 19})
	})
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case !crt.BasicConstraintsValid || !crt.IsCA:
		return "its basic constraints do not say that it is one of a CA"
	case !critical:
		return "its basic constraints are not critical"
	case crt.KeyUsage&usage != usage:
		return "its key usage does not include signing certificates and revocation lists"
	case !bytes.Equal(crt.RawIssuer, crt.RawSubject):
		return "it is not self-signed, and clients trust no other"
	case badlySelfSigned(crt):
		return "its signature is not that of its own key"
	case len(crt.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("it has a critical extension that verifiers do not know: %s", crt.UnhandledCriticalExtensions[0])
	}
	return ""
}

// badlySelfSigned reports whether a certificate claims to be self-signed and is not.
func badlySelfSigned(crt *x509.Certificate) bool {
	return bytes.Equal(crt.RawIssuer, crt.RawSubject) && pki.CheckSelfSignature(crt) != nil
}
