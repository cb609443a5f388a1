package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// ErrUninvited means that an invitation is not good for what was asked for. Its text may be shown.
var ErrUninvited = errors.New("invitation refused")

const (
	// MaxInvitation is how long an invitation can be valid.
	MaxInvitation = 30 * 24 * time.Hour
	// invitationSkew is how far the clocks of whoever invites may be ahead.
	invitationSkew = 5 * time.Minute
	// maxInvitations bounds those on record. What has ended is forgotten.
	maxInvitations = 100_000
)

// An Invitation is the signed permission of a user, or of an operator, to be certified without further approval, in
// whatever form it was presented.
type Invitation struct {
	ID        string // names it, and gives nothing away
	Authority store.AuthorityName
	Names     []string // that it allows, for display
	Profile   string   // to sign with; empty: the authority's default
	Uses      int      // certificates that it is good for
	Made      time.Time
	Until     time.Time
	By        *big.Int // serial of the certificate of the user who has signed it; nil: a CA of the authority has

	Verify func(crypto.PublicKey) error // reports whether that key has signed it
	Covers func(*pki.Request) error     // reports, by an error, whether a request asks for more than is allowed
}

// SubmitInvited takes a request together with an invitation, and signs it at once. The use is counted in the transaction
// that records the certificate. The same request again gets the same certificate, and is no second use. The
// profile asked for may be empty, or the one that the invitation is for.
func (a *Authority) SubmitInvited(ctx context.Context, actor audit.Actor, req *pki.Request, inv Invitation, how Asked) (done Submission, err error) {
	defer a.observeOnce(audit.UseInvitation, &err, &done.again)
	if err := a.issuesLeaves(); err != nil {
		return Submission{}, err
	}
	now := a.clock.Now()
	if a.retired(now) {
		return Submission{}, ErrRetired
	}
	var by inviter
	use := invited{Request: req, invitation: inv, actor: actor}
	if use.by, err = a.asks(ctx, how.By, actor); err != nil {
		return Submission{}, err
	}
	use.by.Invitation = inv.ID
	if use.asker, err = use.by.Text(); err != nil {
		return Submission{}, err
	}
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		if use.profile, err = a.invitedProfile(inv, how.Profile); err != nil {
			return err
		}
		done, by, err = a.useInvitation(ctx, now, st, &use)
		return err
	})
	if errors.Is(err, ErrPolicy) {
		return Submission{}, a.refusedByRule(ctx, now, actor, req, err)
	}
	if errors.Is(err, ErrUninvited) {
		return Submission{}, a.refusedInvitation(ctx, now, actor, by, inv, err)
	}
	return done, err
}

// CheckInvitation refuses an invitation that is not to this authority, or that nobody has signed who may, before anything
// is computed with the key of the request that came with it.
func (a *Authority) CheckInvitation(ctx context.Context, actor audit.Actor, inv Invitation) (err error) {
	defer func() {
		if err != nil {
			a.observe(audit.UseInvitation, &err)
		}
	}()
	now := a.clock.Now()
	var by inviter
	if err = func() error {
		if _, err := a.invitedProfile(inv, ""); err != nil {
			return err
		}
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		err = a.store.View(ctx, func(r store.Reader) (err error) {
			by, err = a.inviter(ctx, r, now, st, invited{invitation: inv, actor: actor})
			return err
		})
		if err != nil {
			return err
		}
		return by.verify(inv)
	}(); errors.Is(err, ErrUninvited) {
		return a.refusedInvitation(ctx, now, actor, by, inv, err)
	}
	return err
}

// invited is a request that was submitted with an invitation.
type invited struct {
	*pki.Request
	invitation Invitation
	actor      audit.Actor // who has presented it
	profile    *profile.Profile
	by         policy.Asker
	asker      string          // the same, as it is kept
	verdict    *policy.Verdict // what was decided about it; nil: nothing yet
}

