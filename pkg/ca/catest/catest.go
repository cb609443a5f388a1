// Package catest is for tests of other packages that need a certificate authority: the rows of the
// authorities that every daemon has, and operations that take and return what goes over the wire.
package catest

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Config is what tests choose of an authority.
type Config struct {
	Name           store.AuthorityName
	Netloc, Host   string
	Spans          rollover.Spans
	KeyType        pki.KeyType
	Backdate       time.Duration
	Retention      time.Duration
	ChainRetention time.Duration
	MaxPending     int
	AutoApprove    int
	Decide         func(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan
}

// Open opens an authority that a test has configured.
func Open(ctx context.Context, st store.Store, clk clock.Clock, cfg Config) (*ca.Authority, error) {
	row := Row(cfg.Name)
	row.Span, row.Life, row.KeyType = cfg.Spans.Leaf, cfg.Spans.Life, string(cfg.KeyType)
	row.MaxPending, row.AutoApprove = cfg.MaxPending, cfg.AutoApprove
	err := st.Update(ctx, func(tx store.Tx) error {
		switch old, err := tx.Authority(ctx, row.Name); {
		case err == nil:
			row.CreatedAt = old.CreatedAt
			return nil
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		row.CreatedAt = clk.Now().UTC().Truncate(time.Microsecond)
		return tx.PutAuthority(ctx, row)
	})
	if err != nil {
		return nil, err
	}
	return ca.Open(ctx, st, clk, row, ca.Config{
		Netloc: cfg.Netloc, Host: cfg.Host, Backdate: cfg.Backdate, Retention: cfg.Retention,
		ChainRetention: cfg.ChainRetention, Decide: cfg.Decide, Statements: envelope.Statements{},
	})
}

// Row returns the row of one of the authorities that every daemon has, with spans of 93 days and
// keys of the type that is quickest to make.
func Row(name store.AuthorityName) store.Authority {
	row := store.Authority{Name: name, Span: 93 * 24 * time.Hour, Life: 4, KeyType: string(pki.KeyECDSAP256), MaxPending: 50}
	switch name {
	case store.Users:
		row.Title, row.Role = "Caucase CAU", store.RoleUsers
	case store.HTTPS:
		row.Title, row.Role, row.Life = "Caucased CA", store.RoleDaemon, 40
	default:
		row.Title, row.Role = "Caucase CAS", store.RoleServices
	}
	return row
}

// A Wire is an authority that speaks PEM and envelopes.
type Wire struct{ Authority *ca.Authority }

// Wired returns a as it looks from the other end of the wire.
func Wired(a *ca.Authority) Wire { return Wire{a} }

// Submit submits a request, PEM.
func (w Wire) Submit(ctx context.Context, actor audit.Actor, csrPEM []byte) (id int64, err error) {
	req, err := pki.ParseRequest(csrPEM)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	made, err := w.Authority.Submit(ctx, actor, req, ca.Asked{})
	return made.ID, err
}

// Sign approves a request as it is.
func (w Wire) Sign(ctx context.Context, actor audit.Actor, id int64) error {
	_, err := w.Authority.Approve(ctx, actor, id, ca.Approval{})
	return err
}

// Certificate returns a certificate, PEM.
func (w Wire) Certificate(ctx context.Context, id int64) ([]byte, error) {
	return encode(w.Authority.Certificate(ctx, id))
}

func encode(issued ca.Issued, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificatePEM(issued.Certificate.Raw), nil
}

// Renew does what an envelope with a renewal asks for, and returns the certificate, PEM.
func (w Wire) Renew(ctx context.Context, actor audit.Actor, e *envelope.Envelope) ([]byte, error) {
	renewal, err := envelope.DecodeRenewal(e.Payload())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	holder, err := w.holder(ctx, actor, renewal.CertificatePEM, e)
	if err != nil {
		return nil, err
	}
	req, err := pki.ParseRenewalRequest([]byte(renewal.RequestPEM))
	if err != nil {
		return nil, w.Authority.Refused(ctx, holder, audit.Renew, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	return encode(w.Authority.Renew(ctx, holder, req))
}

func (w Wire) holder(ctx context.Context, actor audit.Actor, crtPEM string, e *envelope.Envelope) (ca.Holder, error) {
	crt, err := pki.ParseIssuedPEM([]byte(crtPEM))
	if err != nil {
		return ca.Holder{}, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	if e.Null() {
		return ca.Holder{}, fmt.Errorf("%w: the envelope is not signed", ca.ErrUnauthorized)
	}
	return w.Authority.Holder(ctx, actor, crt, func(pub crypto.PublicKey) error { return e.Verify(pub) })
}

// RevokeByHolder does what a signed envelope with a revocation asks for.
func (w Wire) RevokeByHolder(ctx context.Context, actor audit.Actor, e *envelope.Envelope) error {
	rev, err := envelope.DecodeRevocation(e.Payload())
	if err != nil {
		return fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	holder, err := w.holder(ctx, actor, rev.CertificatePEM, e)
	if err != nil {
		return err
	}
	return w.Authority.RevokeOwn(ctx, holder, ca.Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
}

// RevokeByUser does what an envelope with a revocation asks for that a user has sent.
func (w Wire) RevokeByUser(ctx context.Context, actor audit.Actor, rev envelope.Revocation) error {
	if rev.Serial != nil {
		return w.Authority.RevokeSerial(ctx, actor, rev.Serial, ca.Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
	}
	crt, err := pki.ParseIssuedPEM([]byte(rev.CertificatePEM))
	if err != nil {
		return fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	return w.Authority.RevokeCertificate(ctx, actor, crt, ca.Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
}

// A Lists is the revocation lists of an authority as one text.
type Lists struct {
	ca.List // of the oldest CA
	PEM     []byte
}

// CRLs returns the revocation lists of an authority. Where there are lists to serve, that waits for the store for no more
// than a second, in which a busy machine may not answer: it is asked some more times.
func CRLs(ctx context.Context, a *ca.Authority) (lists []ca.List, err error) {
	for range 10 {
		if lists, err = a.CRLs(ctx); !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	return lists, err
}

// CRLs returns the revocation lists of every valid CA, PEM, oldest CA first.
func (w Wire) CRLs(ctx context.Context) (Lists, error) {
	lists, err := CRLs(ctx, w.Authority)
	if err != nil {
		return Lists{}, err
	}
	out := Lists{List: lists[0]}
	for i, l := range lists {
		if i > 0 {
			out.PEM = append(out.PEM, '\n')
		}
		out.PEM = append(out.PEM, pki.EncodeCRLPEM(l.DER())...)
	}
	return out, nil
}

// CACertificate returns the oldest valid CA certificate, PEM.
func (w Wire) CACertificate(ctx context.Context) ([]byte, error) {
	cas, err := w.Authority.CACertificates(ctx)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificatePEM(cas[0].Raw), nil
}

// VouchHTTPS returns the statement about the authority of the daemon's own certificates.
func (w Wire) VouchHTTPS(ctx context.Context, https *ca.Authority) ([]byte, error) {
	cas, err := https.CACertificates(ctx)
	if err != nil {
		return nil, err
	}
	return w.Authority.VouchHTTPS(ctx, cas)
}

// Chain returns the succession of CA certificates as a JSON list of envelopes.
func (w Wire) Chain(ctx context.Context) ([]byte, error) {
	links, err := w.Authority.Succession(ctx)
	if err != nil {
		return nil, err
	}
	out := append([]byte{'['}, bytes.Join(links, []byte(", "))...)
	return append(out, ']'), nil
}
