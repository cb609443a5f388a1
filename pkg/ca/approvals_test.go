package ca

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A panel is an authority whose requests two users have to approve, and users.
type panel struct {
	*world
	users, services     *Authority
	alice, bob, charlie audit.Actor
	crts                map[string]*x509.Certificate
	rules               *policy.Engine
}

func newPanel(t *testing.T) panel {
	w := newWorld(t)
	p := panel{world: w, crts: map[string]*x509.Certificate{}}
	users := config(store.Users)
	w.put(users.row)
	p.users = w.open(users)
	cfg := config(store.Services)
	p.rules = engine(t, policy.Config{Name: "two", Names: "*.bank.example", Decision: "hold", Approvals: new(2), Reason: "two have to look", MaxValidity: "30d"})
	cfg.Rules = p.rules
	cfg.row.Profiles = []string{profile.NameServer}
	p.services = w.open(cfg)
	for name, to := range map[string]*audit.Actor{"alice": &p.alice, "bob": &p.bob, "charlie": &p.charlie} {
		p.crts[name], _ = w.enrol(p.users, name)
		*to = w.user(p.users, p.crts[name])
	}
	return p
}

func (p panel) ask(names ...string) int64 {
	p.t.Helper()
	return p.submitted(p.services, csrOf(p.t, "", names...), "").ID
}

// awaits checks how it stands after an approval.
func (p panel) awaits(err error, want string) {
	p.t.Helper()
	var a *Awaiting
	if !errors.As(err, &a) || !errors.Is(err, ErrAwaiting) || !strings.Contains(a.Error(), want) {
		p.t.Errorf("%v, want %s", err, want)
	}
}

func (p panel) unsigned(id int64) {
	p.t.Helper()
	_, err := p.services.Certificate(p.ctx, id)
	wantError(p.t, err, ErrNotFound)
}

// Two users of different lineages approve, and each of that is on record. The same one twice is one.
func TestTwoPersons(t *testing.T) {
	p := newPanel(t)
	id := p.ask("pay.bank.example", "harmless.example")
	_, err := p.services.Approve(p.ctx, p.alice, id, Approval{})
	p.awaits(err, "1 of 2 approvals, by CN=alice")
	_, err = p.services.Approve(p.ctx, p.alice, id, Approval{})
	p.awaits(err, "1 of 2 approvals, by CN=alice")
	p.unsigned(id)
	shown, err := p.services.Request(p.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	standings, err := p.services.Standings(p.ctx, Approval{}, []Submitted{shown})
	if err != nil || standings[0].String() != "1 of 2 approvals, by CN=alice" || standings[0].Rule != "two" || standings[0].Reason != "two have to look" {
		t.Errorf("%+v %v", standings, err)
	}
	issued, err := p.services.Approve(p.ctx, p.bob, id, Approval{})
	if err != nil || issued.Certificate.NotAfter.Sub(p.clock.Now()) != 30*day {
		t.Fatalf("%v %v", issued, err)
	}
	entries := p.audit(audit.Filter{Action: audit.Approve})
	if len(entries) != 2 || entries[0].Actor.Lineage != p.alice.Lineage || !strings.Contains(entries[0].Detail, "1 of 2 approvals, by CN=alice; rule two") {
		t.Errorf("audit: %+v", entries)
	}
	err = p.store.View(p.ctx, func(r store.Reader) error {
		left, err := r.Approvals(p.ctx, p.services.name, id)
		if len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// One renewal of a user's certificate is the same user.
	id = p.ask("x.bank.example")
	_, err = p.services.Approve(p.ctx, p.alice, id, Approval{})
	p.awaits(err, "1 of 2")
	// A rule about others takes one.
	if _, err := p.services.Approve(p.ctx, p.alice, p.ask("other.example"), Approval{}); err != nil {
		t.Error(err)
	}
}

// Whoever was revoked since has approved nothing.
func TestApproverRevoked(t *testing.T) {
	p := newPanel(t)
	id := p.ask("pay.bank.example")
	_, err := p.services.Approve(p.ctx, p.alice, id, Approval{})
	p.awaits(err, "1 of 2")
	p.revoke(p.users, p.bob, p.crts["alice"], Revoking{})
	_, err = p.services.Approve(p.ctx, p.bob, id, Approval{})
	p.awaits(err, "1 of 2 approvals, by CN=bob")
	p.unsigned(id)
	_, err = p.services.Approve(p.ctx, p.alice, id, Approval{})
	wantError(t, err, ErrUnauthorized)
	if _, err := p.services.Approve(p.ctx, p.charlie, id, Approval{}); err != nil {
		t.Error(err)
	}
}

// An approver who is revoked between the count and the record has approved nothing either.
func TestApproverRevokedMeanwhile(t *testing.T) {
	p := newPanel(t)
	id := p.ask("pay.bank.example")
	_, err := p.services.Approve(p.ctx, p.alice, id, Approval{})
	p.awaits(err, "1 of 2")
	cfg := config(store.Services)
	cfg.Rules = p.rules
	once := false
	cfg.Linter = &refusing{check: func() {
		if !once {
			once = true
			p.revoke(p.users, p.charlie, p.crts["alice"], Revoking{})
		}
	}}
	_, err = p.open(cfg).Approve(p.ctx, p.bob, id, Approval{})
	p.awaits(err, "1 of 2 approvals, by CN=bob")
	p.unsigned(id)
}

// Both approve the same: another profile, validity or template is something else, and no stranger can stand in the way of the next one by
// having approved something else before.
func TestTwoPersonsOneThing(t *testing.T) {
	for name, how := range map[string]Approval{
		"profile":  {Profile: profile.NameServer},
		"validity": {Validity: 5 * day},
		"template": {Template: request(t, csrOf(t, "", "other.bank.example"))},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPanel(t)
			id := p.ask("pay.bank.example")
			_, err := p.services.Approve(p.ctx, p.alice, id, how)
			p.awaits(err, "1 of 2 approvals, by CN=alice")
			_, err = p.services.Approve(p.ctx, p.bob, id, Approval{})
			p.awaits(err, "1 of 2 approvals, by CN=bob; of something else, such as with another profile, by CN=alice")
			p.unsigned(id)
			if _, err := p.services.Approve(p.ctx, p.charlie, id, how); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nobody gets around the rule by having harmless content submitted and signing other content with it.
func TestTwoPersonsForWhatIsSigned(t *testing.T) {
	p := newPanel(t)
	id := p.ask("harmless.example")
	_, err := p.services.Approve(p.ctx, p.alice, id, Approval{Template: request(t, csrOf(t, "", "pay.bank.example"))})
	p.awaits(err, "1 of 2")
	p.unsigned(id)
	_, err = p.services.Approve(p.ctx, p.alice, p.ask("y.bank.example"), Approval{Validity: 60 * day})
	wantError(t, err, ErrInvalid)
	nobody := audit.Actor{Kind: audit.User, Serial: alice.Serial, KeyID: alice.KeyID}
	_, err = p.services.Approve(p.ctx, nobody, p.ask("z.bank.example"), Approval{})
	wantError(t, err, ErrUnauthorized)
	// An approval does not outlive what it was for.
	p.clock.Advance(time.Hour)
	if err := p.services.Reject(p.ctx, p.bob, id, nil, ""); err != nil {
		t.Error(err)
	}
}
