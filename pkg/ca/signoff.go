package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// signoffAhead is how long before it needs a CA certificate, as a part of a span, an authority asks
// a parent for it whose key is kept elsewhere: people have to carry files.
const signoffAhead = 2

// MaxSignoffs bounds the generations for which an authority may have keys in advance.
const MaxSignoffs = 20

// An Awaited describes a sign-off that an authority needs, or has in stock.
type Awaited struct {
	Parent store.AuthorityName
	Since  time.Time // when it was asked for
	From   time.Time // when the new CA certificate is needed
	Stock  int       // CA certificates that are signed off and wait for their time
	Until  time.Time // when the last usable CA certificate ends; zero when there is none
}

// Awaited returns the oldest sign-off that is waited for, and whether there is one.
func (a *Authority) Awaited(ctx context.Context) (awaited Awaited, waiting bool, err error) {
	if a.row.Parent == "" {
		return Awaited{}, false, nil
	}
	now := a.clock.Now()
	awaited.Parent = a.row.Parent
	for _, g := range a.cas.Load().valid(now) {
		awaited.Until = later(awaited.Until, g.times.NotAfter)
	}
	rows, err := a.signoffs(ctx)
	usable := 0 // of the stock: one for later is of no use without a CA certificate now
	for _, row := range rows {
		switch {
		case !now.Before(row.NotAfter):
		case row.Certificate != nil:
			awaited.Stock++
			if !awaited.Until.IsZero() || !now.Before(row.NotBefore) {
				usable++
			}
		case !waiting:
			awaited.Since, awaited.From, waiting = row.CreatedAt, row.NotBefore, true
		}
	}
	// What is there comes first: nothing is missing before it is used up.
	return awaited, waiting && usable == 0, err
}

func (a *Authority) signoffs(ctx context.Context) (rows []store.Signoff, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		rows, err = r.Signoffs(ctx, a.name)
		return err
	})
	return rows, err
}

// signedOff makes a generation of the newest CA certificate that a parent has signed off for now, with
// the row it comes from. The row is nil when there is none.
func (a *Authority) signedOff(ctx context.Context, now time.Time, older *generations) (generation, *store.Signoff, error) {
	rows, err := a.signoffs(ctx)
	if err != nil {
		return generation{}, nil, err
	}
	for i := len(rows) - 1; i >= 0; i-- {
		row := rows[i]
		if row.Certificate == nil {
			continue
		}
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return generation{}, nil, fmt.Errorf("%w: sign-off %d of %s: %w", ErrDamaged, row.ID, a.name, err)
		}
		if pki.CheckValidity(crt, now) != nil || crt.NotBefore.Before(older.successorFrom(now)) {
			continue
		}
		purpose, err := purposeOf(a.name, row.CreatedAt, crt.PublicKey)
		if err != nil {
			return generation{}, nil, err
		}
		key, err := a.cfg.Custody.Open(ctx, purpose, keys.Ref(row.Key))
		if err != nil {
			return generation{}, nil, fmt.Errorf("sign-off %d of %s: %w", row.ID, a.name, err)
		}
		if !pki.SameKey(key.Public(), crt.PublicKey) {
			return generation{}, nil, fmt.Errorf("%w: sign-off %d of %s: its certificate has another key", ErrDamaged, row.ID, a.name)
		}
		pki.AsCA(crt, crt.SubjectKeyId)
		made, err := a.adopt(now, crt, key, older)
		if err != nil {
			return generation{}, nil, err
		}
		purposeNow := purpose
		purposeNow.Generation = made.times.CreatedAt
		made.ref, err = a.cfg.Custody.Rebind(ctx, keys.Ref(row.Key), purpose, purposeNow)
		return made, &row, err
	}
	return generation{}, nil, nil
}

// prepareSignoff makes the key and the request for the next CA certificate, half a span before it is
// due, where a parent has to sign it off. The keys of sign-offs whose time has passed are erased.
func (a *Authority) prepareSignoff(ctx context.Context, now time.Time) error {
	if a.row.Parent == "" || a.retired(now) {
		return nil
	}
	rows, err := a.signoffs(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if now.Before(row.NotAfter) {
			continue
		}
		if err := a.dropSignoff(ctx, now, row, "its time has passed"); err != nil {
			return err
		}
	}
	if _, err := a.issuerOf(ctx, now, nil); !errors.Is(err, ErrSignoff) {
		return err
	}
	due := a.nextDue(now)
	for _, row := range rows {
		if row.Certificate != nil && now.Before(row.NotAfter) {
			due = later(due, row.NotAfter.Add(-2*a.spans.Leaf)) // when what is in stock needs a successor
		}
	}
	if now.Before(due.Add(-a.spans.Leaf / signoffAhead)) {
		return nil
	}
	_, err = a.RequestSignoffs(ctx, audit.Actor{Kind: audit.Daemon}, 1)
	return err
}

