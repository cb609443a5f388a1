package manage

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// A backup does not know how often an invitation was used after it was taken: no earlier one is valid after a restore, of
// those that it has and of those that were made later, whatever the clock says, and new ones are.
func TestARestoreEndsInvitations(t *testing.T) {
	for name, clocks := range map[string]struct {
		restore, after time.Duration // since the backup
		users          bool          // can invite
	}{
		"a clock that is right": {time.Minute, 2 * time.Minute, true},
		"one that was behind":   {-3 * time.Hour, 2 * time.Minute, true},
		"one that is behind":    {-3 * time.Hour, -3 * time.Hour, false},
		"one that was ahead":    {20 * 24 * time.Hour, 2 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.clock.Advance(24 * time.Hour) // of which the CA is older than the clock will be
			names := must[invite.Names](t)(invite.ParseNames([]string{"cn:*"}))
			in := Invitee{Authority: store.Users, Netloc: "ca.example:8009", Order: inviter.Order{Names: names, Uses: 5, TTL: 24 * time.Hour}}
			before := must[*invite.Signed](t)(Invite(t.Context(), s.store, s.clock, in))
			path := s.backup()
			later := must[*invite.Signed](t)(Invite(t.Context(), s.store, s.clock, in))
			clk := clock.NewFake(s.clock.Now().Add(clocks.restore))
			st := newStore(t)
			if _, err := Restore(t.Context(), st, clk, Restoration{Backup: sealedFile(path, s.key), Request: pkitest.HostRequest(t, "alice")}); err != nil {
				t.Fatal(err)
			}
			clk.Set(s.clock.Now().Add(clocks.after))
			use := func(signed *invite.Signed) error {
				t.Helper()
				users := must[*ca.Authority](t)(openOne(t.Context(), st, clk, store.Users, "ca.example:8009"))
				req := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: "bob"}})
				_, err := users.SubmitInvited(t.Context(), audit.Actor{Kind: audit.Anonymous}, req, inviter.Of(signed), ca.Asked{})
				return err
			}
			for name, signed := range map[string]*invite.Signed{"in the backup": before, "after the backup": later} {
				if err := use(signed); !errors.Is(err, ca.ErrUninvited) {
					t.Errorf("one that was made %s: %v", name, err)
				}
			}
			if err := use(must[*invite.Signed](t)(Invite(t.Context(), st, clk, in))); err != nil {
				t.Errorf("one of after it: %v", err)
			}
			var since time.Time
			err := st.View(t.Context(), func(r store.Reader) error {
				text, err := r.Setting(t.Context(), "", store.SettingInvitationsSince)
				if err == nil {
					since, err = time.Parse(time.RFC3339, text)
				}
				return err
			})
			if err != nil || clk.Now().Before(since) == clocks.users {
				t.Errorf("those of users count since %s, and it is %s: %v", since, clk.Now(), err)
			}
			if since.Before(s.clock.Now()) {
				t.Errorf("those of users count since %s, before the backup", since)
			}
		})
	}
}
