package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// ErrSignoff means that a parent has to consent to a new CA certificate, and cannot do so here: its key
// is kept elsewhere.
var ErrSignoff = errors.New("waiting for a sign-off")

// A Parents finds authorities by name, as Directory does.
type Parents interface {
	Authority(name store.AuthorityName) (*Authority, bool)
}

// An issuer signs a CA certificate: the generation that it is for or, where an authority has a
// parent, one of the parent's.
type issuer struct {
	key crypto.Signer

	parent *Authority // nil: the certificate is self-signed
	st     state      // of the parent
}

// parent returns the authority that signs this one's CA certificates, nil if that is itself.
func (a *Authority) parent() (*Authority, error) {
	if a.row.Parent == "" {
		return nil, nil
	}
	if a.cfg.Parents != nil {
		if p, ok := a.cfg.Parents.Authority(a.row.Parent); ok {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: the parent of %s, %s, is not known here", ErrNoSigner, a.name, a.row.Parent)
}

// external reports whether the keys of this authority are elsewhere: it was told of its CA
// certificates, and makes none.
func (a *Authority) external() bool {
	g := a.cas.Load()
	return g != nil && len(g.list) > 0 && g.newest().state == store.CAExternal
}

// issuerOf returns who signs a CA certificate for key. ErrSignoff if that is a parent whose key is
// elsewhere, or locked.
func (a *Authority) issuerOf(ctx context.Context, now time.Time, key crypto.Signer) (issuer, error) {
	parent, err := a.parent()
	if err != nil {
		return issuer{}, err
	}
	if parent == nil {
		return issuer{key: key}, nil
	}
	if parent.row.Role != store.RoleRoot {
		return issuer{}, fmt.Errorf("%w: the parent, %s, is no root", ErrNoSigner, parent.name)
	}
	if parent.external() {
		return issuer{}, fmt.Errorf("%w of %s", ErrSignoff, parent.name)
	}
	if parent.retired(now) {
		return issuer{}, fmt.Errorf("%w: the parent, %s, is retired", ErrNoSigner, parent.name)
	}
	st, err := parent.current(ctx, now)
	if errors.Is(err, ErrLocked) {
		return issuer{}, fmt.Errorf("%w of %s: %w", ErrSignoff, parent.name, err)
	}
	if err != nil {
		return issuer{}, fmt.Errorf("parent %s: %w", parent.name, err)
	}
	return issuer{key: st.signer.key, parent: parent, st: st}, nil
}

// pointTo has p say who has issued it, and where verifiers find more about that. base is the address
// at which the authorities are served.
func (p issuer) pointTo(ca *profile.CA, base string) {
	if p.parent == nil {
		return
	}
	ca.Issuer = p.st.signer.crt
	ca.NotBefore = later(ca.NotBefore, p.st.signer.times.NotBefore)
	ca.NotAfter = earlier(ca.NotAfter, p.st.signer.times.NotAfter)
	ca.CRLURL, ca.IssuerURL = pointers(base, p.parent.name, ca.Issuer.SubjectKeyId)
}

// pointers are the addresses of the revocation list and of the certificate of a CA, DER both.
func pointers(base string, name store.AuthorityName, keyID []byte) (crl, crt string) {
	return fmt.Sprintf("%s/%s/crl/%s.crl", base, name, decimal(keyID)), fmt.Sprintf("%s/%s/crt/%s.crt", base, name, decimal(keyID))
}

// recordIn puts a CA certificate that a parent has signed on the parent's record, in the transaction
// that stores it as its holder's. The parent may have changed since it signed: errStale.
func (p issuer) recordIn(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt *x509.Certificate, csr *pki.Request) error {
	if p.parent == nil {
		return nil
	}
	row, err := CertifiedRow(p.parent.name, p.st.signer.id, now, crt)
	if err != nil {
		return err
	}
	if csr != nil {
		row.CSR, row.CSRDigest = csr.PEM, csr.Digest[:]
	}
	return p.parent.record(ctx, tx, now, p.st, actor, audit.Sign, minted{Certificate: row})
}

// CertifiedRow is what a parent records of a CA certificate that its CA with this id has signed.
func CertifiedRow(parent store.AuthorityName, caID int64, issued time.Time, crt *x509.Certificate) (store.Certificate, error) {
	id, err := newID()
	if err != nil {
		return store.Certificate{}, err
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return store.Certificate{}, err
	}
	return store.Certificate{
		Authority: parent,
		ID:        id,
		Serial:    crt.SerialNumber,
		CAID:      caID,
		Subject:   pki.SubjectString(crt.RawSubject),
		NotBefore: crt.NotBefore,
		NotAfter:  crt.NotAfter,
		KeyID:     keyID,
		IssuedAt:  issued,
		Method:    store.CASigned,
		Validity:  crt.NotAfter.Sub(crt.NotBefore),
		DER:       crt.Raw,
	}, nil
}

// chainOf are the certificates between what g signs and a self-signed CA certificate.
func (g generation) chainOf() []*x509.Certificate {
	if selfSigned(g.crt) {
		return nil
	}
	return []*x509.Certificate{g.crt}
}

func selfSigned(crt *x509.Certificate) bool { return string(crt.RawSubject) == string(crt.RawIssuer) }

// Roots returns the certificates to trust to verify all that this authority issues: its own
// self-signed CA certificates, and those of its parent. Valid ones, oldest first.
func (a *Authority) Roots(ctx context.Context) ([]*x509.Certificate, error) {
	crts, err := a.Intermediates(ctx)
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	under := a.row.Parent != ""
	for _, crt := range crts {
		if selfSigned(crt) {
			roots = append(roots, crt)
		} else {
			under = true
		}
	}
	if !under {
		return roots, nil
	}
	parent, err := a.parent()
	if err != nil {
		return nil, err
	}
	if parent == nil {
		return roots, nil
	}
	above, err := parent.CACertificates(ctx)
	return append(roots, above...), err
}

// CertifyCA signs a CA certificate for a key of another authority, which whoever asks for it on
// that authority's behalf has shown to hold, and records it. Only a root does.
func (a *Authority) CertifyCA(ctx context.Context, actor audit.Actor, csr *pki.Request, draft profile.CA, base string) (crt *x509.Certificate, err error) {
	defer a.observe(audit.Sign, &err)
	if a.row.Role != store.RoleRoot {
		return nil, fmt.Errorf("%w: authority %s is no root: it signs no CA certificates", ErrInvalid, a.name)
	}
	now := a.clock.Now()
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		if a.retired(now) {
			return ErrRetired
		}
		by := issuer{key: st.signer.key, parent: a, st: st}
		if crt, err = signCA(draft, by, base); err != nil {
			return err
		}
		return a.store.Update(ctx, func(tx store.Tx) error {
			if is, err := tx.IsCAKey(ctx, csr.KeyID); err != nil {
				return err
			} else if is {
				return fmt.Errorf("%w: the key is that of a CA here", ErrInvalid)
			}
			return by.recordIn(ctx, tx, now, actor, crt, csr)
		})
	})
	return crt, err
}

// signCA has by sign the certificate that draft describes.
func signCA(draft profile.CA, by issuer, base string) (*x509.Certificate, error) {
	serial, err := pki.NewSerial()
	if err != nil {
		return nil, err
	}
	draft.Serial = serial
	by.pointTo(&draft, base)
	if !draft.NotAfter.After(draft.NotBefore) {
		return nil, fmt.Errorf("%w: the CA certificate that would sign it ends at %s", ErrInvalid, draft.NotAfter.Format(time.RFC3339))
	}
	template, err := draft.Template()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	signer := draft.Issuer
	if signer == nil {
		signer = template
	} else if pki.ClaimsAuthority(template.RawSubject, signer.RawSubject) {
		return nil, fmt.Errorf("%w: the subject %s is that of the CA that would sign it", ErrInvalid, pki.SubjectString(template.RawSubject))
	}
	crt, err := create(template, signer, draft.PublicKey, by.key)
	if err != nil {
		return nil, err
	}
	pki.AsCA(crt, crt.SubjectKeyId)
	return crt, nil
}
