package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/lint"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// Submit takes a certificate signing request, and says what became of it. The same request again is
// answered with the id it already has, and changes nothing. The first AutoApprove requests ever are signed
// at once, unless their profile is one that needs a user; others wait for one. A request that does not fit the
// profile it asks for is refused.
func (a *Authority) Submit(ctx context.Context, actor audit.Actor, req *pki.Request, how Asked) (done Submission, err error) {
	defer a.observeOnce(audit.Submit, &err, &done.again)
	if err := a.issuesLeaves(); err != nil {
		return Submission{}, err
	}
	now := a.clock.Now()
	asked, err := a.profileNamed(how.Profile)
	if err != nil {
		return Submission{}, err
	}
	in := incoming{Request: req, asked: asked, named: how.Profile}
	if in.by, err = a.asks(ctx, how.By, actor); err != nil {
		return Submission{}, err
	}
	if in.asker, err = in.by.Text(); err != nil {
		return Submission{}, err
	}
	if req.Foreign {
		return a.submitForeign(ctx, now, actor, &in)
	}
	err = a.retryStale(ctx, func() error {
		st, err := a.forReading(ctx, now)
		if err != nil {
			return err
		}
		if a.retired(now) {
			return ErrRetired
		}
		if err := st.acceptable(req.CSR.RawSubject); err != nil {
			return err
		}
		done, err = a.submit(ctx, now, st, actor, &in)
		return err
	})
	if err != nil || done.again || done.Issued == nil {
		in.uncount() // a hook has refused it, say: strangers are not to use up what others could have got
	}
	if errors.Is(err, ErrPolicy) {
		return Submission{}, a.refusedByRule(ctx, now, actor, req, err)
	}
	if broken := (*lint.Error)(nil); errors.As(err, &broken) {
		return Submission{}, a.refusedUnattended(ctx, now, actor, req, err)
	}
	if err != nil {
		return Submission{}, err
	}
	return done, nil
}

// An incoming request is one that has just been submitted.
type incoming struct {
	*pki.Request
	asked *profile.Profile // to sign with
	named string           // how the request names it; empty if it does not

	by      policy.Asker
	asker   string          // the same, as it is kept
	verdict *policy.Verdict // what was decided; nil: nothing yet
}

// approvedByRule reports whether it is signed at once because a rule says so.
func (in *incoming) approvedByRule() bool { return in.verdict.Decision == policy.Approve }

// uncount takes back that a rule has approved it.
func (in *incoming) uncount() {
	if in.verdict != nil && in.verdict.Uncount != nil {
		in.verdict.Uncount()
	}
}

// first reports whether it may be signed at once for being among the first, as no rule says something else.
func (in *incoming) first() bool {
	return in.verdict.Rule == "" && in.verdict.Decision == policy.Hold && in.verdict.Reason == ""
}

// A position is where a request stands among those that were ever received.
type position struct {
	known    *Submission // it was received before
	auto     bool        // it is among the first, and of a profile that needs no user
	received int64       // so many were, before
	spent    bool        // it had a certificate, which was revoked or has expired
}

// position finds out what r says of a request with this digest and key, and refuses what must not be certified.
func (a *Authority) position(ctx context.Context, r store.Reader, now time.Time, digest, keyID []byte, asked *profile.Profile) (position, error) {
	on, err := r.Submittable(ctx, a.name, digest, keyID)
	if err != nil {
		return position{}, err
	}
	return a.positionWith(ctx, r, now, on, digest, keyID, asked)
}

// positionWith is position for a request of which on is on record.
func (a *Authority) positionWith(ctx context.Context, r store.Reader, now time.Time, on store.Submittable, digest, keyID []byte, asked *profile.Profile) (p position, err error) {
	switch {
	case on.Pending != 0:
		return position{known: &Submission{ID: on.Pending, again: true}}, nil
	case on.Certified:
		switch known, err := a.knownCertificate(ctx, r, now, digest); {
		case err == nil:
			return position{known: &known}, nil
		case errors.Is(err, errWithdrawnCA):
			on.Certified = false // nobody has decided against it
		case !errors.Is(err, ErrNotFound):
			return position{}, err
		}
	}
	if err := a.judgeKey(ctx, r, keyID, on.OfCA, on.Compromised); err != nil {
		return position{}, err
	}
	approvals, _, err := a.parseAutoApprovals(on.AutoApprove)
	return position{auto: on.Received < approvals && asked.Unattended(), received: on.Received, spent: on.Certified}, err
}