// invitedProfile returns the profile to sign with.
func (a *Authority) invitedProfile(inv Invitation, asked string) (*profile.Profile, error) {
	if inv.Authority != a.name {
		return nil, fmt.Errorf("%w: it is for authority %s, and not for %s", ErrUninvited, inv.Authority, a.name)
	}
	p, err := a.profileNamed(inv.Profile)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUninvited, err)
	case !p.Unattended():
		return nil, fmt.Errorf("%w: certificates with profile %s are signed by users only", ErrUninvited, p.Name())
	case asked != "" && asked != p.Name():
		return nil, fmt.Errorf("%w: the request asks for profile %.40q, and the invitation is for %s", ErrUninvited, asked, p.Name())
	}
	return p, nil
}

// An inviter is whoever has signed an invitation, as far as it says so itself.
type inviter struct {
	actor    audit.Actor
	keys     []crypto.PublicKey // one of them has to have signed
	users    store.AuthorityName
	lineage  int64
	ca       int64             // that has issued crt
	crt      *x509.Certificate // nil: an operator, with the key of a CA
	ended    error             // why nothing that was signed counts any more; nil: it does
	verified bool              // it has signed
}

// useInvitation signs a request if the invitation is good for it.
func (a *Authority) useInvitation(ctx context.Context, now time.Time, st state, use *invited) (Submission, inviter, error) {
	var by inviter
	var at place
	var since time.Time
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		if by, err = a.inviter(ctx, r, now, st, *use); err != nil {
			return err
		}
		if since, err = a.invitationsSince(ctx, r); err != nil {
			return err
		}
		if use.invitation.By == nil {
			since = operatorsSince(now, since)
		}
		at, err = a.placeOf(ctx, r, now, *use)
		return err
	})
	if err != nil {
		return Submission{}, by, err
	}
	if err := by.verify(use.invitation); err != nil {
		return Submission{}, by, err
	}
	by.verified = true
	if err := use.invitation.Covers(use.Request); err != nil {
		return Submission{}, by, fmt.Errorf("%w: %w", ErrUninvited, err)
	}
	if at.issued != nil {
		return *at.issued, by, nil
	}
	if by.ended != nil {
		return Submission{}, by, by.ended
	}
	if err := use.invitation.check(now, since); err != nil {
		return Submission{}, by, err
	}
	if err := at.usable(use.invitation); err != nil {
		return Submission{}, by, err
	}
	if err := st.acceptable(use.CSR.RawSubject); err != nil {
		return Submission{}, by, err
	}
	id := at.pending
	if id == 0 {
		if id, err = newID(); err != nil {
			return Submission{}, by, err
		}
	}
	validity, err := a.permitInvited(ctx, now, use)
	if err != nil {
		return Submission{}, by, err
	}
	crt, err := a.issue(ctx, now, st, issuance{id: id, request: use.Request, method: store.Invited, profile: use.profile, validity: validity, longest: use.verdict.MaxValidity, asker: use.asker})
	if err != nil {
		return Submission{}, by, err
	}
	var earlier *Submission
	err = a.store.Update(ctx, func(tx store.Tx) error {
		earlier = nil
		found, err := a.placeOf(ctx, tx, now, *use)
		if err != nil {
			return err
		}
		if earlier = found.issued; earlier != nil {
			return nil
		}
		if found.pending != at.pending || !current(use.verdict) {
			return errRaced // somebody has submitted it, or decided about it
		}
		return a.recordInvited(ctx, tx, now, st, *use, by, found, crt)
	})
	switch {
	case err != nil:
		return Submission{}, by, err
	case earlier != nil:
		return *earlier, by, nil
	}
	a.observe(audit.Sign, new(error))
	issued, err := a.issuedAs(crt)
	return Submission{ID: id, Issued: &issued}, by, err
}

