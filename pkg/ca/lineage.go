package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A ForkPolicy says what becomes of renewals of certificates that were renewed before: by a host that was set
// back to an older state, or by somebody who has a copy of its key.
type ForkPolicy string

// The policies.
const (
	ForkFlag   ForkPolicy = "flag"   // they are served, and be it known
	ForkRefuse ForkPolicy = "refuse" // they are refused
	ForkAllow  ForkPolicy = "allow"  // they are served like all others
)

// ParseForkPolicy reads a policy, ForkFlag from an empty text.
func ParseForkPolicy(text string) (ForkPolicy, error) {
	switch p := ForkPolicy(text); p {
	case "":
		return ForkFlag, nil
	case ForkFlag, ForkRefuse, ForkAllow:
		return p, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s and %s", text, ForkFlag, ForkRefuse, ForkAllow)
}

// DefaultMaxUsers is how many lineages of users there may be at once, unless Config says otherwise. MaxUsers is the
// most that it may say: backups are encrypted to one key of each, and have room for 4,096.
const (
	DefaultMaxUsers = 1000
	MaxUsers        = 2048
)

// ErrTooManyUsers means that no more users can be certified until some have ended or expired. It is an ErrConflict.
var ErrTooManyUsers = fmt.Errorf("%w: there are as many users as may be; revoke those who are none any more", ErrConflict)

// errReplayed refuses a renewal that a certificate and a request have had before. errEnded refuses one to a holder who
// is none any more. Neither tells anything new: they are not worth an entry.
var (
	errReplayed = fmt.Errorf("%w: this certificate was renewed with this request before", ErrConflict)
	errEnded    = fmt.Errorf("%w: its lineage has ended", ErrInvalid)
	errRevoked  = errors.New("revoked")
)

// lineageText is how a lineage is named in the audit log, and on the wire: it has 63 bits, and JSON numbers 53.
func lineageText(id int64) string { return strconv.FormatInt(id, 10) }

// lineageOf finds the lineage of a certificate. One that is not on record, as it was issued after the backup that was
// restored, has one if it was renewed since; store.ErrNotFound if not.
func (a *Authority) lineageOf(ctx context.Context, r store.Reader, serial *big.Int) (store.Lineage, error) {
	l, err := r.LineageOf(ctx, a.name, serial)
	if errors.Is(err, store.ErrNotFound) {
		return r.Lineage(ctx, a.name, store.UnrecordedLineage(serial))
	}
	return l, err
}

// known adds to actor, who has shown a certificate of this authority, the lineage of that.
func (a *Authority) known(ctx context.Context, r store.Reader, actor audit.Actor) (audit.Actor, store.Lineage, error) {
	l, err := a.lineageOf(ctx, r, actor.Serial)
	switch {
	case err == nil:
		actor.Lineage = lineageText(l.ID)
	case errors.Is(err, store.ErrNotFound):
		l.State = store.LineageActive
		err = nil
	}
	return actor, l, err
}

// begin stores a certificate that renews none, and its lineage.
func (a *Authority) begin(ctx context.Context, tx store.Tx, now time.Time, crt *store.Certificate) error {
	crt.Lineage = crt.ID
	if a.row.Role == store.RoleUsers {
		switch n, err := tx.CountLineages(ctx, a.name, now); {
		case err != nil:
			return err
		case n >= a.cfg.MaxUsers:
			return fmt.Errorf("%w (%d)", ErrTooManyUsers, n)
		}
	}
	return tx.AddFirst(ctx, *crt, store.FirstOf(*crt, a.row.Role), NamesOf(crt.DER))
}

// A continuation is a lineage that is to be carried on.
type continuation struct {
	store.Lineage
	begins *store.Certificate // the lineage: what is renewed, which is not on record; nil: it goes on
	fork   bool               // what is renewed was renewed before
	on     *store.Renewable   // what is on record of what is renewed; nil: nothing
}

// record is the row of what is renewed, as far as there is one.
func (c continuation) record() store.Certificate {
	if c.on == nil {
		return store.Certificate{}
	}
	return c.on.Certificate
}

// continuing finds the lineage that a renewal of old carries on, with the key that has keyID. It refuses one of what is revoked, or has ended.
func (a *Authority) continuing(ctx context.Context, r store.Reader, old *x509.Certificate, keyID []byte) (continuation, error) {
	on, err := r.Renewable(ctx, a.name, old.SerialNumber, keyID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return a.continuingUnrecorded(ctx, r, old)
	case err != nil:
		return continuation{}, err
	}
	return a.continuingWith(on, old)
}

// continuingWith is continuing for a certificate of which on is on record.
func (a *Authority) continuingWith(on store.Renewable, old *x509.Certificate) (continuation, error) {
	c := continuation{Lineage: on.Lineage, on: &on, fork: renewedBefore(on, old)}
	switch {
	case on.Revoked:
		return c, fmt.Errorf("%w: %w", ErrInvalid, revoked(old))
	case on.Lineage.State != store.LineageActive:
		return c, errEnded
	}
	return c, nil
}

// continuingUnrecorded is continuing for a certificate that is not on record, but was issued here.
func (a *Authority) continuingUnrecorded(ctx context.Context, r store.Reader, old *x509.Certificate) (continuation, error) {
	if err := a.notRevoked(ctx, r, old, ErrInvalid); err != nil {
		return continuation{}, err
	}
	l, err := a.lineageOf(ctx, r, old.SerialNumber)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if err := a.notOfEnded(ctx, r, old); err != nil {
			return continuation{}, err
		}
		first, err := a.unrecorded(old)
		return continuation{Lineage: store.FirstOf(first, a.row.Role), begins: &first}, err
	case err != nil:
		return continuation{}, err
	case l.State != store.LineageActive:
		return continuation{}, errEnded
	}
	return continuation{Lineage: l, fork: l.Newest.Cmp(old.SerialNumber) != 0}, nil
}