// submit signs a request that is going to be approved automatically before it is recorded, as far as
// can be seen then. Where another request has taken that place it waits for a user like others, and what was
// signed is nobody's: it never leaves this function.
func (a *Authority) submit(ctx context.Context, now time.Time, st state, actor audit.Actor, req *incoming) (Submission, error) {
	seen, err := a.lookAhead(ctx, now, req)
	if err != nil {
		return Submission{}, err
	}
	if seen.known != nil {
		return *seen.known, nil
	}
	if err := a.check(now, st, req.Request, req.asked); err != nil {
		return Submission{}, err
	}
	decided, err := a.decide(ctx, now, req.verdict, req.Request, req.asked, req.by)
	if err != nil {
		return Submission{}, err
	}
	if decided != req.verdict {
		req.uncount()
	}
	req.verdict = decided
	if err := denied(req.verdict); err != nil {
		return Submission{}, err
	}
	if seen.spent && req.approvedByRule() {
		// Whoever was revoked is not to come back without a user's knowing.
		req.verdict.Decision, req.verdict.Reason = policy.Hold, "the certificate for this very request was revoked or has expired"
	}
	id, err := newID()
	if err != nil {
		return Submission{}, err
	}
	var signed minted
	sign := req.approvedByRule() || seen.auto && req.first()
	if sign {
		if signed, err = a.issueUnattended(ctx, now, st, id, req); err != nil {
			return Submission{}, err
		}
	}
	var done Submission
	var waiting *tally
	approved, received := false, int64(0)
	err = a.store.Update(ctx, func(tx store.Tx) error {
		done, approved, waiting, received = Submission{ID: id}, false, nil, 0
		at, err := a.position(ctx, tx, now, req.Digest[:], req.KeyID, req.asked)
		if err != nil {
			return err
		}
		if at.known != nil {
			done = *at.known
			return nil
		}
		if req.asked.Unattended() {
			a.attended.Store(!at.auto)
		}
		auto := req.approvedByRule() || at.auto && req.first()
		if auto && !sign || at.spent && req.approvedByRule() || !current(req.verdict) {
			return errRaced // more are approved than a moment ago, or nobody has looked, or rules have changed
		}
		received = at.received + 1
		if req.approvedByRule() {
			err = a.stillShown(ctx, tx, req.by)
		} else {
			// Those that are approved for being the first, too: the limit comes before any approval of that kind.
			waiting, err = a.roomToWait(ctx, tx, actor, at.received)
		}
		if err != nil {
			return err
		}
		if !auto {
			if err := tx.AppendAudit(ctx, a.submitted(now, actor, id, req)); err != nil {
				return err
			}
			return tx.AddReceived(ctx, a.pendingRow(now, actor, id, req))
		}
		approved = true
		if err := a.receive(ctx, tx, now, actor, id, req); err != nil {
			return err
		}
		return a.record(ctx, tx, now, st, unattended(actor), audit.Sign, signed)
	})
	if err != nil {
		return Submission{}, err
	}
	a.room.note(waiting)
	if received > 0 {
		a.room.received.Store(received)
	}
	if !approved {
		if !done.again {
			done.Reason = req.verdict.Reason
		}
		return done, nil
	}
	a.observe(audit.Sign, &err)
	issued, err := a.issuedAs(signed)
	return Submission{ID: id, Issued: &issued}, err
}

// lookAhead finds the position of a request before anything is made of it. There is no need to look once requests wait for a user
// as a rule: the transaction that records the request looks, too, and if it is to be approved all the same, there is another attempt.
func (a *Authority) lookAhead(ctx context.Context, now time.Time, req *incoming) (seen position, err error) {
	// What is known is not decided about again.
	if !a.ruled() && (!req.asked.Unattended() || a.attended.Load()) {
		return position{}, nil
	}
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		seen, err = a.position(ctx, r, now, req.Digest[:], req.KeyID, req.asked)
		return err
	})
	return seen, err
}

// knownRequest finds what became of a request that was made before: one that is pending, or one
// whose certificate can still be used.
func (a *Authority) knownRequest(ctx context.Context, r store.Reader, now time.Time, digest []byte) (Submission, error) {
	pending, err := r.RequestByDigest(ctx, a.name, digest)
	if !errors.Is(err, store.ErrNotFound) {
		return Submission{ID: pending.ID, again: true}, err
	}
	return a.knownCertificate(ctx, r, now, digest)
}

// knownCertificate finds the certificate that a request has got before and that can still be used.
func (a *Authority) knownCertificate(ctx context.Context, r store.Reader, now time.Time, digest []byte) (Submission, error) {
	row, err := a.usableByCSR(ctx, r, now, digest)
	if err != nil {
		return Submission{}, err
	}
	issued, err := a.issued(row)
	return Submission{ID: row.ID, Issued: &issued, again: true}, err
}

// errWithdrawnCA means that a request has a certificate that has neither expired nor been revoked, of a CA that does not count any more. There is
// no use in handing that out: the request can get another one.
var errWithdrawnCA = fmt.Errorf("%w: the CA that has signed the certificate was withdrawn", ErrNotFound)

// usableByCSR finds the newest certificate issued for the request with this digest, if it has neither expired nor been revoked, nor its CA
// been withdrawn.
func (a *Authority) usableByCSR(ctx context.Context, r store.Reader, now time.Time, digest []byte) (store.Certificate, error) {
	crt, err := r.CertificateByCSR(ctx, a.name, digest)
	if errors.Is(err, store.ErrNotFound) {
		return store.Certificate{}, ErrNotFound
	} else if err != nil {
		return store.Certificate{}, err
	}
	if now.After(crt.NotAfter) {
		return store.Certificate{}, ErrNotFound
	}
	switch s, err := r.Standing(ctx, a.name, crt.Serial, crt.CAID); {
	case err != nil:
		return store.Certificate{}, err
	case s.Revoked:
		return store.Certificate{}, ErrNotFound
	case s.CA.Gone():
		return crt, errWithdrawnCA
	}
	return crt, nil
}

