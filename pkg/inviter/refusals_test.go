package inviter_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// uses are the entries about invitations that were presented.
func (s *site) uses() []audit.Entry { return s.audit(audit.Filter{Action: audit.UseInvitation}) }

// hourly does what time makes due, an hour later.
func (s *site) hourly() {
	s.t.Helper()
	s.clock.Advance(time.Hour)
	if err := s.cas.Maintain(s.ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Of an invitation that counts the first refusals are recorded one by one, and then how many there were.
func TestRefusalsOfAnInvitationAreCounted(t *testing.T) {
	s := newSite(t)
	before := len(s.uses())
	i := s.invitation("dns:*.web.example")
	i.Until = i.Made.Add(day)
	signed := sign(t, s.aliceKey, i)
	wrong := request(t, pkitest.Key(t), "x")
	for range 100 {
		_, err := s.use(s.cas, signed, wrong)
		s.refused(err, "CN=x is not allowed")
	}
	if n := len(s.uses()) - before; n != 20 {
		t.Errorf("%d entries", n)
	}
	if row := s.row(signed); row.Refused != 20 {
		t.Errorf("%+v", row)
	}
	s.hourly()
	last := s.uses()[before+20:]
	if len(last) != 1 || !strings.HasPrefix(last[0].Detail, "80 more since ") || last[0].Object.ID != signed.ID.String() {
		t.Errorf("%+v", last)
	}
	if row := s.row(signed); row.Refused != 100 || row.Uses != 1 || row.Inviter == "" || len(row.Names) != 1 {
		t.Errorf("%+v", row)
	}
	for range 100 { // it goes on
		_, _ = s.use(s.cas, signed, wrong)
	}
	s.cas.Finish(s.ctx)
	if n := len(s.uses()) - before; n != 22 || s.row(signed).Refused != 200 {
		t.Errorf("%d entries, %d refused", n, s.row(signed).Refused)
	}
	s.mustUse(s.cas, signed, request(t, pkitest.Key(t), "", "a.web.example")) // which ends nothing
	if row := s.row(signed); row.Used != 1 || row.Refused != 200 {
		t.Errorf("%+v", row)
	}
}

// Strangers can make up as many invitations as they like, and whoever was a user can sign them: nothing is kept of
// any of them, and the audit log has a few and then a number.
func TestMadeUpInvitationsFillNothing(t *testing.T) {
	s := newSite(t)
	if err := s.cau.RevokeSerial(s.ctx, operator, s.alice.SerialNumber, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	before := len(s.uses())
	wrong := request(t, pkitest.Key(t), "x")
	key := pkitest.Key(t)
	for n := range 300 {
		switch n % 3 {
		case 0:
			_, _ = s.use(s.cas, sign(t, s.aliceKey, s.invitation("dns:*.web.example")), wrong)
		case 1:
			_, _ = s.use(s.cas, sign(t, key, withSerial(s.invitation("cn:x"), big.NewInt(7))), wrong)
		default:
			_ = s.cas.RefusedInvitation(s.ctx, stranger, fmt.Errorf("%w: nonsense", ca.ErrInvalid))
		}
	}
	if n := len(s.uses()) - before; n != 20 {
		t.Errorf("%d entries", n)
	}
	s.hourly()
	last := s.uses()[before+20:]
	if len(last) != 1 || !strings.HasPrefix(last[0].Detail, "280 more since ") || last[0].Actor.Address != "" || last[0].Object.ID != "" {
		t.Errorf("%+v", last)
	}
	var rows int
	err := s.store.View(s.ctx, func(r store.Reader) (err error) {
		rows, err = r.CountInvitations(s.ctx, store.Services)
		return err
	})
	if err != nil || rows != 0 {
		t.Errorf("%d rows of invitations, %v", rows, err)
	}
	// While it goes on, an invitation of a user is recorded as if it did not.
	s = newSite(t)
	for range 50 {
		_, _ = s.use(s.cas, sign(t, key, withSerial(s.invitation("cn:x"), big.NewInt(7))), wrong)
	}
	_, err = s.use(s.cas, sign(t, s.aliceKey, s.invitation("dns:*.web.example")), wrong)
	s.refused(err, "CN=x is not allowed")
}

// Whoever asks for names without end does not fill the audit log with them.
func TestRefusalsAreShort(t *testing.T) {
	s := newSite(t)
	req := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: strings.Repeat("é", 60), Organization: []string{strings.Repeat("x", 60)}, OrganizationalUnit: many("ou", 40)},
	})
	_, err := s.use(s.cas, sign(t, s.aliceKey, s.invitation("cn:x")), req)
	s.refused(err, "is not allowed")
	if e := s.audit(audit.Filter{Newest: true, Limit: 1})[0]; len(e.Detail) > 1100 {
		t.Errorf("%d bytes: %s", len(e.Detail), e.Detail)
	}
}

func many(text string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s%058d", text, i))
	}
	return list
}
