package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// engine has rules decide.
func engine(t testing.TB, rules ...policy.Config) *policy.Engine {
	t.Helper()
	return policy.NewEngine(ruleSet(t, rules...))
}

func ruleSet(t testing.TB, rules ...policy.Config) *policy.Set {
	t.Helper()
	s, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// web approves names of one label below web.example.
var web = policy.Config{Name: "web", Names: "*.web.example", Decision: "approve", MaxValidity: "7d"}

func csrOf(t testing.TB, cn string, names ...string) []byte {
	t.Helper()
	return csrFor(t, newKey(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: names})
}

// What a rule approves is signed at once, says so in itself, and is on record with the rule and with who has asked. A renewal says
// none of that.
func TestApprovedByRule(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, web)
	a := w.open(cfg)
	key := newKey(t)
	csr := csrFor(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "a.web.example"}, DNSNames: []string{"A.web.example"}})
	done := w.submitted(a, csr, "")
	if done.Issued == nil {
		t.Fatal("not approved")
	}
	crt := done.Issued.Certificate
	if !autoSigned(crt) || crt.NotAfter.Sub(epoch) != 7*day {
		t.Errorf("mark %v, valid until %v", autoSigned(crt), crt.NotAfter)
	}
	row := w.recorded(a, crt)
	digest := ruleSet(t, web).Judge(policy.Case{Names: []policy.Name{{Kind: policy.KindDNS, Value: "a.web.example"}}}).Digest
	asked, err := policy.ParseAsker(row.Asked)
	if err != nil || row.Method != store.AutoSigned || row.Rule != "web" || !bytes.Equal(row.RuleDigest, digest) || asked.Address != anonymous.Address {
		t.Errorf("on record: %s %q %x %q %v", row.Method, row.Rule, row.RuleDigest, row.Asked, err)
	}
	entries := w.audited(audit.Sign)
	if len(entries) != 1 || entries[0].Actor.Kind != audit.Daemon || !strings.Contains(entries[0].Detail, fmt.Sprintf(" rule=web rule-digest=%x", digest)) {
		t.Errorf("audit: %+v", entries)
	}
	if again := w.submitted(a, csr, ""); again.ID != done.ID || !again.Issued.Certificate.Equal(crt) {
		t.Error("the same request again is another one")
	}
	w.clock.Advance(day)
	next, _ := w.renewed(a, crt, key)
	if row := w.recorded(a, next); row.Rule != "" || row.RuleDigest != nil || row.Asked != "" || next.NotAfter.Sub(next.NotBefore) > 7*day+time.Hour {
		t.Errorf("of the renewal: %+v", row)
	}
	// Whoever was revoked does not come back with the same request.
	w.revoke(a, alice, crt, Revoking{})
	if again := w.submitted(a, csr, ""); again.Issued != nil {
		t.Error("approved again after the revocation")
	}
}

// What a rule bounds stays bounded when the authority's span grows, although it made no difference before.
func TestBoundByRuleForGood(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, policy.Config{Names: "*.web.example", Decision: "approve", MaxValidity: pki.FormatDuration(2 * cfg.row.Span)})
	done := w.submitted(w.open(cfg), csrOf(t, "", "a.web.example"), "")
	if done.Issued == nil {
		t.Fatal("not approved")
	}
	if row := w.recorded(w.open(cfg), done.Issued.Certificate); row.Validity != cfg.row.Span {
		t.Errorf("renewals get %v, want %v", row.Validity, cfg.row.Span)
	}
}

// autoSigned reports whether a certificate says that nobody has looked at its request.
func autoSigned(crt *x509.Certificate) bool {
	for _, p := range crt.PolicyIdentifiers {
		if p.String() == "1.3.6.1.4.1.37476.9000.70.0.0" {
			return true
		}
	}
	return false
}

