package inviter_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

var postgres = pgtest.Shared(pgtest.Options{})

// inEach runs a test on a site of each kind of database.
func inEach(t *testing.T, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newSite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, newSiteIn(t, postgres(t).NewDatabase(t))) })
}

func (s *site) host(name string) (signed *invite.Signed, use func() error) {
	s.t.Helper()
	signed = sign(s.t, s.aliceKey, s.invitation("dns:*.web.example"))
	return signed, func() error {
		_, err := s.use(s.cas, signed, request(s.t, pkitest.Key(s.t), "", name+".web.example"))
		return err
	}
}

// Whoever presents an invitation many times at once, at several daemons, gets as many certificates as it is good for.
func TestOfManyAtOnceOnlySoManyAreSigned(t *testing.T) {
	inEach(t, func(t *testing.T, s *site) {
		i := s.invitation("dns:*.web.example")
		i.Uses = 7
		signed := sign(t, s.aliceKey, i)
		daemons := []*ca.Authority{s.cas, s.open(store.Services)}
		var wg sync.WaitGroup
		var mu sync.Mutex
		serials := map[string]string{}
		for n := range 25 {
			name := fmt.Sprintf("h%d.web.example", n)
			req := request(t, pkitest.Key(t), name, name)
			for _, a := range daemons { // each twice, at both
				wg.Go(func() {
					got, err := s.use(a, signed, req)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case errors.Is(err, ca.ErrUninvited):
					case err != nil:
						t.Errorf("%s: %v", name, err)
					case serials[name] != "" && serials[name] != got.Issued.Serial.String():
						t.Errorf("%s has two certificates", name)
					default:
						serials[name] = got.Issued.Serial.String()
					}
				})
			}
		}
		wg.Wait()
		if len(serials) != 7 || s.row(signed).Used != 7 {
			t.Errorf("%d signed, %d uses", len(serials), s.row(signed).Used)
		}
		if n := len(s.audit(audit.Filter{Authority: "cas", Action: audit.Sign})); n != 7 {
			t.Errorf("%d certificates", n)
		}
	})
}

// A meddler has something done between what an operation has read and what it writes.
type meddler struct {
	store.Store
	before func()
}

func (m *meddler) Update(ctx context.Context, fn func(store.Tx) error) error {
	if before := m.before; before != nil {
		m.before = nil
		before()
	}
	return m.Store.Update(ctx, fn)
}

// What ends an invitation while a certificate is being signed ends it in time.
func TestWhatEndsAnInvitationMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(s *site, signed *invite.Signed) error
		why       string
	}{
		"the inviter is revoked": {func(s *site, _ *invite.Signed) error {
			return s.cau.RevokeSerial(s.ctx, operator, s.alice.SerialNumber, ca.Revoking{})
		}, "is revoked"},
		"the inviter's lineage is": {func(s *site, _ *invite.Signed) error {
			id, err := s.cau.LineageOf(s.ctx, s.alice.SerialNumber)
			if err != nil {
				return err
			}
			return s.cau.EndLineage(s.ctx, operator, id, 0)
		}, "the user who has signed it"},
		"it is withdrawn": {func(s *site, signed *invite.Signed) error {
			return s.cas.Void(s.ctx, operator, signed.ID.String())
		}, "withdrawn"},
		"it is used": {func(s *site, signed *invite.Signed) error {
			_, err := s.use(s.cas, signed, request(s.t, pkitest.Key(s.t), "", "first.web.example"))
			return err
		}, "used up"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			plain := s.store
			m := &meddler{Store: plain}
			s.store = m
			slow := s.open(store.Services)
			s.store = plain
			signed, _ := s.host("x")
			done := false
			m.before = func() {
				if err := test.meanwhile(s, signed); err != nil {
					t.Error(err)
				}
				done = true
			}
			before := len(s.audit(audit.Filter{Authority: "cas", Action: audit.Sign}))
			req := request(t, pkitest.Key(t), "", "a.web.example")
			_, err := s.use(slow, signed, req)
			s.refused(err, test.why)
			if !done {
				t.Fatal("nothing has come between")
			}
			extra := 0
			if name == "it is used" {
				extra = 1
			}
			if n := len(s.audit(audit.Filter{Authority: "cas", Action: audit.Sign})) - before; n != extra {
				t.Errorf("%d certificates", n)
			}
			if n := s.row(signed).Used; n != extra {
				t.Errorf("used %d times", n)
			}
		})
	}
}

