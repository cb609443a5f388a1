package ca

import (
	"cmp"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A Preview is what would be in the certificate if a request were approved now.
type Preview struct {
	Profile  string
	Validity time.Duration
	Subject  []byte // DER

	// Extensions come from the request or the profile. Those that every certificate of the authority has are
	// not among them: constraints, key identifiers, pointers.
	Extensions []pkix.Extension

	// Problem is why it would be refused instead, as far as can be told without linting it.
	Problem error
}

// Preview describes the certificates that approving requests would make. Of the approval, profile and validity
// are looked at. It costs no public-key operation: anybody may look.
func (a *Authority) Preview(ctx context.Context, how Approval, requests ...Submitted) ([]Preview, error) {
	now := a.clock.Now()
	st, err := a.forReading(ctx, now)
	if err != nil {
		return nil, err
	}
	previews := make([]Preview, len(requests))
	for i, req := range requests {
		previews[i] = a.preview(now, st, how, req)
	}
	return previews, nil
}

func (a *Authority) preview(now time.Time, st state, how Approval, req Submitted) Preview {
	name := cmp.Or(how.Profile, req.Profile, a.defaultProfile())
	refused := func(why error) Preview { return Preview{Profile: name, Problem: why} }
	if a.retired(now) {
		return refused(ErrRetired)
	}
	by, err := a.profileNamed(name)
	if err != nil {
		return refused(err)
	}
	if req.Foreign() {
		return refused(errForeign)
	}
	// It was checked when it came in, self-signature included.
	block, _ := pem.Decode(req.Text)
	if block == nil {
		return refused(fmt.Errorf("%w: request %d of %s", ErrDamaged, req.ID, a.name))
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return refused(fmt.Errorf("%w: request %d of %s: %w", ErrDamaged, req.ID, a.name, err))
	}
	in := issuance{request: &pki.Request{CSR: csr}, method: store.Signed, profile: by, validity: how.Validity}
	draft, _, err := a.draft(now, st, in)
	if err != nil {
		return refused(err)
	}
	template, err := in.shape(draft, st)
	if err != nil {
		return refused(err)
	}
	return Preview{
		Profile: by.Name(), Validity: draft.NotAfter.Sub(now).Truncate(time.Second),
		Subject: template.RawSubject, Extensions: template.ExtraExtensions,
	}
}
