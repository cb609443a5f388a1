package ca

import (
	"context"
	"errors"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// A user sends whatever users can at the moment at which an admin revokes them: it was authenticated before, and comes to be recorded
// after the revocation. None of it happens, whichever certificate of the lineage was shown.
func TestUserRevokedMeanwhileChangesNothing(t *testing.T) {
	w := newWorld(t)
	users, services := w.open(config(store.Users)), w.open(config(store.Services))
	admin, _ := w.enrol(users, "admin")
	older, key := w.enrol(users, "mallory")
	newer, _ := w.successor(users, older, key)
	host, _ := w.enrol(services, "host")
	accomplice, err := wired(users).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "accomplice"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := wired(services).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "server"))
	if err != nil {
		t.Fatal(err)
	}
	const origin = "https://pages.example"
	const invitation = "00112233445566778899aabbccddeeff"
	adminNow := w.user(users, admin)
	revoked := map[string]audit.Actor{"older": w.user(users, older), "newer": w.user(users, newer)}
	if err := users.Consent(w.ctx, revoked["newer"], origin, true); err != nil {
		t.Fatal(err)
	}
	w.revoke(users, adminNow, newer, Revoking{})
	before := w.audit(audit.Filter{})

	for which, actor := range revoked {
		for what, try := range map[string]func(context.Context) error{
			"make a user":      func(ctx context.Context) error { return wired(users).Sign(ctx, actor, accomplice) },
			"sign a service":   func(ctx context.Context) error { return wired(services).Sign(ctx, actor, server) },
			"reject a user":    func(ctx context.Context) error { return users.Reject(ctx, actor, accomplice, Shown{}, "") },
			"reject a service": func(ctx context.Context) error { return services.Reject(ctx, actor, server, Shown{}, "") },
			"revoke the admin": func(ctx context.Context) error { return users.RevokeCertificate(ctx, actor, admin, Revoking{}) },
			"revoke the admin's only": func(ctx context.Context) error {
				return users.RevokeCertificate(ctx, actor, admin, Revoking{OnlyThis: true})
			},
			"revoke a serial": func(ctx context.Context) error {
				return services.RevokeSerial(ctx, actor, host.SerialNumber, Revoking{})
			},
			"end the admin's lineage":  func(ctx context.Context) error { return users.EndLineage(ctx, actor, w.lineage(users, admin).ID, 0) },
			"let web pages in":         func(ctx context.Context) error { return users.Consent(ctx, actor, origin+":8443", true) },
			"take a consent back":      func(ctx context.Context) error { return users.WithdrawConsents(ctx, actor, origin) },
			"withdraw an invitation":   func(ctx context.Context) error { return services.Void(ctx, actor, invitation) },
			"revoke what they have":    func(ctx context.Context) error { return users.RevokeSerial(ctx, actor, older.SerialNumber, Revoking{}) },
			"revoke what nobody knows": func(ctx context.Context) error { return users.RevokeSerial(ctx, actor, alice.Serial, Revoking{}) },
		} {
			if err := try(w.ctx); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%s, with the %s certificate: %v", what, which, err)
			}
		}
	}
	if after := w.audit(audit.Filter{}); len(after) != len(before) {
		t.Errorf("recorded after the revocation: %+v", after[len(before):])
	}
	// Nobody else is hindered.
	for _, a := range []struct {
		*Authority
		id int64
	}{{users, accomplice}, {services, server}} {
		if err := wired(a.Authority).Sign(w.ctx, adminNow, a.id); err != nil {
			t.Error(err)
		}
	}
}
