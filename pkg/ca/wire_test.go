package ca

import (
	"bytes"
	"context"
	"crypto"
	"fmt"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A wire is an authority that speaks PEM and envelopes.
type wire struct{ Authority *Authority }

// wired returns a as it looks from the other end of the wire.
func wired(a *Authority) wire { return wire{a} }

// Submit submits a request, PEM.
func (w wire) Submit(ctx context.Context, actor audit.Actor, csrPEM []byte) (id int64, err error) {
	req, err := pki.ParseRequest(csrPEM)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	made, err := w.Authority.Submit(ctx, actor, req, Asked{})
	return made.ID, err
}

// Sign approves a request as it is.
func (w wire) Sign(ctx context.Context, actor audit.Actor, id int64) error {
	_, err := w.Authority.Approve(ctx, actor, id, Approval{})
	return err
}

// Certificate returns a certificate, PEM.
func (w wire) Certificate(ctx context.Context, id int64) ([]byte, error) {
	return encode(w.Authority.Certificate(ctx, id))
}

func encode(issued Issued, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificatePEM(issued.Certificate.Raw), nil
}

// Renew does what an envelope with a renewal asks for, and returns the certificate, PEM.
func (w wire) Renew(ctx context.Context, actor audit.Actor, e *envelope.Envelope) ([]byte, error) {
	renewal, err := envelope.DecodeRenewal(e.Payload())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	holder, err := w.holder(ctx, actor, renewal.CertificatePEM, e)
	if err != nil {
		return nil, err
	}
	req, err := pki.ParseRequest([]byte(renewal.RequestPEM))
	if err != nil {
		return nil, w.Authority.Refused(ctx, holder, audit.Renew, fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	return encode(w.Authority.Renew(ctx, holder, req))
}

func (w wire) holder(ctx context.Context, actor audit.Actor, crtPEM string, e *envelope.Envelope) (Holder, error) {
	crt, err := pki.ParseCertificatePEM([]byte(crtPEM))
	if err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if e.Null() {
		return Holder{}, fmt.Errorf("%w: the envelope is not signed", ErrUnauthorized)
	}
	return w.Authority.Holder(ctx, actor, crt, func(pub crypto.PublicKey) error { return e.Verify(pub) })
}

// RevokeByHolder does what a signed envelope with a revocation asks for.
func (w wire) RevokeByHolder(ctx context.Context, actor audit.Actor, e *envelope.Envelope) error {
	rev, err := envelope.DecodeRevocation(e.Payload())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	holder, err := w.holder(ctx, actor, rev.CertificatePEM, e)
	if err != nil {
		return err
	}
	return w.Authority.RevokeOwn(ctx, holder, Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
}

// RevokeByUser does what an envelope with a revocation asks for that a user has sent.
func (w wire) RevokeByUser(ctx context.Context, actor audit.Actor, rev envelope.Revocation) error {
	if rev.Serial != nil {
		return w.Authority.RevokeSerial(ctx, actor, rev.Serial, Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
	}
	crt, err := pki.ParseCertificatePEM([]byte(rev.CertificatePEM))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return w.Authority.RevokeCertificate(ctx, actor, crt, Revoking{Reason: rev.Reason, OnlyThis: rev.OnlyThis})
}

// A wireLists is the revocation lists of an authority as one text.
type wireLists struct {
	List // of the oldest CA
	PEM  []byte
}

// CRLs returns the revocation lists of every valid CA, PEM, oldest CA first.
func (w wire) CRLs(ctx context.Context) (wireLists, error) {
	lists, err := w.Authority.CRLs(ctx)
	if err != nil {
		return wireLists{}, err
	}
	out := wireLists{List: lists[0]}
	for i, l := range lists {
		if i > 0 {
			out.PEM = append(out.PEM, '\n')
		}
		out.PEM = append(out.PEM, pki.EncodeCRLPEM(l.DER())...)
	}
	return out, nil
}

// CACertificate returns the oldest valid CA certificate, PEM.
func (w wire) CACertificate(ctx context.Context) ([]byte, error) {
	cas, err := w.Authority.CACertificates(ctx)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificatePEM(cas[0].Raw), nil
}

// VouchHTTPS returns the statement about the authority of the daemon's own certificates.
func (w wire) VouchHTTPS(ctx context.Context, https *Authority) ([]byte, error) {
	cas, err := https.CACertificates(ctx)
	if err != nil {
		return nil, err
	}
	return w.Authority.VouchHTTPS(ctx, cas)
}

// Chain returns the succession of CA certificates as a JSON list of envelopes.
func (w wire) Chain(ctx context.Context) ([]byte, error) {
	links, err := w.Authority.Succession(ctx)
	if err != nil {
		return nil, err
	}
	out := append([]byte{'['}, bytes.Join(links, []byte(", "))...)
	return append(out, ']'), nil
}