func (a *Authority) dropSignoff(ctx context.Context, now time.Time, row store.Signoff, why string) error {
	err := a.store.Update(ctx, func(tx store.Tx) error {
		if err := tx.DeleteSignoff(ctx, a.name, row.ID); err != nil {
			return err
		}
		e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.DropSignoff, audit.CAObject(row.KeyID))
		e.Detail = why
		return tx.AppendAudit(ctx, e)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // another daemon was faster
	}
	if err == nil {
		a.erase(ctx, keys.Ref(row.Key))
	}
	return err
}

// nextDue is when the next CA certificate is due.
func (a *Authority) nextDue(now time.Time) time.Time {
	if newest := a.cas.Load().last(); newest != nil {
		return rollover.SuccessorAt(a.spans, newest.times)
	}
	return now
}

// RequestSignoffs sees to it that keys and requests are there for so many CA certificates that are
// still to be signed off, each to follow the one before it, and returns them, oldest first. It may be called
// again: what was asked for before is asked for again.
func (a *Authority) RequestSignoffs(ctx context.Context, actor audit.Actor, count int) ([]store.Signoff, error) {
	if a.row.Parent == "" {
		return nil, fmt.Errorf("%w: authority %s signs its own CA certificates: it has no parent", ErrInvalid, a.name)
	}
	if count < 1 || count > MaxSignoffs {
		return nil, fmt.Errorf("%w: %d generations ahead, not 1 to %d", ErrInvalid, count, MaxSignoffs)
	}
	if err := a.rolling.lock(ctx); err != nil {
		return nil, err
	}
	defer a.rolling.unlock()
	now := a.clock.Now()
	if err := a.reload(ctx); err != nil {
		return nil, err
	}
	for range MaxSignoffs + attempts {
		rows, err := a.signoffs(ctx)
		if err != nil {
			return nil, err
		}
		from := later(a.nextDue(now), now)
		var waiting []store.Signoff
		slices.SortStableFunc(rows, func(a, b store.Signoff) int { return a.NotBefore.Compare(b.NotBefore) })
		for _, row := range rows {
			if !now.Before(row.NotAfter) {
				continue
			}
			if row.NotBefore.After(from) {
				break // one that was revoked has left a gap before those that were to follow it
			}
			if row.Certificate == nil {
				waiting = append(waiting, row)
			}
			from = later(from, row.NotAfter.Add(-2*a.spans.Leaf))
		}
		if len(waiting) >= count {
			return waiting[:count], nil
		}
		if err := a.addSignoff(ctx, now, actor, from, len(rows)); err != nil && !errors.Is(err, errStale) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: sign-offs of %s", errRaced, a.name)
}

// signoffNow sees to it that a key and a request are there for a CA certificate that is needed now, out of turn.
func (a *Authority) signoffNow(ctx context.Context, now time.Time, actor audit.Actor) (store.Signoff, error) {
	for range attempts {
		rows, err := a.signoffs(ctx)
		if err != nil {
			return store.Signoff{}, err
		}
		for _, row := range rows {
			if row.Certificate == nil && !now.Before(row.NotBefore) && now.Before(row.NotAfter) {
				return row, nil
			}
		}
		if len(rows) >= MaxSignoffs {
			return store.Signoff{}, fmt.Errorf("%w: %d sign-offs of %s are in stock, or asked for, already", ErrConflict, len(rows), a.name)
		}
		if err := a.addSignoff(ctx, now, actor, now, len(rows)); err != nil && !errors.Is(err, errStale) {
			return store.Signoff{}, err
		}
	}
	return store.Signoff{}, fmt.Errorf("%w: sign-offs of %s", errRaced, a.name)
}

// addSignoff makes a key and a request for a CA certificate that is needed from then on. It is stored
// if there are still as many as known.
func (a *Authority) addSignoff(ctx context.Context, now time.Time, actor audit.Actor, from time.Time, known int) error {
	ref, key, err := a.nextKey(ctx, now, a.cas.Load())
	if err != nil {
		return err
	}
	row := store.Signoff{
		Authority: a.name, CreatedAt: now, Key: store.KeyRef(ref),
		NotBefore: later(from.Add(-a.cfg.Backdate).Truncate(time.Second), a.cas.Load().successorFrom(now)),
		NotAfter:  from.Add(a.spans.CAValidity()).Truncate(time.Second),
	}
	err = a.fillSignoff(ctx, now, &row, key)
	if err == nil {
		err = a.store.Update(ctx, func(tx store.Tx) error {
			switch rows, err := tx.Signoffs(ctx, a.name); {
			case err != nil:
				return err
			case len(rows) != known:
				return errStale
			}
			if _, err := tx.AddSignoff(ctx, row); err != nil {
				return err
			}
			e := a.entry(now, actor, audit.RequestSignoff, audit.CAObject(row.KeyID))
			e.Detail = fmt.Sprintf("from %s, for %s on", a.row.Parent, row.NotBefore.Format(time.RFC3339))
			return tx.AppendAudit(ctx, e)
		})
	}
	if err != nil && !errors.Is(err, store.ErrUncertain) {
		a.erase(ctx, ref)
	}
	if err == nil {
		a.log.WarnContext(ctx, "a CA certificate has to be signed off by the parent", "parent", string(a.row.Parent),
			"needed_from", row.NotBefore, "current_one_ends", a.ends(now))
	}
	return err
}

func (a *Authority) fillSignoff(ctx context.Context, now time.Time, row *store.Signoff, key crypto.Signer) error {
	subject, err := a.nextSubject(ctx, now, row.NotBefore, key.Public(), a.cas.Load().last())
	if err != nil {
		return err
	}
	if row.KeyID, err = pki.KeyID(key.Public()); err != nil {
		return err
	}
	row.Request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: subject}, key)
	return err
}

