package ca

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// naming is a presigner that puts other names into certificates.
type naming []string

func (naming) Presigns() bool { return true }

func (n naming) Presign(context.Context, Proposal) (Amendment, error) {
	names, err := pki.SANExtension(n)
	return Amendment{By: "presign hook", Extensions: []pkix.Extension{names}}, err
}

// What a rule refuses is not signed because somebody has put it into a certificate after the request was approved, by a rule or a user.
func TestRulesCountForWhatIsChanged(t *testing.T) {
	bank := policy.Config{Name: "bank", Names: "*.bank.example", Decision: "refuse"}
	for name, signed := range map[string]bool{"DNS:b.web.example": true, "DNS:pay.bank.example": false} {
		w := newWorld(t)
		cfg := config(store.Services)
		cfg.Rules, cfg.Presign = engine(t, bank, web), naming{name}
		a := w.open(cfg)
		var d *Denied
		_, err := w.submit(a, csrOf(t, "a.web.example", "a.web.example"), "")
		if signed != (err == nil) || !signed && (!errors.As(err, &d) || d.Rule != "bank") {
			t.Errorf("approved by a rule, %s: %v", name, err)
		}
		held := w.submitted(a, csrOf(t, "other.example", "other.example"), "")
		_, err = a.Approve(w.ctx, alice, held.ID, Approval{})
		if signed != (err == nil) || !signed && (!errors.As(err, &d) || d.Rule != "bank") {
			t.Errorf("approved by a user, %s: %v", name, err)
		}
	}
}

// objecting is a policy with a hook that refuses or holds, whatever rules approve.
type objecting struct {
	rules Policy
	to    policy.Decision
}

func (o objecting) Decide(ctx context.Context, c policy.Case) (policy.Verdict, error) {
	v, err := o.rules.Decide(ctx, c)
	if len(c.Names) > 0 && c.Names[0].Value == "stranger.web.example" {
		v.Decision = o.to
	}
	return v, err
}

// What was not signed in the end is not counted: whoever is refused by a hook uses up nothing of what a rule approves in an hour.
func TestRatesCountWhatIsSigned(t *testing.T) {
	limited := policy.Config{Name: "limited", Names: "*.web.example", Decision: "approve", Rate: "2/h", AskerRate: "2/h"}
	for _, decision := range []policy.Decision{policy.Refuse, policy.Hold} {
		w := newWorld(t)
		cfg := config(store.Services)
		cfg.Rules = engine(t, limited)
		cfg.Policy = objecting{cfg.Rules, decision}
		a := w.open(cfg)
		for range 3 {
			done, err := w.submit(a, csrOf(t, "stranger.web.example", "stranger.web.example"), "")
			if done.Issued != nil || (err != nil) != (decision == policy.Refuse) {
				t.Fatalf("%+v %v", done, err)
			}
		}
		for i, name := range []string{"a.web.example", "b.web.example", "c.web.example"} {
			if done := w.submitted(a, csrOf(t, name, name), ""); (done.Issued != nil) != (i < 2) {
				t.Errorf("%s: the %d. is signed: %v", decision, i+1, done.Issued != nil)
			}
		}
	}
}
