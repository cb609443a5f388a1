package ca

import (
	"bytes"
	"context"
	"errors"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// SubjectOf is the name in the certificate that a user has shown, "" if that is not known.
func (a *Authority) SubjectOf(ctx context.Context, actor audit.Actor) (subject string) {
	if actor.Serial == nil {
		return ""
	}
	err := a.store.View(ctx, func(r store.Reader) error {
		all, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		for _, users := range all {
			if users.Role != store.RoleUsers {
				continue
			}
			crt, err := r.CertificateBySerial(ctx, users.Name, actor.Serial)
			if err == nil && bytes.Equal(crt.KeyID, actor.KeyID) {
				subject = crt.Subject
				return nil
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "" // it is for display
	}
	return subject
}
