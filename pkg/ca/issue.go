package ca

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// An issuance is what an authority has decided to certify. Whatever way it was asked for, it
// is made into a certificate by issue and into a record by record, and nowhere else.
type issuance struct {
	id      int64
	request *pki.Request // the public key and, unless there is a template, everything else
	method  store.Method

	profile  *profile.Profile
	validity time.Duration // asked for, or that of the certificate that is renewed; 0: the profile's

	asker      string // who has asked for it, as it is kept
	rule       string // that has approved it; empty: none
	ruleDigest []byte

	longest   time.Duration // that the rule allows which has approved it; 0: it says nothing
	amendedBy string        // whoever has changed it; empty: nobody
	amended   string        // by whom, and what

	template *pki.Request      // subject and extensions given by a user instead
	renews   *x509.Certificate // subject and extensions carried on from here instead
}

// A minted is a certificate that has just been signed, and its record.
type minted struct {
	store.Certificate
	parsed *x509.Certificate // nil if it was made earlier

	amended string // by whom, and what; empty: it was not
}

// issue signs a certificate: draft, check, lint, sign. It is not valid before record has stored it.
func (a *Authority) issue(ctx context.Context, now time.Time, st state, in issuance) (minted, error) {
	if a.retired(now) {
		return minted{}, ErrRetired
	}
	draft, validity, err := a.draft(now, st, in)
	if err != nil {
		return minted{}, err
	}
	draft.Serial = pki.NewSerialAt(now)
	template, err := in.shape(draft, st)
	if err != nil {
		return minted{}, err
	}
	if template, err = a.amend(ctx, now, st, &in, &draft, &validity, template); err != nil {
		return minted{}, err
	}
	if err := a.lint(template, st, in); err != nil {
		return minted{}, in.blame(err)
	}
	crt, err := in.create(template, st.signer, draft.PublicKey)
	if err != nil {
		return minted{}, fmt.Errorf("signing: %w", err)
	}
	row := store.Certificate{
		Authority: a.name,
		ID:        in.id,
		Serial:    draft.Serial,
		CAID:      st.signer.id,
		Subject:   pki.SubjectString(crt.RawSubject),
		SANs:      pki.SANStrings(crt.Extensions),
		NotBefore: crt.NotBefore,
		NotAfter:  crt.NotAfter,
		KeyID:     in.request.KeyID,
		IssuedAt:  now,
		Method:    in.method,
		CSR:       in.request.PEM,
		CSRDigest: in.request.Digest[:],
		DER:       crt.Raw,
		Profile:   in.profile.Name(),
		Asked:     in.asker,
		Rule:      in.rule, RuleDigest: in.ruleDigest,
	}
	if in.validity > 0 || in.longest > 0 || validity != a.spans.Leaf {
		row.Validity = validity // otherwise renewals follow the authority's span, which may become longer
	}
	if in.renews != nil {
		row.Renews = in.renews.SerialNumber
		row.CSR = nil // all that counts of it is the key, and a digest to know it again
	}
	return minted{Certificate: row, parsed: crt, amended: in.amended}, nil
}

// create signs template and parses the result, which proves that what goes out can be read. A renewal may have
// what others have put into the first of its lineage.
func (in issuance) create(template *x509.Certificate, by generation, pub crypto.PublicKey) (*x509.Certificate, error) {
	if by.key == nil {
		return nil, fmt.Errorf("certificate: %w", cmp.Or(by.locked, ErrLocked))
	}
	der, err := pki.SignCertificate(template, by.crt, pub, by.key)
	switch {
	case err != nil:
		return nil, err
	case in.renews != nil:
		return pki.ParseIssuedDER(der)
	}
	return pki.ParseCertificateDER(der)
}

// record stores a certificate that was signed with the state st, on behalf of actor, and begins its lineage.
func (a *Authority) record(ctx context.Context, tx store.Tx, now time.Time, st state, actor audit.Actor, action audit.Action, crt minted) error {
	// A daemon that slept, or one of several on the same database, may have signed with a CA
	// that has been succeeded.
	if err := a.unchanged(ctx, tx, st.version); err != nil {
		return err
	}
	return a.recordUnchanged(ctx, tx, now, actor, action, crt)
}

// recordUnchanged is record for a certificate of which it is known that its CA has not been succeeded.
func (a *Authority) recordUnchanged(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, action audit.Action, m minted) error {
	crt := m.Certificate
	crt.IssuedBy = actor.String()
	if err := a.begin(ctx, tx, now, &crt); err != nil {
		return err
	}
	if err := a.announce(ctx, tx, now, actor, crt); err != nil {
		return err
	}
	e := a.issuedEntry(now, actor, action, crt)
	if m.amended != "" {
		e.Detail += "; " + m.amended
	}
	return tx.AppendAudit(ctx, e)
}