// recordInvited records the certificate and the use of the invitation, if nothing has come between.
func (a *Authority) recordInvited(ctx context.Context, tx store.Tx, now time.Time, st state, use invited, by inviter, at place, crt minted) error {
	if by.crt != nil {
		if err := a.stillUser(ctx, tx, by); err != nil {
			return err
		}
	}
	if err := at.usable(use.invitation); err != nil {
		return err
	}
	switch at.pending {
	case 0:
		in := &incoming{Request: use.Request, named: use.invitation.Profile}
		if err := a.receive(ctx, tx, now, use.actor, crt.ID, in); err != nil {
			return err
		}
	default: // of which the key was in use until now
		if err := tx.DeleteRequest(ctx, a.name, at.pending); err != nil {
			return err
		}
		if err := a.checkKey(ctx, tx, use.Request.KeyID); err != nil {
			return err
		}
	}
	if !at.known {
		if err := a.roomForInvitation(ctx, tx, ErrUninvited); err != nil {
			return err
		}
	}
	row := use.invitation.row(at.row, by.actor)
	which := "once more, as the CA of its certificate was withdrawn"
	if !at.counted {
		row.Used++
		which = fmt.Sprintf("use %d of %d", row.Used, row.Uses)
	}
	if err := tx.PutInvitation(ctx, row); err != nil {
		return err
	}
	e := a.entry(now, by.actor, audit.UseInvitation, audit.InvitationObject(row.ID))
	e.Detail = fmt.Sprintf("%s: %s", which, audit.CertificateObject(crt.ID, crt.Serial))
	if err := tx.AppendAudit(ctx, e); err != nil {
		return err
	}
	return a.record(ctx, tx, now, st, by.actor, audit.Sign, crt)
}

// row is what is remembered of an invitation, given what was.
func (i Invitation) row(known store.Invitation, by audit.Actor) store.Invitation {
	known.Authority, known.ID, known.Inviter, known.Names = i.Authority, i.ID, by.String(), i.Names
	known.Uses, known.MadeAt, known.Until = i.Uses, i.Made, i.Until
	return known
}

// A place is what is known of a request and of the invitation that came with it.
type place struct {
	issued  *Submission      // it has a certificate
	pending int64            // id of the same request, which waits; 0: it does not
	row     store.Invitation // what is known of the invitation
	known   bool             // there is such a row
	counted bool             // as a use of it, this request is: it had a certificate, the CA of which was withdrawn since
}

// placeOf finds it out, and refuses a request that must not be certified.
func (a *Authority) placeOf(ctx context.Context, r store.Reader, now time.Time, use invited) (at place, err error) {
	switch known, knownErr := a.knownRequest(ctx, r, now, use.Request.Digest[:]); {
	case knownErr == nil && known.Issued != nil:
		at.issued = &known
	case knownErr == nil:
		at.pending = known.ID
	case !errors.Is(knownErr, ErrNotFound):
		return at, knownErr
	default:
		// One that had a certificate, which counts no more, is not to get another without a user's knowing.
		switch row, err := r.CertificateByCSR(ctx, a.name, use.Digest[:]); {
		case err == nil && errors.Is(knownErr, errWithdrawnCA):
			by, err := policy.ParseAsker(row.Asked)
			at.counted = err == nil && by.Invitation == use.invitation.ID
		case err == nil:
			return at, fmt.Errorf("%w: the certificate for this request was revoked or has expired; make a new key and request", ErrConflict)
		case !errors.Is(err, store.ErrNotFound):
			return at, err
		}
		if err := a.checkKey(ctx, r, use.Request.KeyID); err != nil {
			return at, err
		}
	}
	at.row, err = r.Invitation(ctx, a.name, use.invitation.ID)
	if at.known = err == nil; errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return at, err
}

// usable reports whether the invitation has a use left and was not withdrawn.
func (p place) usable(inv Invitation) error {
	switch {
	case !p.known && inv.By == nil:
		return fmt.Errorf("%w: it is not on record here: was the CA's database restored?", ErrUninvited)
	case !p.known:
	case !p.row.VoidedAt.IsZero():
		return fmt.Errorf("%w: it was withdrawn", ErrUninvited)
	case p.row.Used >= inv.Uses && !p.counted:
		return fmt.Errorf("%w: it is used up, it was good for %d", ErrUninvited, inv.Uses)
	}
	return nil
}