// What a rule refuses is neither kept nor counted, and the log says which rule it was, a bounded number of times. Whoever asks is told
// the reason only.
func TestRefusedByRule(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.AutoApprove = 5
	cfg.Rules = engine(t, policy.Config{Name: "bank", Names: "*.bank.example", Decision: "refuse", Reason: "ask the bank's own authority"})
	a := w.open(cfg)
	for range 50 {
		_, err := w.submit(a, csrOf(t, "x", "pay.bank.example", "harmless.example"), "")
		var d *Denied
		if !errors.As(err, &d) || !errors.Is(err, ErrPolicy) || d.Rule != "bank" || strings.Contains(err.Error(), "rule") || !strings.Contains(err.Error(), "ask the bank") {
			t.Fatalf("error %v", err)
		}
	}
	a.Finish(w.ctx)
	entries := w.audited(audit.Submit)
	if n := len(entries); n < 2 || n > 10 || entries[0].Result != audit.Refused || !strings.Contains(entries[0].Detail, "rule bank refuses") || !strings.Contains(entries[n-1].Detail, "45 more") {
		t.Errorf("audit: %+v", entries)
	}
	if n := w.counter(a, store.CounterReceivedCSR); n != 0 || len(w.audited(audit.Sign)) != 0 {
		t.Errorf("%d received", n)
	}
	if done := w.submitted(a, csrOf(t, "y", "other.example"), ""); done.Issued == nil {
		t.Error("what no rule is about is not approved for being among the first")
	}
}

// A rule that holds does so, also where the first requests are approved, and says so.
func TestHeldByRule(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.AutoApprove = 5
	cfg.Rules = engine(t, policy.Config{Name: "look", Decision: "hold", Reason: "somebody looks"})
	a := w.open(cfg)
	done := w.submitted(a, csrOf(t, "x", "x.example"), "")
	pending, err := a.Pending(w.ctx)
	if done.Issued != nil || err != nil || len(pending) != 1 || pending[0].Asked == "" {
		t.Errorf("%+v %v", pending, err)
	}
	if entries := w.audited(audit.Submit); len(entries) != 1 || !strings.Contains(entries[0].Detail, "held by rule look: somebody looks") {
		t.Errorf("audit: %+v", entries)
	}
	if _, err := a.Approve(w.ctx, alice, done.ID, Approval{}); err != nil {
		t.Error(err)
	}
	// What a rule has come to refuse is not signed by users either.
	late := w.submitted(a, csrOf(t, "y", "y.example"), "")
	cfg.Rules.Replace(ruleSet(t, policy.Config{Name: "none", Decision: "refuse"}))
	_, err = a.Approve(w.ctx, alice, late.ID, Approval{})
	wantError(t, err, ErrPolicy)
	_, err = a.Certificate(w.ctx, late.ID)
	wantError(t, err, ErrNotFound)
}

// A rule for users is bound to be about their authority, and a profile that needs a user has one.
func TestNeverApprovedByRule(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.Rules = engine(t, policy.Config{Decision: "approve"})
	if done := w.submitted(w.open(cfg), csrOf(t, "alice"), ""); done.Issued != nil {
		t.Error("a user was approved by a rule for everybody")
	}
	cfg = config(store.Services)
	cfg.row.Profiles = []string{profile.NameOCSP}
	cfg.Rules = engine(t, policy.Config{Decision: "approve"})
	if done := w.submitted(w.open(cfg), csrOf(t, "responder"), profile.NameOCSP); done.Issued != nil {
		t.Error("an OCSP responder was approved by a rule")
	}
}

// Strangers who fill the list of what waits for a user do not keep hosts from what a rule gives them.
func TestApprovedBeyondTheLimit(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, web)
	a := w.open(cfg)
	for range cfg.row.MaxPending {
		w.submitted(a, csrOf(t, "x", "x.example"), "")
	}
	_, err := w.submit(a, csrOf(t, "x", "x.example"), "")
	wantError(t, err, ErrTooManyPending)
	csr := csrOf(t, "", "a.web.example")
	outline, err := pki.ParseOutline(csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Foresee(w.ctx, anonymous, outline, ""); err != nil {
		t.Error(err)
	}
	if done := w.submitted(a, csr, ""); done.Issued == nil {
		t.Error("not approved")
	}
}

// A meddler decides like its rules, and then does something, as what happens at that moment.
type meddler struct {
	*policy.Engine
	then func()
}

func (m *meddler) Decide(ctx context.Context, c policy.Case) (policy.Verdict, error) {
	v, err := m.Engine.Decide(ctx, c)
	if then := m.then; then != nil {
		m.then = nil
		then()
	}
	return v, err
}

