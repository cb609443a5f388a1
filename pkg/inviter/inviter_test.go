package inviter_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// A site is a database with both authorities, and alice, a user.
type site struct {
	t        *testing.T
	ctx      context.Context
	store    store.Store
	clock    *clock.Fake
	cau, cas *ca.Authority

	aliceKey crypto.Signer
	alice    *x509.Certificate
}

var (
	stranger = audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.9", RequestID: "r-9"}
	operator = audit.Actor{Kind: audit.Operator}
	users    = names("cn:*")
)

func names(texts ...string) invite.Names {
	n, err := invite.ParseNames(texts)
	if err != nil {
		panic(err)
	}
	return n
}

func newSite(t *testing.T) *site { return newSiteIn(t, sqltest.New(t)) }

func newSiteIn(t *testing.T, database string) *site {
	db, err := sqlstore.Open(t.Context(), database, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &site{t: t, ctx: t.Context(), store: db.Store(), clock: clock.NewFake(start)}
	s.cau, s.cas = s.open(store.Users), s.open(store.Services)
	signed := s.make(s.cau, inviter.Order{Names: users, Uses: 1, TTL: time.Hour})
	s.aliceKey = pkitest.Key(t)
	s.alice = s.mustUse(s.cau, signed, request(t, s.aliceKey, "alice")).Certificate
	return s
}

func (s *site) open(name store.AuthorityName) *ca.Authority {
	s.t.Helper()
	a, err := catest.Open(s.ctx, s.store, s.clock, catest.Config{
		Name: name, Netloc: "ca.example.org:8009", Spans: rollover.Spans{Leaf: 93 * day, Life: 4}, KeyType: pki.KeyECDSAP256, MaxPending: 50,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// make makes an operator's invitation.
func (s *site) make(a *ca.Authority, o inviter.Order) *invite.Signed {
	s.t.Helper()
	signed, err := inviter.Make(s.ctx, s.store, s.clock, a, operator, o, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// invitation is one that alice could sign for services.
func (s *site) invitation(texts ...string) invite.Invitation {
	return invite.Invitation{
		Authority: "cas", Names: names(texts...), Uses: 1, Made: s.clock.Now(), Until: s.clock.Now().Add(time.Hour), By: s.alice.SerialNumber,
		CAs: map[string][]invite.Fingerprint{"cas": {{1}}, "cau": {{2}}},
	}
}

func sign(t *testing.T, key crypto.Signer, i invite.Invitation) *invite.Signed {
	t.Helper()
	payload, err := i.Payload()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := invite.Sign(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func request(t *testing.T, key crypto.Signer, cn string, dns ...string) *pki.Request {
	return pkitest.ParsedRequest(t, key, &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: dns})
}

func (s *site) use(a *ca.Authority, signed *invite.Signed, req *pki.Request) (ca.Submission, error) {
	return a.SubmitInvited(s.ctx, stranger, req, inviter.Of(signed), ca.Asked{})
}

func (s *site) mustUse(a *ca.Authority, signed *invite.Signed, req *pki.Request) *ca.Issued {
	s.t.Helper()
	got, err := s.use(a, signed, req)
	if err != nil {
		s.t.Fatal(err)
	}
	if got.Issued == nil || !pki.SameKey(got.Issued.Certificate.PublicKey, req.CSR.PublicKey) {
		s.t.Fatalf("not signed at once: %+v", got)
	}
	return got.Issued
}

// refused looks whether something was, for that reason, and recorded.
func (s *site) refused(err error, why string) {
	s.t.Helper()
	if !errors.Is(err, ca.ErrUninvited) || !strings.Contains(err.Error(), why) {
		s.t.Errorf("%v, want a refusal: … %s …", err, why)
		return
	}
	entries := s.audit(audit.Filter{Action: audit.UseInvitation, Newest: true, Limit: 1})
	if len(entries) != 1 || entries[0].Result != audit.Refused || !strings.Contains(entries[0].Detail, why) || entries[0].Actor.Address != stranger.Address {
		s.t.Errorf("not on record: %+v", entries)
	}
}

func (s *site) audit(f audit.Filter) (entries []audit.Entry) {
	s.t.Helper()
	err := s.store.View(s.ctx, func(r store.Reader) error {
		entries = nil
		return r.Audit(s.ctx, f, func(e audit.Entry) error { entries = append(entries, e); return nil })
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

func (s *site) row(signed *invite.Signed) (row store.Invitation) {
	s.t.Helper()
	err := s.store.View(s.ctx, func(r store.Reader) (err error) {
		row, err = r.Invitation(s.ctx, store.AuthorityName(signed.Authority), signed.ID.String())
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	return row
}

func TestAnOperatorInvitesTheFirstUser(t *testing.T) {
	s := newSite(t)
	entries := s.audit(audit.Filter{Authority: "cau"})
	var log []string
	for _, e := range entries {
		log = append(log, fmt.Sprintf("%s %s by %s", e.Action, e.Result, e.Actor))
	}
	want := []string{"ca.create ok by daemon", "invitation.make ok by operator", "csr.submit ok by anonymous 192.0.2.9",
		"invitation.use ok by operator", "crt.sign ok by operator"}
	if fmt.Sprint(log) != fmt.Sprint(want) {
		t.Errorf("audit log:\n%s\nwant:\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	if s.alice.Subject.CommonName != "alice" {
		t.Error(s.alice.Subject)
	}
	if pending, err := s.cau.Pending(s.ctx); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v %v", pending, err)
	}
	if _, err := s.cau.Authenticate(s.ctx, stranger, s.alice); err != nil {
		t.Error(err)
	}
	if problems := s.audit(audit.Filter{ObjectKind: audit.KindInvitation}); len(problems) != 2 {
		t.Errorf("%d entries about the invitation", len(problems))
	}
}

func TestAUserInvitesHosts(t *testing.T) {
	s := newSite(t)
	inv := s.invitation("dns:*.web.example")
	inv.Uses = 2
	signed := sign(t, s.aliceKey, inv)
	first := request(t, pkitest.Key(t), "a.web.example", "a.web.example")
	issued := s.mustUse(s.cas, signed, first)

	// An answer that was lost is asked for again, from whichever daemon.
	again := s.mustUse(s.open(store.Services), signed, first)
	if again.Serial.Cmp(issued.Serial) != 0 || again.ID != issued.ID {
		t.Errorf("the same request got serial %s, then %s", issued.Serial, again.Serial)
	}
	if used := s.row(signed).Used; used != 1 {
		t.Errorf("used %d times", used)
	}
	e := s.audit(audit.Filter{Action: audit.Sign, Authority: "cas"})
	if len(e) != 1 || e[0].Actor.Kind != audit.Inviter || e[0].Actor.Serial.Cmp(s.alice.SerialNumber) != 0 || e[0].Actor.Address != stranger.Address {
		t.Errorf("signed by %+v", e)
	}
	s.mustUse(s.cas, signed, request(t, pkitest.Key(t), "b.web.example", "b.web.example"))
	_, err := s.use(s.cas, signed, request(t, pkitest.Key(t), "c.web.example", "c.web.example"))
	s.refused(err, "used up")
	s.mustUse(s.cas, signed, first) // which is no use
	if row := s.row(signed); row.Used != 2 || row.Refused != 1 {
		t.Errorf("%+v", row)
	}
}

func TestInvitationsThatAreRefused(t *testing.T) {
	s := newSite(t)
	host := request(t, pkitest.Key(t), "a.web.example", "a.web.example")
	hostKey := pkitest.Key(t)
	service := s.mustUse(s.cas, sign(t, s.aliceKey, s.invitation("dns:b.web.example")), request(t, hostKey, "b.web.example", "b.web.example"))
	change := func(change func(i *invite.Invitation)) *invite.Signed {
		i := s.invitation("dns:*.web.example")
		change(&i)
		return sign(t, s.aliceKey, i)
	}
	nothing := func(*invite.Invitation) {}
	for name, test := range map[string]struct {
		signed *invite.Signed
		to     *ca.Authority
		req    *pki.Request
		why    string
	}{
		"names outside the pattern": {change(nothing), s.cas, request(t, pkitest.Key(t), "a.web.example", "a.web.example", "other.example"), "DNS:other.example is not allowed"},
		"a subject outside of it":   {change(nothing), s.cas, request(t, pkitest.Key(t), "alice", "a.web.example"), "CN=alice is not allowed"},
		"another authority":         {change(nothing), s.cau, host, "it is for authority cas"},
		"a user by one for hosts":   {change(func(i *invite.Invitation) { i.Names = users }), s.cau, host, "it is for authority cas"},
		"not signed by the inviter": {sign(t, pkitest.Key(t), s.invitation("dns:*.web.example")), s.cas, host, "altered, or not signed by"},
		"signed by a service":       {sign(t, hostKey, withSerial(s.invitation("dns:*.web.example"), service.Serial)), s.cas, host, "no user has a certificate with the serial"},
		"signed by nobody":          {change(func(i *invite.Invitation) { i.By = big.NewInt(99) }), s.cas, host, "no user has a certificate with the serial 0x63"},
		"by a CA, but not by it":    {change(func(i *invite.Invitation) { i.By = nil }), s.cas, host, "altered, or not signed by"},
		"from the future":           {change(func(i *invite.Invitation) { i.Made = i.Made.Add(10 * time.Minute) }), s.cas, host, "is a clock wrong?"},
		"over":                      {change(func(i *invite.Invitation) { i.Made, i.Until = i.Made.Add(-time.Hour), i.Made }), s.cas, host, "it has ended"},
		"a profile there is not":    {change(func(i *invite.Invitation) { i.Profile = "nope" }), s.cas, host, "offers"},
		"a profile for users' eyes": {change(func(i *invite.Invitation) { i.Profile = "ocsp" }), s.cas, host, "ocsp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			_, err := s.use(test.to, test.signed, test.req)
			s.refused(err, test.why)
		})
	}
	if pending, err := s.cas.Pending(s.ctx); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v %v", pending, err)
	}
	for _, e := range s.audit(audit.Filter{}) {
		if strings.Contains(e.Detail, invite.Prefix) {
			t.Errorf("the text is on record: %s", e.Detail)
		}
	}
}

func withSerial(i invite.Invitation, serial *big.Int) invite.Invitation { i.By = serial; return i }

func TestARequestForAnotherProfileIsRefused(t *testing.T) {
	s := newSite(t)
	i := s.invitation("dns:*.web.example")
	i.Profile = "server"
	signed := sign(t, s.aliceKey, i)
	req := request(t, pkitest.Key(t), "", "a.web.example")
	_, err := s.cas.SubmitInvited(s.ctx, stranger, req, inviter.Of(signed), ca.Asked{Profile: "client"})
	s.refused(err, "asks for profile \"client\", and the invitation is for server")
	got, err := s.cas.SubmitInvited(s.ctx, stranger, req, inviter.Of(signed), ca.Asked{Profile: "server"})
	if err != nil || got.Issued.Certificate.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAnInvitationEndsWithItsInviter(t *testing.T) {
	host := func(t *testing.T) *pki.Request { return request(t, pkitest.Key(t), "a.web.example", "a.web.example") }
	t.Run("revoked", func(t *testing.T) {
		s := newSite(t)
		signed := sign(t, s.aliceKey, s.invitation("dns:*.web.example"))
		if err := s.cau.RevokeSerial(s.ctx, operator, s.alice.SerialNumber, ca.Revoking{}); err != nil {
			t.Fatal(err)
		}
		_, err := s.use(s.cas, signed, host(t))
		s.refused(err, "is revoked")
	})
	t.Run("expired", func(t *testing.T) {
		s := newSite(t)
		s.clock.Advance(93*day - 30*time.Minute)
		signed := sign(t, s.aliceKey, s.invitation("dns:*.web.example"))
		s.clock.Advance(45 * time.Minute)
		_, err := s.use(s.cas, signed, host(t))
		s.refused(err, "expired")
	})
}

func TestWithdrawnInvitations(t *testing.T) {
	s := newSite(t)
	host := func(cn string) *pki.Request { return request(t, pkitest.Key(t), cn, cn) }
	i := s.invitation("dns:*.web.example")
	i.Uses = 5
	used, unseen := sign(t, s.aliceKey, i), sign(t, s.aliceKey, i)
	s.mustUse(s.cas, used, host("a.web.example"))
	alice := audit.Actor{Kind: audit.User, Serial: s.alice.SerialNumber}
	for _, signed := range []*invite.Signed{used, unseen} {
		for range 2 { // again is fine
			if err := s.cas.Void(s.ctx, alice, signed.ID.String()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.use(s.cas, signed, host("b.web.example"))
		s.refused(err, "it was withdrawn")
	}
	if n := len(s.audit(audit.Filter{Action: audit.VoidInvitation})); n != 2 {
		t.Errorf("%d entries", n)
	}
	list, err := s.cas.Invitations(s.ctx)
	if err != nil || len(list) != 2 || list[0].VoidedAt.IsZero() || list[1].VoidedAt.IsZero() {
		t.Errorf("%+v %v", list, err)
	}
	// What has ended is forgotten, what cannot have ended is not.
	s.clock.Advance(2 * time.Hour)
	if _, err := s.use(s.cas, unseen, host("b.web.example")); !errors.Is(err, ca.ErrUninvited) {
		t.Error(err)
	}
	s.clock.Advance(40 * day)
	if err := s.cas.Maintain(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(10 * day)
	if err := s.cas.Maintain(s.ctx); err != nil {
		t.Fatal(err)
	}
	if list, err := s.cas.Invitations(s.ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if row := s.row(used); row.ID != "" {
		t.Errorf("still there: %+v", row)
	}
}

// A request that waits for a user is signed when its invitation comes after it.
func TestAnInvitationForARequestThatWaits(t *testing.T) {
	s := newSite(t)
	key := pkitest.Key(t)
	req := request(t, key, "bob")
	waiting, err := s.cau.Submit(s.ctx, stranger, req, ca.Asked{})
	if err != nil || waiting.Issued != nil {
		t.Fatalf("%+v %v", waiting, err)
	}
	i := s.invitation("cn:bob")
	i.Authority = "cau"
	issued := s.mustUse(s.cau, sign(t, s.aliceKey, i), req)
	if issued.ID != waiting.ID {
		t.Errorf("id %d, it had %d", issued.ID, waiting.ID)
	}
	if pending, err := s.cau.Pending(s.ctx); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v %v", pending, err)
	}
}

func TestARevokedCertificateIsNotIssuedAgain(t *testing.T) {
	s := newSite(t)
	i := s.invitation("dns:*.web.example")
	i.Uses = 5
	signed, req := sign(t, s.aliceKey, i), request(t, pkitest.Key(t), "a.web.example", "a.web.example")
	issued := s.mustUse(s.cas, signed, req)
	if err := s.cas.RevokeSerial(s.ctx, operator, issued.Serial, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.use(s.cas, signed, req); !errors.Is(err, ca.ErrConflict) {
		t.Error(err)
	}
}

// The slots of pending requests are no matter of those who are invited.
func TestInvitedThoughThePendingListIsFull(t *testing.T) {
	s := newSite(t)
	for n := range 50 {
		if _, err := s.cas.Submit(s.ctx, operator, request(t, pkitest.Key(t), fmt.Sprint("h", n)), ca.Asked{}); err != nil {
			t.Fatal(err)
		}
	}
	s.mustUse(s.cas, sign(t, s.aliceKey, s.invitation("cn:x")), request(t, pkitest.Key(t), "x"))
}

// A backup does not know how often an invitation was used after it.
func TestARestoreEndsInvitations(t *testing.T) {
	s := newSite(t)
	signed := sign(t, s.aliceKey, s.invitation("cn:*"))
	s.clock.Advance(time.Minute)
	err := s.store.Update(s.ctx, func(tx store.Tx) error {
		return tx.PutSetting(s.ctx, "", store.SettingInvitationsSince, s.clock.Now().UTC().Format(time.RFC3339))
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.use(s.cas, signed, request(t, pkitest.Key(t), "x"))
	s.refused(err, "before the CA's database was restored")
	s.mustUse(s.cas, sign(t, s.aliceKey, s.invitation("cn:*")), request(t, pkitest.Key(t), "x"))
}

// Who can log in to a database that was just restored? Nobody, so that this is when operators invite.
func TestInvitationsMadeInTheSecondOfARestoreCount(t *testing.T) {
	s := newSite(t)
	s.clock.Advance(100 * time.Millisecond)
	err := s.store.Update(s.ctx, func(tx store.Tx) error {
		since := s.clock.Now().UTC().Truncate(time.Second).Add(time.Second) // as manage.Restore has it
		return tx.PutSetting(s.ctx, "", store.SettingInvitationsSince, since.Format(time.RFC3339))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.mustUse(s.cau, s.make(s.cau, inviter.Order{Names: users, Uses: 1, TTL: time.Hour}), request(t, pkitest.Key(t), "root"))
}

func TestTheLimitsOfTextAndCoreAgree(t *testing.T) {
	if invite.MaxTTL != ca.MaxInvitation {
		t.Errorf("%s and %s", invite.MaxTTL, ca.MaxInvitation)
	}
}

func TestAnInvitationNamesTheCAsThatUsersMeet(t *testing.T) {
	s := newSite(t)
	got := s.make(s.cau, inviter.Order{Names: users, Uses: 1, TTL: time.Hour}).CAs
	for _, a := range []*ca.Authority{s.cau, s.cas} {
		crts, err := a.CACertificates(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if list := got[string(a.Name())]; len(list) != 1 || list[0] != invite.FingerprintOf(crts[0]) {
			t.Errorf("%s: %x", a.Name(), list)
		}
	}
	if got := s.make(s.cas, inviter.Order{Names: users, Uses: 1, TTL: time.Hour}).CAs; len(got) != 1 {
		t.Errorf("to a host: %v", got)
	}
}
