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