// recordRenewal is record for a certificate that carries a lineage on.
func (a *Authority) recordRenewal(ctx context.Context, tx store.Tx, now time.Time, st state, actor audit.Actor, c continuation, crt store.Certificate) error {
	if c.on == nil {
		if err := a.unchanged(ctx, tx, st.version); err != nil {
			return err
		}
	} else if c.on.CAs != st.version {
		return errStale
	}
	actor.Lineage = lineageText(c.ID)
	crt.Lineage, crt.IssuedBy = c.ID, actor.String()
	if err := a.carryOn(ctx, tx, now, st, actor, c, crt); err != nil {
		return err
	}
	if err := a.announce(ctx, tx, now, actor, crt); err != nil {
		return err
	}
	return tx.AppendAudit(ctx, a.issuedEntry(now, actor, audit.Renew, crt))
}

// issuedEntry is the entry about a certificate that has been issued.
func (a *Authority) issuedEntry(now time.Time, actor audit.Actor, action audit.Action, crt store.Certificate) audit.Entry {
	e := a.entry(now, actor, action, audit.CertificateObject(crt.ID, crt.Serial).Of(crt.Lineage))
	e.Digest = digestOf(crt.DER)
	e.Detail = describe(crt.Subject, crt.SANs) + chosen(crt) + ruledBy(crt.Rule, crt.RuleDigest)
	if crt.Renews != nil {
		e.Detail += " renews serial=" + pki.FormatSerial(crt.Renews)
	}
	e.Detail += " lineage=" + lineageText(crt.Lineage)
	return e
}

// digestOf is by what the log can be asked for a certificate.
func digestOf(der []byte) []byte {
	digest := sha256.Sum256(der)
	return digest[:]
}

// chosen says what is out of the ordinary in how a request was approved.
func chosen(crt store.Certificate) (what string) {
	switch crt.Method {
	case store.Signed, store.AutoSigned, store.TemplateSign, store.Invited:
	default:
		return ""
	}
	if crt.Profile != "" && crt.Profile != profile.NameAsRequested {
		what += " profile=" + crt.Profile
	}
	if crt.Validity > 0 {
		what += " validity=" + pki.FormatDuration(crt.Validity)
	}
	return what
}

// attempts bounds how often an operation is tried again after losing a race.
const attempts = 3

// retryStale runs an operation again when the CA certificates, or what else it depends on, have
// changed under it, or when a random id or serial was taken.
func (a *Authority) retryStale(ctx context.Context, op func() error) error {
	var err error
	for range attempts {
		err = op()
		switch {
		case errors.Is(err, errStale):
			if err := a.reload(ctx); err != nil {
				return err
			}
		case !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrChanged) && !errors.Is(err, errRaced):
			return err
		}
	}
	return err
}

// Approve issues the certificate for a pending request.
func (a *Authority) Approve(ctx context.Context, actor audit.Actor, id int64, how Approval) (_ Issued, err error) {
	defer a.observe(audit.Sign, &err)
	now := a.clock.Now()
	var crt minted
	err = a.retryStale(ctx, func() (err error) {
		crt, err = a.approve(ctx, now, actor, id, how)
		return err
	})
	if errors.Is(err, ErrAwaiting) {
		return Issued{}, err // and on record
	}
	if d := (*Denied)(nil); errors.As(err, &d) {
		_ = a.refused(ctx, now, actor, audit.Sign, audit.RequestObject(id), fmt.Errorf("rule %s: %w", d.Rule, err))
		return Issued{}, err
	}
	if err != nil {
		return Issued{}, a.refused(ctx, now, actor, audit.Sign, audit.RequestObject(id), err)
	}
	return a.issuedAs(crt)
}