// An invitation with uses left ends with its inviter.
func TestTheRestOfAnInvitationEndsWithItsInviter(t *testing.T) {
	inEach(t, func(t *testing.T, s *site) {
		i := s.invitation("dns:*.web.example")
		i.Uses = 10
		signed := sign(t, s.aliceKey, i)
		for n := range 3 {
			s.mustUse(s.cas, signed, request(t, pkitest.Key(t), "", fmt.Sprintf("h%d.web.example", n)))
		}
		if err := s.cau.RevokeSerial(s.ctx, operator, s.alice.SerialNumber, ca.Revoking{}); err != nil {
			t.Fatal(err)
		}
		_, err := s.use(s.cas, signed, request(t, pkitest.Key(t), "", "h3.web.example"))
		s.refused(err, "is revoked")
		if row := s.row(signed); row.Used != 3 {
			t.Errorf("%+v", row)
		}
	})
}

// An invitation counts up to its last second, and from five minutes before it was made, as the clock of whoever has made
// it may be ahead.
func TestTheSecondsOfAnInvitation(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		at  func(i *invite.Invitation, now time.Time)
		why string // empty: it counts
	}{
		"its last second":    {func(i *invite.Invitation, now time.Time) { i.Made, i.Until = now.Add(-time.Hour), now.Add(time.Second) }, ""},
		"the one after that": {func(i *invite.Invitation, now time.Time) { i.Made, i.Until = now.Add(-time.Hour), now }, "it has ended"},
		"made just now":      {func(i *invite.Invitation, now time.Time) { i.Made = now }, ""},
		"a clock ahead": {func(i *invite.Invitation, now time.Time) {
			i.Made, i.Until = now.Add(5*time.Minute), now.Add(time.Hour)
		}, ""},
		"too far ahead": {func(i *invite.Invitation, now time.Time) {
			i.Made, i.Until = now.Add(5*time.Minute+time.Second), now.Add(time.Hour)
		}, "is a clock wrong?"},
		"for as long as can be": {func(i *invite.Invitation, now time.Time) { i.Made, i.Until = now, now.Add(invite.MaxTTL) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			i := s.invitation("cn:x")
			test.at(&i, s.clock.Now())
			_, err := s.use(s.cas, sign(t, s.aliceKey, i), request(t, pkitest.Key(t), "x"))
			if test.why != "" {
				s.refused(err, test.why)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// An invitation to an authority of this name, made by another daemon, is nobody's here.
func TestInvitationsOfAnotherDaemon(t *testing.T) {
	here, there := newSite(t), newSite(t)
	req := request(t, pkitest.Key(t), "x")
	_, err := here.use(here.cas, there.make(there.cas, inviter.Order{Names: names("cn:x"), Uses: 1, TTL: time.Hour}), req)
	here.refused(err, "altered, or not signed by whom it names")
	_, err = here.use(here.cas, sign(t, there.aliceKey, there.invitation("cn:x")), req)
	here.refused(err, "no user has a certificate with the serial")
	// Nor is one that says who of here has made it.
	_, err = here.use(here.cas, sign(t, there.aliceKey, here.invitation("cn:x")), req)
	here.refused(err, "altered, or not signed by whom it names")
}

// A second invitation for a request that has a certificate is not used for it.
func TestNoUseIsCountedForWhatIsCertified(t *testing.T) {
	s := newSite(t)
	req := request(t, pkitest.Key(t), "x")
	first, second := sign(t, s.aliceKey, s.invitation("cn:x")), sign(t, s.aliceKey, s.invitation("cn:x"))
	issued := s.mustUse(s.cas, first, req)
	for _, signed := range []*invite.Signed{second, first, second} {
		if again := s.mustUse(s.cas, signed, req); again.Serial.Cmp(issued.Serial) != 0 {
			t.Errorf("serial %s, it was %s", again.Serial, issued.Serial)
		}
	}
	if s.row(first).Used != 1 || s.row(second).Used != 0 {
		t.Errorf("%+v %+v", s.row(first), s.row(second))
	}
	// Which says nothing to those whose invitation is none.
	_, err := s.use(s.cas, sign(t, pkitest.Key(t), s.invitation("cn:x")), req)
	s.refused(err, "altered")
}

// Whoever is a user withdraws any invitation, whoever has made it and whatever has become of it.
func TestWhatCanBeWithdrawn(t *testing.T) {
	s := newSite(t)
	bobKey := pkitest.Key(t)
	bob := s.mustUse(s.cau, s.make(s.cau, inviter.Order{Names: users, Uses: 1, TTL: time.Hour}), request(t, bobKey, "bob")).Certificate
	asBob := audit.Actor{Kind: audit.User, Serial: bob.SerialNumber}
	usedUp, unseen := sign(t, s.aliceKey, s.invitation("cn:x")), sign(t, s.aliceKey, s.invitation("cn:y"))
	operators := s.make(s.cas, inviter.Order{Names: names("cn:z"), Uses: 1, TTL: time.Hour})
	elsewhere := sign(t, s.aliceKey, func() invite.Invitation {
		i := s.invitation("cn:carol")
		i.Authority = "cau"
		return i
	}())
	s.mustUse(s.cas, usedUp, request(t, pkitest.Key(t), "x"))
	for _, signed := range []*invite.Signed{usedUp, unseen, operators, elsewhere} {
		if err := s.cas.Void(s.ctx, asBob, signed.ID.String()); err != nil {
			t.Fatal(err)
		}
		e := s.audit(audit.Filter{Action: audit.VoidInvitation, Newest: true, Limit: 1})
		if len(e) != 1 || e[0].Actor.Serial.Cmp(bob.SerialNumber) != 0 || e[0].Object.ID != signed.ID.String() {
			t.Errorf("%+v", e)
		}
	}
	for _, signed := range []*invite.Signed{unseen, operators} {
		_, err := s.use(s.cas, signed, request(t, pkitest.Key(t), signed.Names.Strings()[0][3:]))
		s.refused(err, "it was withdrawn")
	}
	if row := s.row(usedUp); row.Used != 1 || row.VoidedAt.IsZero() {
		t.Errorf("%+v", row)
	}
	s.mustUse(s.cau, elsewhere, request(t, pkitest.Key(t), "carol")) // it was withdrawn at the other authority
}

// A refusal makes known what a withdrawn invitation was, and leaves it withdrawn.
func TestARefusalLeavesAnInvitationWithdrawn(t *testing.T) {
	s := newSite(t)
	signed, use := s.host("a")
	if err := s.cas.Void(s.ctx, operator, signed.ID.String()); err != nil {
		t.Fatal(err)
	}
	s.refused(use(), "withdrawn")
	row := s.row(signed)
	if row.VoidedAt.IsZero() || row.Refused != 1 || !row.Until.Equal(signed.Until) || row.Uses != 1 {
		t.Errorf("%+v", row)
	}
	s.refused(use(), "withdrawn")
}

// restored says when the database was restored, by the clock there was then.
func (s *site) restored(at time.Time) {
	s.t.Helper()
	err := s.store.Update(s.ctx, func(tx store.Tx) error {
		return tx.PutSetting(s.ctx, "", store.SettingInvitationsSince, at.UTC().Format(time.RFC3339))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// If the clock was ahead when the database was restored, operators can invite all the same; of what users have signed
// nobody knows whether that was before.
func TestAClockThatWasAheadAtARestore(t *testing.T) {
	s := newSite(t)
	s.restored(s.clock.Now().Add(30 * day))
	s.mustUse(s.cau, s.make(s.cau, inviter.Order{Names: users, Uses: 1, TTL: time.Hour}), request(t, pkitest.Key(t), "root"))
	signed, use := s.host("a")
	s.refused(use(), "before the CA's database was restored")
	if s.row(signed).Used != 0 {
		t.Error("used")
	}
}

// What operators make is on record. If it is not, it was made in a history that a restore has ended, whatever clocks say.
func TestAnOperatorsInvitationThatIsNotOnRecord(t *testing.T) {
	s := newSite(t)
	signed := s.make(s.cas, inviter.Order{Names: names("cn:x"), Uses: 1, TTL: time.Hour})
	err := s.store.Update(s.ctx, func(tx store.Tx) error {
		_, err := tx.PruneInvitations(s.ctx, store.Services, s.clock.Now().Add(day), 10)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.use(s.cas, signed, request(t, pkitest.Key(t), "x"))
	s.refused(err, "is not on record here")
}