// InstallSignoff stores a CA certificate that the parent has signed off, until its time has come. It
// is one that this authority has asked for, issued by a CA certificate of the parent that is known here.
func (a *Authority) InstallSignoff(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (err error) {
	defer a.observe(audit.InstallSignoff, &err)
	now := a.clock.Now()
	parent, err := a.parent()
	if err != nil {
		return err
	}
	if parent == nil {
		return fmt.Errorf("%w: authority %s signs its own CA certificates: it has no parent", ErrInvalid, a.name)
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := a.signoffFits(now, crt, parent); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		rows, err := tx.Signoffs(ctx, a.name)
		if err != nil {
			return err
		}
		for _, row := range rows {
			csr, err := x509.ParseCertificateRequest(row.Request)
			if err != nil || !pki.SameKey(csr.PublicKey, crt.PublicKey) {
				continue
			}
			if string(crt.RawSubject) != string(csr.RawSubject) {
				return fmt.Errorf("%w: the CA certificate is for %s, and was asked for for %s", ErrInvalid,
					pki.SubjectString(crt.RawSubject), pki.SubjectString(csr.RawSubject))
			}
			if row.Certificate != nil {
				return fmt.Errorf("%w: this CA certificate, or another one for its key, is installed already", ErrConflict)
			}
			row.Certificate, row.InstalledAt = crt.Raw, now
			if err := tx.PutSignoff(ctx, row); err != nil {
				return err
			}
			e := a.entry(now, actor, audit.InstallSignoff, audit.CAObject(keyID))
			e.Digest = digestOf(crt.Raw)
			e.Detail = "valid from " + crt.NotBefore.UTC().Format(time.RFC3339) + " until " + crt.NotAfter.UTC().Format(time.RFC3339)
			return tx.AppendAudit(ctx, e)
		}
		return fmt.Errorf("%w: authority %s has not asked for a CA certificate for this key", ErrNotFound, a.name)
	})
}

// signoffFits checks that crt is a CA certificate as this authority would have it, by its parent.
func (a *Authority) signoffFits(now time.Time, crt *x509.Certificate, parent *Authority) error {
	permitted, err := profile.ParsePermitted(a.row.Permitted)
	if err != nil {
		return err
	}
	switch {
	case !crt.BasicConstraintsValid || !crt.IsCA || crt.KeyUsage&x509.KeyUsageCertSign == 0 || crt.KeyUsage&x509.KeyUsageCRLSign == 0:
		return errors.New("it is no certificate of a CA that may sign certificates and revocation lists")
	case crt.MaxPathLen > 0 || crt.MaxPathLen == 0 && !crt.MaxPathLenZero:
		return errors.New("the CA certificate allows for CAs below it")
	case now.After(crt.NotAfter):
		return pki.ErrExpired
	case !permitted.Equal(crt):
		return errors.New("the CA certificate does not permit the names that were asked for")
	}
	for _, g := range parent.cas.Load().list {
		if string(g.crt.RawSubject) == string(crt.RawIssuer) && crt.CheckSignatureFrom(g.crt) == nil {
			if crt.NotAfter.After(g.crt.NotAfter) {
				return fmt.Errorf("the CA certificate outlives that of %s which has issued it", parent.name)
			}
			return nil
		}
	}
	return fmt.Errorf("the CA certificate is not issued by a CA of %s that is known here", parent.name)
}
