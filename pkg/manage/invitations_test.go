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

// A backup does not know how often an invitation was used after it was taken: no earlier one is valid after a restore.
func TestARestoreEndsInvitations(t *testing.T) {
	s := newSite(t)
	names := must[invite.Names](t)(invite.ParseNames([]string{"cn:*"}))
	in := Invitee{Authority: store.Users, Netloc: "ca.example:8009", Order: inviter.Order{Names: names, Uses: 5, TTL: 24 * time.Hour}}
	before := must[*invite.Signed](t)(Invite(t.Context(), s.store, s.clock, in))
	path := s.backup()
	clk := clock.NewFake(s.clock.Now().Add(time.Minute))
	st := newStore(t)
	if _, err := Restore(t.Context(), st, clk, Restoration{Backup: sealedFile(path, s.key), Request: pkitest.HostRequest(t, "alice")}); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Minute)
	use := func(signed *invite.Signed) error {
		t.Helper()
		users := must[*ca.Authority](t)(openOne(t.Context(), st, clk, store.Users, "ca.example:8009"))
		req := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: "bob"}})
		_, err := users.SubmitInvited(t.Context(), audit.Actor{Kind: audit.Anonymous}, req, inviter.Of(signed), "")
		return err
	}
	if err := use(before); !errors.Is(err, ca.ErrUninvited) {
		t.Errorf("one of before the restore: %v", err)
	}
	if err := use(must[*invite.Signed](t)(Invite(t.Context(), st, clk, in))); err != nil {
		t.Errorf("one of after it: %v", err)
	}
}
