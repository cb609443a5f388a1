package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// replayWindow is how long the same renewal is answered with the certificate it has already
// produced: long enough for a client that has lost the answer, and short enough for one that
// uses the same key and request for years.
const replayWindow = time.Hour

// errNoHolder refuses a Holder that this authority has not returned.
var errNoHolder = fmt.Errorf("%w: not a holder of a certificate of this authority", ErrUnauthorized)

// Holder returns actor as the holder of crt, if crt was issued here and is valid, and verify finds
// the holder's proof to be made with its key. Only then is verify called: before, the key could be
// anything, and arithmetic with it take any time. That crt is not revoked is for the operation that
// follows to see.
//
// A certificate that does not verify is ErrInvalid: unlike a user at the TLS handshake, nobody has
// claimed to be anybody yet. A proof that does not is ErrUnauthorized.
func (a *Authority) Holder(ctx context.Context, actor audit.Actor, crt *x509.Certificate, verify func(crypto.PublicKey) error) (Holder, error) {
	now := a.clock.Now()
	st, err := a.current(ctx, now)
	if err != nil {
		return Holder{}, err
	}
	on, issuer, err := a.recognise(ctx, now, st, crt)
	if err != nil {
		return Holder{}, err
	}
	if err := verify(crt.PublicKey); err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	keyID, err := pki.KeyIDOf(crt)
	if err != nil {
		return Holder{}, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	actor.Kind, actor.Serial, actor.Issuer, actor.KeyID = audit.Holder, crt.SerialNumber, issuer, keyID
	return Holder{authority: a, actor: actor, crt: crt, on: on}, nil
}

// recognise refuses what this authority has not issued, or what is not valid, and returns what is on record of the rest, and
// which generation has issued it.
// What is on record byte for byte needs no arithmetic: the signature of what is not shows that it was issued after
// the backup that was restored.
func (a *Authority) recognise(ctx context.Context, now time.Time, st state, crt *x509.Certificate) (*store.Renewable, int64, error) {
	var on store.Renewable
	err := store.Glance(ctx, a.store, func(r store.Reader) (err error) {
		on, err = r.Renewable(ctx, a.name, crt.SerialNumber, nil)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, 0, err
	case err == nil && (st.recorded(now, on, crt) || st.exchangeable(now, on, crt)):
		return &on, on.Certificate.CAID, nil
	}
	// Another daemon may have withdrawn the CA a moment ago. What is on record is looked at again as it is renewed.
	if st, err = a.latest(ctx, now, st); err != nil {
		return nil, 0, err
	}
	by, err := issuedHere(now, st, crt) // which also says what is wrong with what is on record
	if err == nil {
		err = notAnotherOf(on.Certificate, by.id, crt)
	}
	return nil, by.id, err
}

// latest returns the state at now, given one that was looked at a moment ago: what another daemon has done meanwhile counts.
func (a *Authority) latest(ctx context.Context, now time.Time, st state) (state, error) {
	same := false
	err := a.store.View(ctx, func(r store.Reader) error {
		version, err := r.Counter(ctx, a.name, store.CounterCA)
		same = version == st.version
		return err
	})
	if err != nil || same {
		return st, err
	}
	if err := a.reload(ctx); err != nil {
		return st, err
	}
	return a.forReading(ctx, now)
}

// recorded reports whether a certificate is the one that on is about, byte for byte, and valid.
func (s state) recorded(now time.Time, on store.Renewable, crt *x509.Certificate) bool {
	by := slices.IndexFunc(s.list, func(g generation) bool { return g.id == on.Certificate.CAID })
	return bytes.Equal(on.Certificate.DER, crt.Raw) && !crt.IsCA && crt.SerialNumber.Sign() > 0 &&
		by >= 0 && s.list[by].good(now) && pki.CheckValidity(crt, now) == nil
}

// exchangeable is recorded for a certificate of a CA that was withdrawn. A thief of its key can make certificates of any name, but
// has put none on record; and the key of one that is there proves to be its holder who proved it before. So it can be exchanged for
// one of a CA that is trusted, which is all that it is good for.
func (s state) exchangeable(now time.Time, on store.Renewable, crt *x509.Certificate) bool {
	by := slices.IndexFunc(s.revoked, func(g generation) bool { return g.id == on.Certificate.CAID })
	return bytes.Equal(on.Certificate.DER, crt.Raw) && !crt.IsCA && crt.SerialNumber.Sign() > 0 &&
		by >= 0 && s.revoked[by].state == store.CACompromised && rollover.Valid(now, s.revoked[by].times) && pki.CheckValidity(crt, now) == nil
}

// issuerOf returns the generation that is valid and has issued crt, which is.
func (s state) issuerOf(now time.Time, crt *x509.Certificate) (generation, error) {
	valid := s.valid(now)
	by, err := pki.VerifyIssued(crt, certificates(valid), now)
	if err != nil {
		return generation{}, err
	}
	return valid[slices.IndexFunc(valid, func(g generation) bool { return g.crt.Equal(by) })], nil
}

// issuedHere refuses what this authority has not issued, or what is not valid. It has no serial number that cannot be
// on record: others may have issued such with a key that was imported.
func issuedHere(now time.Time, st state, crt *x509.Certificate) (generation, error) {
	by, err := st.issuerOf(now, crt)
	if err != nil {
		return by, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if serial := crt.SerialNumber; serial.Sign() <= 0 || serial.BitLen() > maxSerialBits {
		return by, fmt.Errorf("%w: the serial number %#x is not one of 1 to 20 bytes (RFC 5280 4.1.2.2): it can be neither on record nor on a revocation list; "+
			"its holder has to request a new certificate", ErrInvalid, serial)
	}
	return by, nil
}

// maxSerialBits is the most a serial number may have: 20 bytes.
const maxSerialBits = 160

// Refused records that a front-end refuses an operation to a holder, and returns why. What is
// refused to nobody, the zero Holder, is counted, but not recorded: strangers could fill the disk.
func (a *Authority) Refused(ctx context.Context, h Holder, action audit.Action, why error) (err error) {
	defer a.observe(action, &err)
	if h.authority != a {
		return why
	}
	return a.refused(ctx, a.clock.Now(), h.actor, action, audit.SerialObject(h.crt.SerialNumber), why)
}

// Renew issues the successor of the holder's certificate: same subject and extensions, the public
// key of req, full validity.
//
// The same request again, within an hour, gets the same certificate: an answer that was lost
// can be asked for again. After that, and once that certificate is revoked, it gets none: a repeated or
// intercepted message produces nothing new, ever.
func (a *Authority) Renew(ctx context.Context, h Holder, req *pki.Request) (issued Issued, err error) {
	defer a.observeOnce(audit.Renew, &err, &issued.again)
	if h.authority != a {
		return Issued{}, errNoHolder
	}
	now := a.clock.Now()
	issued, err = a.renew(ctx, now, h, req)
	if err != nil {
		return Issued{}, a.refused(ctx, now, h.actor, audit.Renew, audit.SerialObject(h.crt.SerialNumber), err)
	}
	return issued, nil
}

func (a *Authority) renew(ctx context.Context, now time.Time, h Holder, req *pki.Request) (Issued, error) {
	old := h.crt
	if limit := MaxRenewalRequest + 2*len(old.Raw); len(req.PEM) > limit { // there are clients that repeat all names
		return Issued{}, fmt.Errorf("%w: the request of this renewal has at most %d bytes, and not %d", ErrInvalid, limit, len(req.PEM))
	}
	var done minted
	on, forked, again := h.on, false, false
	err := a.retryStale(ctx, func() error {
		forked, again = false, false
		// Who gets none is told so before anything is signed.
		seen, fresh, err := a.lookAt(ctx, now, old, req, on)
		on = nil // is looked at anew if there is another attempt
		if err != nil {
			return err
		}
		if seen.made != nil {
			done, again = minted{Certificate: *seen.made}, true
			return nil
		}
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		if seen.on != nil && seen.on.CAs != st.version {
			return errStale
		}
		crt, err := a.issue(ctx, now, st, issuance{
			id: RenewalID(now), request: req, method: store.Renewed, renews: old,
			profile: a.cfg.Profiles.ForRenewal(seen.record().Profile), validity: seen.record().Validity,
		})
		if err != nil {
			return err
		}
		return a.store.Update(ctx, func(tx store.Tx) error {
			done, forked = crt, false
			at := seen
			if !fresh {
				if at, err = a.standing(ctx, tx, now, old, req); err != nil {
					return err
				}
			}
			if at.made != nil {
				done, again = minted{Certificate: *at.made}, true
				return nil
			}
			if err := a.checkRenewalKey(ctx, tx, at, old, req); err != nil {
				return err
			}
			if err := a.budget(old, seen.record()).spendRenewal(&at.Lineage, now, sizeOf(crt.Certificate)); err != nil {
				return err
			}
			forked = at.fork && a.cfg.Fork == ForkFlag
			return a.recordRenewal(ctx, tx, now, st, h.actor, at.continuation, crt.Certificate)
		})
	})
	if err == nil {
		err = a.knowIssuer(ctx, done.Certificate) // a repeated renewal may have been answered by another daemon
	}
	if err != nil {
		return Issued{}, err
	}
	if forked {
		a.observe(audit.Fork, &err)
	}
	issued, err := a.issuedAs(done)
	issued.again = again
	return issued, err
}

// RenewalID returns an id for a renewal: 30 bits of the time, in seconds, and 33 random ones. Its holder is not told it, unlike that of a request,
// which is all random; and those of one hour are neighbours in an index, see pki.NewSerialAt.
func RenewalID(now time.Time) int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return now.Unix()&(1<<30-1)<<33 | int64(binary.BigEndian.Uint64(b[:])>>31|1)
}

// budget is that of the lineage of old, which was issued as the row kept says.
func (a *Authority) budget(old *x509.Certificate, kept store.Certificate) budget {
	validity := old.NotAfter.Sub(old.NotBefore)
	if kept.Validity > 0 {
		validity = min(validity, kept.Validity)
	}
	return budgetOf(min(validity, a.spans.Leaf), a.cfg.Renewals)
}

// A standing is how a certificate stands that is to be renewed with a request.
type standing struct {
	continuation
	made *store.Certificate // what the request has made of it a moment ago, to be answered again
	lost *store.Certificate // the same, but by a CA that was withdrawn since: it is good for nothing, and another one takes its place
}

// lookAt finds the standing of old, of which on was found on record a moment ago, if it is not nil. That is fresh if it says nothing against a
// renewal: whether it still holds is then found out in writing. Those who compete look again as they write.
func (a *Authority) lookAt(ctx context.Context, now time.Time, old *x509.Certificate, req *pki.Request, on *store.Renewable) (s standing, fresh bool, err error) {
	if fresh = on != nil && !renewedBefore(*on, old); fresh {
		s.continuation, err = a.continuingWith(*on, old)
		fresh = err == nil
	}
	if !fresh {
		err = a.store.View(ctx, func(r store.Reader) (err error) {
			s, err = a.standing(ctx, r, now, old, req)
			return err
		})
	}
	if err != nil || s.made != nil {
		return s, fresh, err
	}
	l := s.Lineage
	about := sizeOf(store.Certificate{DER: old.Raw, Subject: pki.SubjectString(old.RawSubject), SANs: pki.SANStrings(old.Extensions)})
	return s, fresh, a.budget(old, s.record()).spendRenewal(&l, now, about)
}

// standing finds out what r says of a renewal of old with req, and refuses one that there must not be.
func (a *Authority) standing(ctx context.Context, r store.Reader, now time.Time, old *x509.Certificate, req *pki.Request) (standing, error) {
	c, refusal := a.continuing(ctx, r, old, req.KeyID)
	if refusal != nil && !errors.Is(refusal, ErrInvalid) {
		return standing{}, refusal
	}
	if c.on != nil && !renewedBefore(*c.on, old) {
		return standing{continuation: c}, refusal
	}
	made, err := r.RenewalByCSR(ctx, a.name, req.Digest[:], old.SerialNumber)
	replay := err == nil
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return standing{}, err
	case replay && refusal != nil:
		return standing{}, errReplayed
	case replay:
		switch err := a.repeatable(ctx, r, now, made); {
		case !errors.Is(err, errWithdrawnCA):
			return standing{continuation: c, made: &made}, err
		case c.Newest.Cmp(made.Serial) == 0:
			// Whoever asks has both keys, that of old and that of made.
			c.fork = false
			return standing{continuation: c, lost: &made}, nil
		}
		return standing{}, errReplayed
	case refusal != nil:
		return standing{}, refusal
	case c.fork && a.cfg.Fork == ForkRefuse:
		return standing{}, fmt.Errorf("%w: certificate %#x was renewed before; use the one that was made then, or ask for a new one", ErrConflict, old.SerialNumber)
	}
	return standing{continuation: c}, nil
}

// renewedBefore reports whether there is a certificate that has renewed crt: from then on that, or what came of it, is
// the newest of the lineage.
func renewedBefore(on store.Renewable, crt *x509.Certificate) bool {
	return on.Lineage.Newest.Cmp(crt.SerialNumber) != 0
}

// repeatable refuses to answer with what the same renewal has produced once that was too long ago, or it is not valid.
func (a *Authority) repeatable(ctx context.Context, r store.Reader, now time.Time, made store.Certificate) error {
	if now.After(made.NotAfter) || now.Sub(made.IssuedAt) > min(replayWindow, a.spans.Leaf/4) {
		return errReplayed
	}
	switch s, err := r.Standing(ctx, a.name, made.Serial, made.CAID); {
	case err != nil:
		return err
	case s.Revoked:
		return errReplayed
	case s.CA.Gone():
		return errWithdrawnCA
	}
	return nil
}

// checkRenewalKey is checkKey, but lets a user keep the key of the certificate that is renewed, and have another certificate for that of one that
// was lost.
func (a *Authority) checkRenewalKey(ctx context.Context, r store.Reader, c standing, old *x509.Certificate, req *pki.Request) (err error) {
	if c.on != nil {
		err = a.judgeKey(ctx, r, req.KeyID, c.on.OfCA, c.on.Compromised)
	} else {
		err = a.checkKey(ctx, r, req.KeyID)
	}
	if errors.Is(err, ErrConflict) && (c.lost != nil || pki.SameKey(old.PublicKey, req.CSR.PublicKey)) {
		return nil
	}
	return err
}

// notRevoked fails with an error of the given kind if crt is revoked.
func (a *Authority) notRevoked(ctx context.Context, r store.Reader, crt *x509.Certificate, kind error) error {
	switch _, err := r.Revocation(ctx, a.name, crt.SerialNumber); {
	case err == nil:
		return fmt.Errorf("%w: %w", kind, revoked(crt))
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

func revoked(crt *x509.Certificate) error {
	return fmt.Errorf("certificate %#x is %w", crt.SerialNumber, errRevoked)
}
