// Package inviter makes invitations with the key of a CA, on behalf of an operator, and says to an authority what an
// invitation that was presented to it permits.
package inviter

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/store"
)

// Of is what an invitation permits, as far as it says so itself.
func Of(s *invite.Signed) ca.Invitation {
	return ca.Invitation{
		ID:        s.ID.String(),
		Authority: store.AuthorityName(s.Authority),
		Names:     s.Names.Strings(),
		Profile:   s.Profile,
		Uses:      s.Uses,
		Made:      s.Made,
		Until:     s.Until,
		By:        s.By,
		Verify:    s.Verify,
		Covers:    s.Names.Covers,
	}
}

// An Order is what an invitation is to be good for.
type Order struct {
	Names   invite.Names
	Profile string // empty: the authority's default
	Uses    int
	TTL     time.Duration
}

// Make makes an invitation to an authority on behalf of actor, signed by the authority's CA, and records that it was
// made. Also, when set, is done in the same transaction.
func Make(ctx context.Context, st store.Store, clk clock.Clock, a *ca.Authority, actor audit.Actor, o Order,
	also func(context.Context, store.Tx, *invite.Signed) error,
) (*invite.Signed, error) {
	now := clk.Now()
	cas, err := fingerprints(ctx, st, now, a)
	if err != nil {
		return nil, err
	}
	made := now
	switch since, err := a.InvitationsSince(ctx); {
	case err != nil:
		return nil, err
	case made.Before(since): // as the database was restored in this second
		made = since
	}
	payload, err := invite.Invitation{
		Authority: string(a.Name()), Names: o.Names, Profile: o.Profile, Uses: o.Uses, Made: made, Until: now.Add(o.TTL), CAs: cas,
	}.Payload()
	if err != nil {
		return nil, err
	}
	var signed *invite.Signed
	sign := func(key crypto.Signer) (ca.Invitation, error) {
		if signed, err = invite.Sign(key, payload); err != nil {
			return ca.Invitation{}, err
		}
		return Of(signed), nil
	}
	within := func(ctx context.Context, tx store.Tx) error { return nil }
	if also != nil {
		within = func(ctx context.Context, tx store.Tx) error { return also(ctx, tx, signed) }
	}
	_, err = a.Invite(ctx, actor, sign, within)
	return signed, err
}

// fingerprints are those of the CA certificates that whoever is invited to an authority is going to meet: its own
// and, for a user, those of the authorities whose requests users sign.
func fingerprints(ctx context.Context, st store.Store, now time.Time, a *ca.Authority) (map[string][]invite.Fingerprint, error) {
	own, err := a.CACertificates(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]invite.Fingerprint)
	total := add(found, a.Name(), own)
	if total == 0 {
		return nil, fmt.Errorf("authority %s: %w", a.Name(), ca.ErrNoSigner)
	}
	if a.Row().Role != store.RoleUsers {
		return found, nil
	}
	err = st.View(ctx, func(r store.Reader) error {
		rows, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		store.SortForDisplay(rows)
		for _, row := range store.ByRole(rows, store.RoleServices) {
			crts, err := valid(ctx, r, row.Name, now)
			if err != nil {
				return err
			}
			// The others are met as those are whom nobody vouches for.
			if total+len(crts) > invite.MaxFingerprints || len(found) == invite.MaxAuthorities {
				continue
			}
			total += add(found, row.Name, crts)
		}
		return nil
	})
	return found, err
}

func add(found map[string][]invite.Fingerprint, name store.AuthorityName, crts []*x509.Certificate) int {
	for _, crt := range crts {
		found[string(name)] = append(found[string(name)], invite.FingerprintOf(crt))
	}
	return len(crts)
}

// valid returns the CA certificates of an authority that are valid now.
func valid(ctx context.Context, r store.Reader, name store.AuthorityName, now time.Time) (crts []*x509.Certificate, err error) {
	rows, err := r.CAs(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		usable := row.State == store.CAUsable || row.State == store.CAExternal
		if !usable || now.Before(row.NotBefore) || now.After(row.NotAfter) {
			continue
		}
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return nil, fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, row.ID, name, err)
		}
		crts = append(crts, crt)
	}
	return crts, nil
}