// check reports whether it is the time of an invitation. Those made before since do not count.
func (i Invitation) check(now, since time.Time) error {
	switch {
	case i.Uses < 1 || !i.Made.Before(i.Until) || i.Until.Sub(i.Made) > MaxInvitation:
		return fmt.Errorf("%w: no invitation can be valid for longer than %s", ErrUninvited, pki.FormatDuration(MaxInvitation))
	case !now.Before(i.Until):
		return fmt.Errorf("%w: it has ended %s", ErrUninvited, stamp(i.Until))
	case i.Made.After(now.Add(invitationSkew)):
		return fmt.Errorf("%w: it is valid from %s, and here it is %s: is a clock wrong?", ErrUninvited, stamp(i.Made), stamp(now))
	case i.Made.Before(since):
		return fmt.Errorf("%w: it was made before the CA's database was restored, %s", ErrUninvited, stamp(since))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// invitationsSince is the time of which older invitations do not count: a backup does not know how often those
// were used.
func (a *Authority) invitationsSince(ctx context.Context, r store.Reader) (time.Time, error) {
	value, err := r.Setting(ctx, "", store.SettingInvitationsSince)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, err
	}
	since, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return since, fmt.Errorf("%w: setting %s is %q, not a time", ErrDamaged, store.SettingInvitationsSince, value)
	}
	return since, nil
}

// inviter finds out whose key must have signed. Only users can invite, whose certificates are on record, and an operator,
// who has the keys of the authority's CAs.
func (a *Authority) inviter(ctx context.Context, r store.Reader, now time.Time, st state, use invited) (inviter, error) {
	inv := use.invitation
	if inv.By == nil {
		by := inviter{actor: audit.Actor{Kind: audit.Operator, RequestID: use.actor.RequestID}}
		for _, crt := range certificates(st.valid(now)) {
			by.keys = append(by.keys, crt.PublicKey)
		}
		return by, nil
	}
	rows, err := r.Authorities(ctx)
	if err != nil {
		return inviter{}, err
	}
	for _, users := range store.ByRole(rows, store.RoleUsers) {
		row, err := r.CertificateBySerial(ctx, users.Name, inv.By)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return inviter{}, err
		}
		by, err := a.invitingUser(ctx, r, now, row)
		by.actor.Address, by.actor.RequestID = use.actor.Address, use.actor.RequestID
		return by, err
	}
	return inviter{}, fmt.Errorf("%w: no user has a certificate with the serial %#x of whoever has signed it", ErrUninvited, inv.By)
}

func (a *Authority) invitingUser(ctx context.Context, r store.Reader, now time.Time, row store.Certificate) (inviter, error) {
	crt, err := pki.ParseIssuedDER(row.DER)
	if err != nil {
		return inviter{}, fmt.Errorf("%w: certificate %d of %s: %w", ErrDamaged, row.ID, row.Authority, err)
	}
	by := inviter{
		actor: audit.Actor{Kind: audit.Inviter, Serial: row.Serial, KeyID: row.KeyID, Lineage: lineageText(row.Lineage)},
		keys:  []crypto.PublicKey{crt.PublicKey}, users: row.Authority, crt: crt, lineage: row.Lineage, ca: row.CAID,
	}
	if err := pki.CheckValidity(crt, now); err != nil {
		by.ended = fmt.Errorf("%w: the certificate of the user who has signed it: %w", ErrUninvited, err)
	}
	switch err := a.stillUser(ctx, r, by); {
	case errors.Is(err, ErrUninvited):
		by.ended = err
	case err != nil:
		return by, err
	}
	return by, nil
}

// stillUser reports whether the user who has invited is still one.
func (a *Authority) stillUser(ctx context.Context, r store.Reader, by inviter) error {
	switch s, err := r.Standing(ctx, by.users, by.crt.SerialNumber, by.ca); {
	case err != nil:
		return err
	case s.Revoked:
		return fmt.Errorf("%w: the certificate of the user who has signed it is revoked", ErrUninvited)
	case s.CA == "" || s.CA.Gone():
		return fmt.Errorf("%w: the CA of the user who has signed it does not count any more", ErrUninvited)
	}
	switch l, err := r.Lineage(ctx, by.users, by.lineage); {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case l.State != store.LineageActive:
		return fmt.Errorf("%w: the lineage of the user who has signed it has ended", ErrUninvited)
	}
	return nil
}

// verify reports whether one of the inviter's keys has signed.
func (by inviter) verify(inv Invitation) error {
	for _, key := range by.keys {
		if inv.Verify(key) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: it was altered, or not signed by whom it names", ErrUninvited)
}
