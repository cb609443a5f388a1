package manage

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/durable"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/token"
	"cauase/pkg/vault"
)

// A CAExport says what is written where.
type CAExport struct {
	Authority  store.AuthorityName
	Path       string // of a file that is not there yet
	Passphrase []byte // not empty
}

// ExportedCAs is the result of a CAExport.
type ExportedCAs struct {
	Certificates []*x509.Certificate // oldest first
	LeftOut      []string            // CA certificates without a key here, and why it is not
}

// ExportCAs writes an authority's CA certificates, each followed by its key, encrypted, to a new
// file for its owner only. The audit log knows of it before the keys are there.
func ExportCAs(ctx context.Context, st store.Store, now time.Time, out CAExport) (done ExportedCAs, err error) {
	if len(out.Passphrase) == 0 {
		return done, errors.New("keys are exported with a passphrase only, and it is empty")
	}
	var rows []store.CA
	err = st.View(ctx, func(r store.Reader) (err error) {
		rows, err = r.CAs(ctx, out.Authority)
		return err
	})
	if err != nil {
		return done, err
	}
	content, entries, err := out.encode(ctx, ca.CustodyOf(ctx, st), now, rows, &done)
	if err != nil {
		return done, err
	}
	f, err := durable.Create(out.Path, 0o600)
	if err != nil {
		return done, err
	}
	defer f.Discard()
	err = st.Update(ctx, func(tx store.Tx) error {
		for _, e := range entries {
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	if err := f.Set(content); err != nil {
		return done, err
	}
	return done, f.Publish()
}

func (out CAExport) encode(ctx context.Context, custody keys.Custody, now time.Time, rows []store.CA, done *ExportedCAs) (content []byte, entries []audit.Entry, err error) {
	var buf bytes.Buffer
	onTokens := 0
	for _, row := range rows {
		if row.Key.Custody != store.CustodyRow && row.Key.Custody != keys.SealedCustody {
			why := whyNoKey(row.State)
			if row.Key.Custody == token.Name {
				onTokens++
				why = "its key is on a token, which does not hand it out"
			}
			done.LeftOut = append(done.LeftOut, fmt.Sprintf("CA certificate %d, valid until %s: %s", row.ID, row.NotAfter.UTC().Format(time.DateOnly), why))
			continue
		}
		crt, err := x509.ParseCertificate(row.Trusted())
		if err != nil {
			return nil, nil, fmt.Errorf("CA certificate %d: %w", row.ID, err)
		}
		signer, err := custody.Open(ctx, vault.PurposeOf(row), keys.Ref(row.Key))
		if err != nil {
			return nil, nil, fmt.Errorf("CA certificate %d: its key cannot be read: %w", row.ID, err)
		}
		encrypted, err := pki.EncryptPrivateKeyPEM(signer, out.Passphrase)
		if err != nil {
			return nil, nil, fmt.Errorf("CA certificate %d: its key cannot be encrypted", row.ID)
		}
		buf.Write(pki.EncodeCertificatePEM(row.Trusted()))
		if row.Anchor != nil {
			buf.Write(pki.EncodeCertificatePEM(row.Certificate)) // by its parent, for where that is known
		}
		buf.Write(encrypted)
		done.Certificates = append(done.Certificates, crt)
		e := audit.NewEntry(now, string(out.Authority), audit.Actor{Kind: audit.Operator}, audit.ExportCA, audit.CAObject(row.KeyID))
		e.Detail = "to " + pki.EscapeText(out.Path)
		entries = append(entries, e)
	}
	if len(entries) == 0 && onTokens > 0 {
		return nil, nil, fmt.Errorf("the keys of %s are on a token, which does not hand them out", out.Authority)
	}
	if len(entries) == 0 {
		return nil, nil, fmt.Errorf("%w: authority %s has no CA with a key", store.ErrNotFound, out.Authority)
	}
	return buf.Bytes(), entries, nil
}

// whyNoKey says why the key of a CA in this state is not there.
func whyNoKey(state store.CAState) string {
	switch state {
	case store.CAExternal:
		return "its key is kept elsewhere"
	case store.CARevoked:
		return "revoked by its parent, and its key erased"
	case store.CACompromised:
		return "withdrawn, as somebody else may have its key, and the key erased"
	case store.CADisowned:
		return "made while the clock was ahead, and its key erased"
	case store.CAErased:
		return "expired, and its key erased"
	}
	return "its key is not in the database"
}