// notOfEnded refuses a certificate that is not on record, as it was issued after the backup that was restored, and that may
// have renewed one of a lineage that has ended since: of that subject, begun before it and ended after it. Which certificate
// it renewed is lost with its record; whoever ends a lineage has to be sure that nobody goes on with what is left of it.
func (a *Authority) notOfEnded(ctx context.Context, r store.Reader, crt *x509.Certificate) error {
	l, err := r.EndedLineage(ctx, a.name, pki.SubjectString(crt.RawSubject), crt.NotBefore)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: certificate %#x is not on record and may be of lineage %d of the same subject", errEnded, crt.SerialNumber, l.ID)
}

// carryOn stores a renewal and what it changes of its lineage, and records a fork.
func (a *Authority) carryOn(ctx context.Context, tx store.Tx, now time.Time, st state, actor audit.Actor, c continuation, crt store.Certificate) error {
	l := c.Lineage
	flagged := c.fork && a.cfg.Fork != ForkAllow
	if flagged {
		l.Forks++
		l.ForkedAt, l.ForkAddress, l.ForkedFrom = now, actor.Address, l.Address
	}
	l.Newest, l.NotAfter, l.Profile = crt.Serial, later(l.NotAfter, crt.NotAfter), crt.Profile
	l.Renewals++
	l.RenewedAt, l.Address = now, actor.Address
	if c.begins == nil {
		was := store.Renewable{Lineage: c.Lineage, CAs: st.version}
		if c.on != nil {
			was = *c.on
		}
		if err := tx.AddRenewal(ctx, was, crt, l); err != nil || !flagged {
			return err
		}
		e := a.entry(now, actor, audit.Fork, audit.LineageObject(l.ID))
		e.Detail = fmt.Sprintf("certificate %#x was renewed before, from %s; serial=%#x now, from %s",
			crt.Renews, orUnknown(l.ForkedFrom), crt.Serial, orUnknown(l.ForkAddress))
		return tx.AppendAudit(ctx, e)
	}
	if err := tx.AddLineage(ctx, l, NamesOf(c.begins.DER)); err != nil {
		return err
	}
	// On record from now on: it is to end with the lineage, whichever certificate of that is named.
	if err := tx.AddCertificate(ctx, *c.begins); err != nil {
		return err
	}
	return tx.AddCertificate(ctx, crt)
}

