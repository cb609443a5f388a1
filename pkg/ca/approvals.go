package ca

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// An Awaiting is the answer to an approval that counts, and is not enough. It is an ErrAwaiting.
type Awaiting struct{ Standing }

// ErrAwaiting means that other users have to approve a request, too.
var ErrAwaiting = errors.New("other users have to approve this request, too")

func (e *Awaiting) Error() string { return fmt.Sprintf("%v: %s", ErrAwaiting, e.Standing) }

// Is has an Awaiting be an ErrAwaiting.
func (e *Awaiting) Is(target error) bool { return target == ErrAwaiting }

// A Standing is how many users have approved a pending request, of how many who have to.
type Standing struct {
	Needed int
	Rule   string // that says so; empty: none does
	Reason string // of that rule, for users; may be empty
	By     []Approver

	// Others have approved other contents, such as another profile, which does not count for this one.
	Others []Approver
}

// An Approver is a user who has approved a request.
type Approver struct {
	Lineage int64
	Subject string
	At      time.Time
}

func (s Standing) String() string {
	text := fmt.Sprintf("%d of %d approvals", len(s.By), s.Needed)
	if len(s.By) > 0 {
		text += ", by " + approvers(s.By)
	}
	if len(s.Others) > 0 {
		text += "; of something else, such as with another profile, by " + approvers(s.Others)
	}
	return text
}

func approvers(list []Approver) string {
	var names []string
	for _, a := range list {
		names = append(names, a.Subject)
	}
	return strings.Join(names, " and ")
}

// judged is what rules make of the content that a user approves, or would.
type judged struct {
	verdict  policy.Verdict
	validity time.Duration
	what     []byte // digest of all that the user decides
	rules    *policy.Set
}

// judge finds out whether rules let a user approve what is asked for, and for how long. What is signed in the end is what
// counts, not what was submitted.
func (a *Authority) judge(now time.Time, pending store.Request, req *x509.CertificateRequest, p *profile.Profile, how Approval) (j judged, err error) {
	j.verdict, j.validity = undecided, how.Validity
	content := contentOf(req, p)
	content.Validity = how.Validity
	if t := how.Template; t != nil {
		content.Subject, content.Extensions = t.CSR.RawSubject, t.CSR.Extensions
	}
	if rules := a.cfg.Rules; rules != nil {
		j.rules = rules.Set()
	}
	if j.rules.Len() > 0 {
		by, err := policy.ParseAsker(pending.Asked)
		if err != nil {
			return j, fmt.Errorf("%w: who has submitted request %d of %s cannot be read: %w", ErrDamaged, pending.ID, a.name, err)
		}
		if pending.Asked == "" {
			by.Address = pending.Address
		}
		j.verdict = j.rules.Judge(CaseOf(a.row, a.own(), content, by, now))
	}
	if err := denied(&j.verdict); err != nil {
		return j, err
	}
	if j.validity, err = a.capped(&j.verdict, p, how.Validity); err != nil {
		return j, err
	}
	decided, err := json.Marshal(struct {
		Request    []byte        `json:"request"`
		Profile    string        `json:"profile"`
		Validity   int64         `json:"validity"`
		Template   bool          `json:"template"`
		Subject    []byte        `json:"subject"`
		Extensions []decidedPart `json:"extensions"`
	}{pending.Digest, p.Name(), int64(j.validity / time.Second), how.Template != nil, content.Subject, decidedParts(content)}, json.Deterministic(true))
	if err != nil {
		return j, err
	}
	sum := sha256.Sum256(decided)
	j.what = sum[:]
	return j, nil
}

// A decidedPart is an extension of what was approved.
type decidedPart struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical"`
	Value    []byte `json:"value"`
}

func decidedParts(c Content) []decidedPart {
	parts := []decidedPart{}
	for _, e := range c.Extensions {
		parts = append(parts, decidedPart{e.Id.String(), e.Critical, e.Value})
	}
	return parts
}

// approver is the lineage of a user who approves, 0 for an operator, whom no rule binds.
func approver(actor audit.Actor) (int64, error) {
	if actor.Kind == audit.Operator {
		return 0, nil
	}
	id, err := strconv.ParseInt(actor.Lineage, 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%w: several users have to approve this request, and which one this is cannot be told", ErrUnauthorized)
	}
	return id, nil
}

// approvals is how many approvals of what a user decides now there are, that user's not among them.
func (a *Authority) approvals(ctx context.Context, r store.Reader, request int64, j judged, users store.AuthorityName, except int64) (s Standing, err error) {
	s = Standing{Needed: j.verdict.Needed(), Rule: j.verdict.Rule, Reason: j.verdict.Reason}
	rows, err := r.Approvals(ctx, a.name, request)
	if err != nil {
		return s, err
	}
	for _, row := range rows {
		if row.Lineage == except {
			continue
		}
		one, counts, err := a.stillApproves(ctx, r, users, row)
		switch {
		case err != nil:
			return s, err
		case !counts:
		case slices.Equal(row.What, j.what):
			s.By = append(s.By, one)
		default:
			s.Others = append(s.Others, one)
		}
	}
	return s, nil
}