// Rules that are replaced while a request is being decided about are not those that it is signed by.
func TestRulesReplacedMeanwhile(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, web)
	m := &meddler{Engine: cfg.Rules, then: func() {
		cfg.Rules.Replace(ruleSet(t, policy.Config{Name: "closed", Decision: "refuse"}))
	}}
	cfg.Policy = m
	a := w.open(cfg)
	_, err := w.submit(a, csrOf(t, "", "a.web.example"), "")
	wantError(t, err, ErrPolicy)
	if entries := w.audited(audit.Sign); len(entries) != 0 {
		t.Errorf("signed: %+v", entries)
	}
	// Likewise what a user approves.
	cfg.Rules.Replace(nil)
	cfg.Policy = nil
	linter := &refusing{check: func() { cfg.Rules.Replace(ruleSet(t, policy.Config{Name: "closed", Decision: "refuse"})) }}
	cfg.Linter = linter
	b := w.open(cfg)
	id := w.submitted(b, csrOf(t, "", "b.web.example"), "").ID
	_, err = b.Approve(w.ctx, alice, id, Approval{})
	wantError(t, err, ErrPolicy)
}

// A refusing linter finds nothing, and calls check.
type refusing struct{ check func() }

func (l *refusing) Check(*x509.Certificate, *x509.Certificate, crypto.PublicKey) error {
	l.check()
	return nil
}

// Whoever has shown a certificate that is revoked before the one it asks for is on record gets none.
func TestShownCertificateRevokedMeanwhile(t *testing.T) {
	w := newWorld(t)
	factory := config("factory")
	of := w.open(factory)
	shown, _ := w.enrol(of, "dev7")
	cfg := config(store.Services)
	cfg.Rules = engine(t, policy.Config{Names: "{identity.name}", Certificate: "factory", Decision: "approve"})
	m := &meddler{Engine: cfg.Rules}
	cfg.Policy = m
	a := w.open(cfg)
	by := policy.Asker{Certificate: &policy.Certificate{Authority: "factory", Serial: fmt.Sprintf("%#x", shown.SerialNumber), Names: []string{"DNS:dev7.example.org"}}}
	ask := func() (Submission, error) {
		return a.Submit(w.ctx, anonymous, request(t, csrOf(t, "", "dev7.example.org")), Asked{By: by})
	}
	if done, err := ask(); err != nil || done.Issued == nil {
		t.Fatalf("%+v %v", done, err)
	}
	m.then = func() { w.revoke(of, alice, shown, Revoking{}) }
	_, err := ask()
	wantError(t, err, ErrUnauthorized)
	if entries := w.audited(audit.Sign); len(entries) != 2 {
		t.Errorf("signed: %+v", entries)
	}
}

// An invitation is the approval of one user: it does not make up for rules that refuse, nor for those that ask for two.
func TestRulesAboutTheInvited(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t,
		policy.Config{Name: "bank", Names: "*.bank.example", Decision: "refuse"},
		policy.Config{Name: "two", Names: "*.two.example", Decision: "hold", Approvals: new(2)},
		policy.Config{Name: "short", Decision: "hold", MaxValidity: "7d"})
	a := w.open(cfg)
	for name, want := range map[string]error{"a.bank.example": ErrPolicy, "a.two.example": ErrUninvited, "a.web.example": nil} {
		inv := Invitation{
			ID: name, Authority: a.name, Uses: 1, Made: epoch, Until: epoch.Add(day), Verify: func(crypto.PublicKey) error { return nil }, Covers: func(*pki.Request) error { return nil },
		}
		err := w.store.Update(w.ctx, func(tx store.Tx) error {
			return tx.PutInvitation(w.ctx, inv.row(store.Invitation{}, audit.Actor{Kind: audit.Operator}))
		})
		if err != nil {
			t.Fatal(err)
		}
		if want == ErrUninvited {
			// An operator's invitation makes up for it, one of a user does not.
			use := &invited{Request: request(t, csrOf(t, "", name)), invitation: inv, profile: profile.AsRequested()}
			if _, err := a.permitInvited(w.ctx, epoch, use); err != nil {
				t.Error(err)
			}
			use.verdict, use.invitation.By = nil, alice.Serial
			_, err := a.permitInvited(w.ctx, epoch, use)
			wantError(t, err, want)
			continue
		}
		done, err := a.SubmitInvited(w.ctx, anonymous, request(t, csrOf(t, "", name)), inv, Asked{})
		wantError(t, err, want)
		if want == nil && done.Issued.Certificate.NotAfter.Sub(epoch) != 7*day {
			t.Errorf("valid until %v", done.Issued.Certificate.NotAfter)
		}
	}
	if entries := w.audited(audit.Sign); len(entries) != 1 {
		t.Errorf("signed: %+v", entries)
	}
}
