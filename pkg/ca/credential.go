package ca

import (
	"context"
	"fmt"

	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// Credential says what rules can go by of a holder's certificate, with which that asks for another one. One that was
// revoked does not count, nor one of a CA that was withdrawn, nor one of a lineage that has ended; nor, unless forks are allowed, one that was renewed since: of what was renewed there may be
// copies, and a new certificate would be no fork by which that could be noticed.
func (a *Authority) Credential(ctx context.Context, h Holder) (*policy.Certificate, error) {
	if h.authority != a {
		return nil, errNoHolder
	}
	var c continuation
	var s store.Standing
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		if c, err = a.continuing(ctx, r, h.crt, nil); err != nil {
			return err
		}
		s, err = r.Standing(ctx, a.name, h.crt.SerialNumber, h.actor.Issuer)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !s.Good():
		return nil, fmt.Errorf("%w: %w; renew it first", ErrUnauthorized, against(h.crt.SerialNumber, s))
	case c.fork && a.cfg.Fork != ForkAllow:
		return nil, fmt.Errorf("%w: certificate %#x was renewed since: the newer one is to be shown", ErrConflict, h.crt.SerialNumber)
	}
	return &policy.Certificate{
		Authority: string(a.name),
		Serial:    fmt.Sprintf("%#x", h.crt.SerialNumber),
		Subject:   pki.SubjectString(h.crt.RawSubject),
		Names:     pki.SANStrings(h.crt.Extensions),
		Lineage:   lineageText(c.ID),
		Issuer:    h.actor.Issuer,
	}, nil
}