// stillApproves reports whether whoever has approved is still a user: neither that certificate nor its lineage was revoked, nor
// the CA that has issued it.
func (a *Authority) stillApproves(ctx context.Context, r store.Reader, users store.AuthorityName, row store.Approval) (Approver, bool, error) {
	one := Approver{Lineage: row.Lineage, At: row.ApprovedAt}
	serial, ok := new(big.Int).SetString(row.Serial, 0)
	if !ok {
		return one, false, nil
	}
	crt, err := r.CertificateBySerial(ctx, users, serial)
	if errors.Is(err, store.ErrNotFound) {
		return one, false, nil
	} else if err != nil {
		return one, false, err
	}
	one.Subject = crt.Subject
	err = a.stillUser(ctx, r, inviter{users: users, crt: &x509.Certificate{SerialNumber: serial}, lineage: row.Lineage, ca: crt.CAID})
	if errors.Is(err, ErrUninvited) {
		return one, false, nil
	}
	return one, err == nil, err
}

// enough reports whether a user's approval is the last that a request needs, and returns what looks again within the transaction that
// records the certificate. If it is not the last, it is recorded, and the error says how it stands.
func (a *Authority) enough(ctx context.Context, now time.Time, actor audit.Actor, pending store.Request, j judged) (func(store.Reader) error, error) {
	still := func(store.Reader) error {
		if rules := a.cfg.Rules; rules != nil && rules.Set() != j.rules {
			return errRaced
		}
		return nil
	}
	user, err := int64(0), error(nil)
	if j.verdict.Needed() > 1 {
		user, err = approver(actor)
	}
	if err != nil || user == 0 {
		return still, err
	}
	count := func(r store.Reader) error {
		s, err := a.approvals(ctx, r, pending.ID, j, store.AuthorityName(actor.Authority), user)
		if err == nil && len(s.By)+1 < s.Needed {
			return errTooFew
		}
		return err
	}
	switch err := a.store.View(ctx, count); {
	case errors.Is(err, errTooFew):
		return nil, a.consent(ctx, now, actor, pending, j, user)
	case err != nil:
		return nil, err
	}
	return func(r store.Reader) error {
		if err := still(r); err != nil {
			return err
		}
		err := count(r)
		if errors.Is(err, errTooFew) {
			return errRaced // one of those who have approved was revoked since
		}
		return err
	}, nil
}

var errTooFew = errors.New("too few approvals")

// consent records that a user approves a request which needs others, too, and returns an Awaiting that says how it stands.
func (a *Authority) consent(ctx context.Context, now time.Time, actor audit.Actor, pending store.Request, j judged, user int64) error {
	var s Standing
	err := a.updateFor(ctx, actor, func(tx store.Tx) (err error) {
		again, err := a.pending(ctx, tx, pending.ID, Shown{pki.Digest(pending.Digest)})
		if err != nil {
			return err
		}
		if s, err = a.approvals(ctx, tx, again.ID, j, store.AuthorityName(actor.Authority), user); err != nil {
			return err
		}
		if len(s.By)+1 >= s.Needed {
			return errRaced // somebody else has approved meanwhile
		}
		err = tx.PutApproval(ctx, store.Approval{
			Authority: a.name, Request: again.ID, Lineage: user, ApprovedAt: now, ApprovedBy: actor.String(),
			Serial: fmt.Sprintf("%#x", actor.Serial), What: j.what,
		})
		if err != nil {
			return err
		}
		own := Approver{Lineage: user, At: now}
		if crt, err := tx.CertificateBySerial(ctx, store.AuthorityName(actor.Authority), actor.Serial); err == nil {
			own.Subject = crt.Subject
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		s.By = append(s.By, own)
		e := a.detailed(a.entry(now, actor, audit.Approve, audit.RequestObject(again.ID)), again.Subject, again.SANs)
		e.Detail += fmt.Sprintf(" %s; rule %s what=%x", s, s.Rule, j.what)
		return tx.AppendAudit(ctx, e)
	})
	if err != nil {
		return err
	}
	return &Awaiting{s}
}

// Standings says of pending requests how many users have to approve them, and who has, if they are approved in this way. Needed is 1 where no
// rule says something else; it is 0 where that cannot be told.
func (a *Authority) Standings(ctx context.Context, how Approval, requests []Submitted) ([]Standing, error) {
	list := make([]Standing, len(requests))
	rules := a.cfg.Rules
	if rules == nil || rules.Set().Len() == 0 {
		for i := range list {
			list[i].Needed = 1
		}
		return list, nil
	}
	now := a.clock.Now()
	err := a.store.View(ctx, func(r store.Reader) error {
		rows, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		for i, shown := range requests {
			pending, err := r.Request(ctx, a.name, shown.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			if list[i], err = a.standingOf(ctx, r, now, pending, how, rows); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func (a *Authority) standingOf(ctx context.Context, r store.Reader, now time.Time, pending store.Request, how Approval, rows []store.Authority) (Standing, error) {
	req, err := a.stored(pending)
	if err != nil {
		return Standing{}, nil // that it is damaged is said elsewhere
	}
	p, err := a.profileNamed(cmp.Or(how.Profile, pending.Profile))
	if err != nil {
		return Standing{}, nil // likewise
	}
	j, err := a.judge(now, pending, req.CSR, p, how)
	if err != nil {
		return Standing{}, nil
	}
	for _, users := range store.ByRole(rows, store.RoleUsers) {
		return a.approvals(ctx, r, pending.ID, j, users.Name, 0)
	}
	return Standing{Needed: j.verdict.Needed(), Rule: j.verdict.Rule, Reason: j.verdict.Reason}, nil
}