// unrecorded is a row for a certificate of this authority of which there is none.
func (a *Authority) unrecorded(crt *x509.Certificate) (row store.Certificate, err error) {
	row = store.Certificate{
		Authority: a.name, ID: store.UnrecordedLineage(crt.SerialNumber), Serial: crt.SerialNumber,
		Subject: pki.SubjectString(crt.RawSubject), SANs: pki.SANStrings(crt.Extensions),
		NotBefore: crt.NotBefore, NotAfter: crt.NotAfter, IssuedAt: crt.NotBefore,
		IssuedBy: string(audit.Daemon), Method: store.Recovered, DER: crt.Raw,
	}
	row.Lineage = row.ID
	known := a.cas.Load().list
	issuer, err := pki.VerifyIssued(crt, certificates(known), crt.NotAfter)
	if err != nil {
		return row, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	row.CAID = known[slices.IndexFunc(known, func(g generation) bool { return g.crt.Equal(issuer) })].id
	row.KeyID, err = pki.KeyIDOf(crt)
	return row, err
}

func orUnknown(address string) string {
	if address == "" {
		return "an address that is not known"
	}
	return address
}

// endLineage ends a lineage, of which the certificates in listed have just been revoked: what else is valid of it is revoked,
// too, and its holder has no role any more.
func (a *Authority) endLineage(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, l store.Lineage, reason, listed int) error {
	n, err := a.listRest(ctx, tx, now, l.ID, reason, listed > 0)
	if err != nil {
		return err
	}
	l.State, l.EndedAt, l.Reason, l.Role = store.LineageEnded, now, reason, ""
	if err := tx.PutLineage(ctx, l); err != nil {
		return err
	}
	e := a.entry(now, actor, audit.EndLineage, audit.LineageObject(l.ID))
	e.Detail = fmt.Sprintf("%s, certificates revoked: %d", l.Subject, n+listed)
	if reason != 0 {
		e.Detail += fmt.Sprintf(" reason=%d", reason)
	}
	return tx.AppendAudit(ctx, e)
}

// listRest revokes what is valid of a lineage, and makes the lists out of date unless that has been done.
func (a *Authority) listRest(ctx context.Context, tx store.Tx, now time.Time, id int64, reason int, dated bool) (int, error) {
	like := store.Revocation{RevokedAt: now.Add(-a.crlBackdate()), Reason: reason}
	n, err := tx.RevokeLineage(ctx, a.name, id, now, like, a.CRLLife())
	if err == nil && n > 0 && !dated {
		_, err = tx.AddCounter(ctx, a.name, store.CounterCRLNumber, 1)
	}
	return n, err
}

// EndLineage ends a lineage on behalf of an authenticated user.
func (a *Authority) EndLineage(ctx context.Context, actor audit.Actor, id int64, reason int) (err error) {
	defer a.observe(audit.EndLineage, &err)
	now := a.clock.Now()
	err = a.revoked(a.updateFor(ctx, actor, func(tx store.Tx) error {
		l, err := tx.Lineage(ctx, a.name, id)
		switch {
		case err != nil:
			return absent(err, "lineage", id)
		case l.State == store.LineageEnded:
			return fmt.Errorf("%w: lineage %d has ended already", ErrConflict, id)
		}
		return a.endLineage(ctx, tx, now, actor, l, reason, 0)
	}))
	if err != nil {
		return a.refused(ctx, now, actor, audit.EndLineage, audit.LineageObject(id), err)
	}
	return nil
}

// endingPage is how many lineages are ended at a time.
const endingPage = 100

// endLineages completes the migration of databases from earlier versions, which had no lineages: where the newest
// certificate was revoked, the older ones are revoked, too.
func (a *Authority) endLineages(ctx context.Context, now time.Time) error {
	for {
		var page []store.Lineage
		err := a.store.View(ctx, func(r store.Reader) (err error) {
			page, err = r.EndingLineages(ctx, a.name, endingPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		err = a.store.Update(ctx, func(tx store.Tx) error {
			page, err := tx.EndingLineages(ctx, a.name, endingPage)
			if err != nil {
				return err
			}
			for _, l := range page {
				at := l.EndedAt
				n, err := a.listRest(ctx, tx, now, l.ID, l.Reason, false)
				if err != nil {
					return err
				}
				l.State, l.EndedAt, l.Role = store.LineageEnded, at, ""
				if err := tx.PutLineage(ctx, l); err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.EndLineage, audit.LineageObject(l.ID))
				e.Detail = fmt.Sprintf("%s, certificates revoked: %d, as the newest one was at %s", l.Subject, n, at.UTC().Format(time.RFC3339))
				if err := tx.AppendAudit(ctx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// Lineages returns at most limit lineages that follow after, oldest first.
func (a *Authority) Lineages(ctx context.Context, after store.LineagePage, limit int) (page []store.Lineage, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		page, err = r.Lineages(ctx, a.name, after, limit)
		return err
	})
	return page, err
}

// A LineageMember is one certificate of a lineage.
type LineageMember struct {
	store.Certificate
	Revoked *store.Revocation // nil as long as it is not
}

// Lineage returns a lineage, and its newest certificates, at most limit of them.
func (a *Authority) Lineage(ctx context.Context, id int64, limit int) (l store.Lineage, members []LineageMember, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		if l, err = r.Lineage(ctx, a.name, id); err != nil {
			return absent(err, "lineage", id)
		}
		crts, err := r.LineageCertificates(ctx, a.name, id, limit)
		if err != nil {
			return err
		}
		members = nil
		for _, crt := range crts {
			m := LineageMember{Certificate: crt}
			switch rev, err := r.Revocation(ctx, a.name, crt.Serial); {
			case err == nil:
				m.Revoked = &rev
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
			members = append(members, m)
		}
		return nil
	})
	return l, members, err
}

// LineageOf returns the id of the lineage to which the certificate with a serial belongs.
func (a *Authority) LineageOf(ctx context.Context, serial *big.Int) (id int64, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		l, err := a.lineageOf(ctx, r, serial)
		id = l.ID
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: certificate %#x", ErrNotFound, serial)
		}
		return err
	})
	return id, err
}

// CountLineages counts the lineages of users that are alive, and those of whomever that have ever forked. How many
// lineages of services there are nobody asks at every scrape: there may be millions.
func (a *Authority) CountLineages(ctx context.Context) (alive, forked int, err error) {
	now := a.clock.Now()
	err = a.store.View(ctx, func(r store.Reader) error {
		if a.row.Role == store.RoleUsers {
			if alive, err = r.CountLineages(ctx, a.name, now); err != nil {
				return err
			}
		}
		forked, err = r.CountForked(ctx, a.name, now)
		return err
	})
	return alive, forked, err
}
