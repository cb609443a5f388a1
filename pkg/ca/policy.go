package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A Policy decides what becomes of a request before a user has looked at it. It may take its time, and is asked outside of any transaction.
type Policy interface {
	Decide(ctx context.Context, c policy.Case) (policy.Verdict, error)
}

// ErrPolicy means that the operator's rules do not allow what was asked for. It is always a Denied.
var ErrPolicy = errors.New("not allowed by the policy of this authority")

// A Denied says why; its text may be shown to whoever asked.
type Denied struct {
	Rule   string // that refuses, for the operator
	Reason string // for whoever asked; may be empty
}

func (d *Denied) Error() string {
	if d.Reason == "" {
		return ErrPolicy.Error()
	}
	return ErrPolicy.Error() + ": " + d.Reason
}

// Is has a Denied be an ErrPolicy.
func (d *Denied) Is(target error) bool { return target == ErrPolicy }

// A Content is what a certificate would be made of.
type Content struct {
	Subject    []byte // DER
	Extensions []pkix.Extension
	PublicKey  crypto.PublicKey
	Profile    *profile.Profile
	Validity   time.Duration // 0: the profile's default
}

// CaseOf is what rules decide about when the authority with this row is asked for a certificate with this content. Own are the names of the
// daemon. All that decides or tries out decisions goes by what this makes of a request.
func CaseOf(row store.Authority, own []string, content Content, by policy.Asker, now time.Time) policy.Case {
	c := policy.Case{
		Authority: string(row.Name),
		Users:     row.Role == store.RoleUsers,
		Profile:   content.Profile.Name(),
		Names:     policy.NamesOf(content.Profile.Requested(content.Subject), content.Extensions),
		Time:      now,
		Asker:     by,
		Daemon:    own,
	}
	if key, err := pki.LikeKeyType(content.PublicKey); err == nil {
		c.Key = string(key)
	}
	if validity, err := content.Profile.Validity(content.Validity, row.Span); err == nil {
		c.Validity = validity
	}
	return c
}

// contentOf is what would be made of a request as it is.
func contentOf(req *x509.CertificateRequest, p *profile.Profile) Content {
	return Content{Subject: req.RawSubject, Extensions: req.Extensions, PublicKey: req.PublicKey, Profile: p}
}

// SubmittedCase is CaseOf for a request as it was submitted.
func SubmittedCase(row store.Authority, own []string, req *pki.Request, p *profile.Profile, by policy.Asker, now time.Time) policy.Case {
	c := CaseOf(row, own, contentOf(req.CSR, p), by, now)
	c.Digest, c.KeyID, c.PEM = req.Digest, req.KeyID, req.PEM
	return c
}

// own are the names of the daemon.
func (a *Authority) own() []string {
	host, _, err := net.SplitHostPort(a.cfg.Netloc)
	if err != nil {
		host = a.cfg.Netloc
	}
	return []string{strings.Trim(host, "[]")}
}

// ErrAddressNames means that what the asker's address is called is a condition of a rule, and cannot be found out now.
var ErrAddressNames = errors.New("what the address of the asker is called cannot be found out now, try again")

// asks returns who asks, with what the connection says of that.
func (a *Authority) asks(ctx context.Context, by policy.Asker, actor audit.Actor) (policy.Asker, error) {
	if by.Address == "" {
		by.Address = actor.Address
	}
	if a.cfg.AddressNames != nil {
		names, err := a.cfg.AddressNames(ctx, a.name, by.Address)
		if err != nil {
			// Without them another rule would decide.
			return by, fmt.Errorf("%w: %w", ErrAddressNames, err)
		}
		by.Reverse = names
	}
	if by.Certificate == nil && actor.Kind == audit.User && actor.Serial != nil {
		by.Certificate = &policy.Certificate{Authority: actor.Authority, Serial: fmt.Sprintf("%#x", actor.Serial), Lineage: actor.Lineage, Issuer: actor.Issuer}
	}
	return by, nil
}

// undecided is the verdict where there are no rules.
var undecided = policy.Verdict{Decision: policy.Hold}

// ruled reports whether anything could decide about requests.
func (a *Authority) ruled() bool {
	return a.asksOthers() || a.cfg.Rules != nil && a.cfg.Rules.Set().Len() > 0
}