func (a *Authority) approve(ctx context.Context, now time.Time, actor audit.Actor, id int64, how Approval) (minted, error) {
	var pending store.Request
	err := store.Glance(ctx, a.store, func(r store.Reader) (err error) {
		pending, err = a.pending(ctx, r, id, how.Shown)
		return err
	})
	if err != nil {
		return minted{}, err
	}
	req, err := a.stored(pending)
	if err != nil {
		return minted{}, err
	}
	st, err := a.current(ctx, now)
	if err != nil {
		return minted{}, err
	}
	by, err := a.profileNamed(cmp.Or(how.Profile, pending.Profile))
	if err != nil {
		return minted{}, err
	}
	if req.Foreign && how.Template == nil {
		return minted{}, fmt.Errorf("%w: request %d: %w", ErrInvalid, id, errForeign)
	}
	j, err := a.judge(now, pending, req.CSR, by, how)
	if err != nil {
		return minted{}, err
	}
	enough, err := a.enough(ctx, now, actor, pending, j)
	if err != nil {
		return minted{}, err
	}
	in := issuance{id: id, request: req, method: store.Signed, profile: by, validity: j.validity, longest: j.verdict.MaxValidity, asker: pending.Asked}
	if template := how.Template; template != nil {
		in.template, in.method = template, store.TemplateSign
	}
	crt, err := a.issue(ctx, now, st, in)
	if err != nil {
		return minted{}, err
	}
	return crt, a.store.Update(ctx, func(tx store.Tx) error {
		if err := enough(tx); err != nil {
			return err
		}
		if err := a.take(ctx, tx, st, actor, id, req); err != nil {
			return err
		}
		return a.recordUnchanged(ctx, tx, now, actor, audit.Sign, crt)
	})
}

// stored is a pending request as it was when it came in, by the rules of today.
func (a *Authority) stored(pending store.Request) (*pki.Request, error) {
	req, err := pki.ParseStored(pending.PEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !bytes.Equal(req.Digest[:], pending.Digest) || !bytes.Equal(req.KeyID, pending.KeyID) {
		return nil, fmt.Errorf("%w: pending request %d of %s is not the one that was submitted: reject it, and have it submitted again", ErrDamaged, pending.ID, a.name)
	}
	return req, nil
}

// take takes a request that was approved from those that are pending, if it still can be, with the CA certificates of st: see updateFor
// about the user. Between submission and now the key may have been revoked as compromised, or, for a user, certified by a renewal.
func (a *Authority) take(ctx context.Context, tx store.Tx, st state, actor audit.Actor, id int64, req *pki.Request) error {
	on, err := tx.Approvable(ctx, a.name, id, req.KeyID, store.AuthorityName(actor.Authority), actor.Serial, actor.Issuer)
	switch {
	case err != nil:
		return err
	case !on.User.Good():
		return notEntitled(actor, on.User)
	case on.Digest == nil:
		return absent(store.ErrNotFound, "pending request", id)
	case !bytes.Equal(on.Digest, req.Digest[:]):
		var other pki.Digest
		copy(other[:], on.Digest)
		return Shown{req.Digest}.check(other)
	case on.CAs != st.version:
		return errStale
	}
	if err := tx.TakeRequest(ctx, a.name, id); err != nil {
		return err
	}
	return a.judgeKey(ctx, tx, req.KeyID, on.OfCA, on.Compromised)
}

// Certificate returns the certificate issued for a request. ErrNotFound while it is pending.
func (a *Authority) Certificate(ctx context.Context, id int64) (Issued, error) {
	var row store.Certificate
	err := store.ViewOne(ctx, a.store, func(r store.Reader) (err error) {
		row, err = r.Certificate(ctx, a.name, id)
		return err
	})
	if err != nil {
		return Issued{}, absent(err, "certificate", id)
	}
	if err := a.knowIssuer(ctx, row); err != nil {
		return Issued{}, err
	}
	return a.issued(row)
}

// knowIssuer sees to it that the CA certificate is known which has signed what a row is about: another daemon
// may have made it since this one last looked, and the chain would lack it.
func (a *Authority) knowIssuer(ctx context.Context, row store.Certificate) error {
	if slices.ContainsFunc(a.cas.Load().list, func(g generation) bool { return g.id == row.CAID }) {
		return nil
	}
	return a.reload(ctx)
}

// issued is the certificate that a row is about.
func (a *Authority) issued(row store.Certificate) (Issued, error) {
	return a.issuedAs(minted{Certificate: row})
}

// issuedAs is issued for a certificate that may have been parsed already.
func (a *Authority) issuedAs(m minted) (Issued, error) {
	if m.parsed == nil {
		var err error
		if m.parsed, err = pki.ParseIssuedDER(m.DER); err != nil {
			return Issued{}, fmt.Errorf("%w: certificate %d of %s: %w", ErrDamaged, m.ID, a.name, err)
		}
	}
	issued := Issued{ID: m.ID, Serial: m.Serial, Certificate: m.parsed}
	for _, g := range a.cas.Load().list {
		if g.id == m.CAID {
			issued.Chain = g.chainOf()
		}
	}
	return issued, nil
}

func describe(subject string, sans []string) string {
	if len(sans) == 0 {
		return subject
	}
	return strings.TrimSpace(subject + " [" + strings.Join(sans, ", ") + "]")
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