// checkKey refuses keys that must not be certified (again): those of CAs, those revoked because
// they were compromised and, for users, any that is known. Backups are encrypted to user keys, which
// therefore name one user each.
func (a *Authority) checkKey(ctx context.Context, r store.Reader, keyID []byte) error {
	ofCA, err := r.IsCAKey(ctx, keyID)
	if err != nil {
		return err
	}
	compromised, err := r.KeyCompromised(ctx, keyID)
	if err != nil {
		return err
	}
	return a.judgeKey(ctx, r, keyID, ofCA, compromised)
}

// judgeKey is checkKey for a key of which it is known whether it is one of a CA, or compromised: whichever authority was told,
// it is the same key.
func (a *Authority) judgeKey(ctx context.Context, r store.Reader, keyID []byte, ofCA, compromised bool) error {
	switch {
	case ofCA:
		return fmt.Errorf("%w: the key is that of a certificate authority", ErrInvalid)
	case compromised:
		return fmt.Errorf("%w: a certificate with this key was revoked because the key is compromised; make a new key", ErrInvalid)
	}
	if a.row.Role != store.RoleUsers {
		return nil
	}
	switch is, err := r.KeyInUse(ctx, a.name, keyID); {
	case err != nil:
		return err
	case is:
		return fmt.Errorf("%w: another request of a user has this key; make a new key", ErrConflict)
	}
	return nil
}

// acceptable refuses the subject of a certificate that a verifier could mistake for the authority itself,
// or for its parent, however it is spelt: for any generation, those to come included.
func (s state) acceptable(subject []byte) error {
	for _, g := range slices.Concat(s.list, s.revoked) {
		claims := pki.ClaimsAuthority(subject, g.crt.RawSubject) ||
			!bytes.Equal(g.crt.RawIssuer, g.crt.RawSubject) && pki.ClaimsAuthority(subject, g.crt.RawIssuer)
		if claims {
			return fmt.Errorf("%w: the subject %s is that of the certificate authority", ErrInvalid, pki.SubjectString(subject))
		}
	}
	return nil
}

// Pending returns the requests that wait for a user, oldest first. Those for the authority's default
// profile have none.
func (a *Authority) Pending(ctx context.Context) (requests []store.Request, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		requests, err = r.Requests(ctx, a.name, 0)
		return err
	})
	for i := range requests {
		if requests[i].Profile == a.defaultProfile() {
			requests[i].Profile = ""
		}
	}
	return requests, err
}

// Request returns a request as it was submitted, whether it is pending or signed. ErrNotFound:
// rejected or never made.
func (a *Authority) Request(ctx context.Context, id int64) (Submitted, error) {
	found := Submitted{ID: id}
	err := a.store.View(ctx, func(r store.Reader) error {
		pending, err := r.Request(ctx, a.name, id)
		if !errors.Is(err, store.ErrNotFound) {
			found = SubmittedOf(pending)
			found.ID, found.Pending = id, err == nil
			return err
		}
		crt, err := r.Certificate(ctx, a.name, id)
		found.Text = crt.CSR
		copy(found.Digest[:], crt.CSRDigest)
		if err == nil && len(crt.CSR) == 0 {
			return store.ErrNotFound // of a renewal only the digest is kept
		}
		return err
	})
	if err != nil {
		return Submitted{}, absent(err, "request", id)
	}
	if found.Profile == a.defaultProfile() {
		found.Profile = ""
	}
	return found, nil
}

// SubmittedOf is a pending request as it was received.
func SubmittedOf(r store.Request) Submitted {
	s := Submitted{ID: r.ID, Text: r.PEM, Pending: true, Profile: r.Profile, ReceivedAt: r.ReceivedAt, Submitter: r.Submitter, Address: r.Address}
	copy(s.Digest[:], r.Digest)
	return s
}

// pending returns a request that waits for a decision, if it is one of those shown.
func (a *Authority) pending(ctx context.Context, r store.Reader, id int64, shown Shown) (store.Request, error) {
	req, err := r.Request(ctx, a.name, id)
	if err != nil {
		return req, absent(err, "pending request", id)
	}
	var digest pki.Digest
	copy(digest[:], req.Digest)
	return req, shown.check(digest)
}

// detailed says in e whom it is about.
func (a *Authority) detailed(e audit.Entry, subject string, sans []string) audit.Entry {
	e.Detail = describe(subject, sans)
	return e
}

// absent translates the store's ErrNotFound, and says of what.
func absent(err error, what string, id int64) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s %d", ErrNotFound, what, id)
	}
	return err
}

// newID returns a random id of 63 bits: what can be guessed of it tells nothing about others.
func newID() (int64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if id := int64(binary.BigEndian.Uint64(b[:]) >> 1); id > 0 {
			return id, nil
		}
	}
}