// decide asks what becomes of a request, or returns what was decided before as long as the rules are those that did.
func (a *Authority) decide(ctx context.Context, now time.Time, before *policy.Verdict, req *pki.Request, p *profile.Profile, by policy.Asker) (*policy.Verdict, error) {
	switch {
	case before != nil && current(before):
		return before, nil
	case !a.ruled():
		v := undecided
		if rules := a.cfg.Rules; rules != nil {
			s := rules.Set()
			v.Current = func() bool { return rules.Set() == s }
		}
		return &v, nil
	}
	decider := a.cfg.Policy
	if decider == nil {
		decider = a.cfg.Rules
	}
	v, err := decider.Decide(ctx, SubmittedCase(a.row, a.own(), req, p, by, now))
	if err != nil {
		return nil, err
	}
	if v.Decision == policy.Approve && !p.Unattended() {
		v.Decision, v.Reason = policy.Hold, "certificates of profile "+p.Name()+" are signed by users only"
	}
	return &v, nil
}

// current reports whether the rules that have decided are those that count now.
func current(v *policy.Verdict) bool { return v.Current == nil || v.Current() }

// denied returns why a verdict refuses, nil if it does not.
func denied(v *policy.Verdict) error {
	if v.Decision != policy.Refuse && v.Decision != policy.Hold && v.Decision != policy.Approve {
		return &Denied{v.Rule, "nothing was decided"}
	}
	if v.Decision != policy.Refuse {
		return nil
	}
	return &Denied{v.Rule, v.Reason}
}

// refusedByRule records that a rule has refused a request, and returns why. Anybody can have that happen: of each rule the first few
// of an hour are recorded, and how many there were of the others.
func (a *Authority) refusedByRule(ctx context.Context, now time.Time, actor audit.Actor, req *pki.Request, why error) error {
	const atOnce = 5
	var d *Denied
	if !errors.As(why, &d) {
		return why
	}
	e := a.entry(now, actor, audit.Submit, audit.Object{Kind: audit.KindRequest})
	e.Detail = "rule " + d.Rule + " refuses " + describe(req.Subject, req.SANs)
	if d.Reason != "" {
		e.Detail += ": " + d.Reason
	}
	a.recordRefusal(ctx, now, refusal{who: "rule " + d.Rule, entry: e, atOnce: atOnce})
	return why
}

// capped is for how long what is approved under a verdict may be asked for: what was asked for, or, where the profile would give more
// than the rule allows, that. Zero: the profile decides.
func (a *Authority) capped(v *policy.Verdict, p *profile.Profile, asked time.Duration) (time.Duration, error) {
	if v.MaxValidity == 0 {
		return asked, nil
	}
	usual, err := p.Validity(asked, a.spans.Leaf)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	case usual <= v.MaxValidity:
		return asked, nil
	case asked > 0:
		return 0, fmt.Errorf("%w: a validity of %s is too long: the rule %s allows at most %s",
			ErrInvalid, pki.FormatDuration(asked), v.Rule, pki.FormatDuration(v.MaxValidity))
	}
	return v.MaxValidity, nil
}

// stillShown looks again at the certificate by which an asker was approved, within the transaction that records what it gets.
func (a *Authority) stillShown(ctx context.Context, r store.Reader, by policy.Asker) error {
	if by.Certificate == nil {
		return nil
	}
	issuer := store.AuthorityName(by.Certificate.Authority)
	serial, ok := new(big.Int).SetString(by.Certificate.Serial, 0)
	if !ok || !issuer.Valid() {
		switch _, err := r.Authority(ctx, issuer); {
		case err == nil:
			return fmt.Errorf("%w: which certificate was shown cannot be told", ErrUnauthorized)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return nil // of an authority elsewhere
	}
	s, err := r.Standing(ctx, issuer, serial, by.Certificate.Issuer)
	if err == nil && !s.Good() {
		err = fmt.Errorf("%w: of the certificate that was shown: %w", ErrUnauthorized, against(serial, s))
	}
	return err
}

// ruledBy says, at the end of a detail, which rule has decided.
func ruledBy(rule string, digest []byte) string {
	if rule == "" {
		return ""
	}
	text := " rule=" + rule
	if len(digest) > 0 {
		text += " rule-digest=" + hex.EncodeToString(digest)
	}
	return text
}

// permitInvited has rules decide about a request that came with an invitation, which is the approval of one user, and returns how long
// its certificate is to be valid.
func (a *Authority) permitInvited(ctx context.Context, now time.Time, use *invited) (validity time.Duration, err error) {
	if use.verdict, err = a.decide(ctx, now, use.verdict, use.Request, use.profile, use.by); err != nil {
		return 0, err
	}
	if err := denied(use.verdict); err != nil {
		return 0, err
	}
	// An operator's counts for as many as are needed: somebody has to be able to begin.
	if needed := use.verdict.Needed(); needed > 1 && use.invitation.By != nil {
		return 0, fmt.Errorf("%w: %d users have to approve this request, and an invitation is the approval of one: ask without it", ErrUninvited, needed)
	}
	return a.capped(use.verdict, use.profile, 0)
}
