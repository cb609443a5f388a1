package ca

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// CACertificates returns the CA certificates that are valid now, oldest first, as those know them who trust
// the authority itself: self-signed, whoever else has signed for the key.
func (a *Authority) CACertificates(ctx context.Context) ([]*x509.Certificate, error) {
	valid, err := a.valid(ctx)
	return anchors(valid), err
}

// Intermediates returns the CA certificates that are valid now, oldest first, as chains have them: signed by
// the authority's parent where that is so.
func (a *Authority) Intermediates(ctx context.Context) ([]*x509.Certificate, error) {
	valid, err := a.valid(ctx)
	return certificates(valid), err
}

func (a *Authority) valid(ctx context.Context) ([]generation, error) {
	now := a.clock.Now()
	if a.external() {
		return a.cas.Load().valid(now), nil
	}
	st, err := a.forReading(ctx, now)
	if err != nil {
		return nil, err
	}
	return st.valid(now), nil
}

// Succession returns the statements by which a CA of this authority vouches for the next one,
// oldest first. They lead from each CA certificate to the newer ones.
func (a *Authority) Succession(ctx context.Context) ([][]byte, error) {
	now := a.clock.Now()
	known := a.cas.Load()
	if !a.external() {
		st, err := a.forReading(ctx, now)
		if err != nil {
			return nil, err
		}
		known = st.generations
	}
	statements, err := known.succession(a.cfg.Statements)
	if err != nil {
		return nil, err
	}
	var links [][]byte
	for _, s := range statements {
		if r := a.cfg.ChainRetention; r <= 0 || !now.After(s.expired.Add(r)) {
			links = append(links, s.text)
		}
	}
	return links, nil
}

// ParentStatements returns the statements by which CA certificates of this authority that have not expired, as
// those know them who trust it, vouch for those for the same key that its parent has signed. Revoked ones are among
// them: clients may trust one still, and must not take it for a root, which it would be without a parent.
func (a *Authority) ParentStatements(ctx context.Context) ([][]byte, error) {
	if _, err := a.valid(ctx); err != nil {
		return nil, err
	}
	now, known := a.clock.Now(), a.cas.Load()
	var statements [][]byte
	for _, g := range slices.Concat(known.revoked, known.list) {
		if g.parentLink != nil && rollover.Valid(now, g.times) {
			statements = append(statements, g.parentLink)
		}
	}
	return statements, nil
}

// Authenticate turns actor into the user whose certificate was shown, if it is one: issued by
// a CA of this authority that is valid now, valid now itself, and not revoked. The caller has
// made sure that the key is held (a TLS handshake does). Nothing of the answer may be kept for
// later: a user revoked now is no user at the next request.
func (a *Authority) Authenticate(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error) {
	now := a.clock.Now()
	st, err := a.forReading(ctx, now)
	if err != nil {
		return actor, err
	}
	on, other, err := a.onRecord(ctx, now, st, crt)
	if err != nil {
		return actor, err
	}
	issuer := int64(0)
	if on != nil {
		issuer = on.Certificate.CAID
	} else {
		if st, err = a.latest(ctx, now, st); err != nil {
			return actor, err
		}
		by, err := st.issuerOf(now, crt)
		if err != nil {
			return actor, fmt.Errorf("%w: %w", ErrUnauthorized, err)
		}
		if err := notAnotherOf(other, by.id, crt); err != nil {
			return actor, fmt.Errorf("%w: %w", ErrUnauthorized, err)
		}
		issuer = by.id
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return actor, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	user := actor
	user.Kind, user.Serial, user.Issuer, user.KeyID, user.Authority = audit.User, crt.SerialNumber, issuer, keyID, string(a.name)
	var l store.Lineage
	switch {
	case on == nil:
		user, l, err = a.unrecordedUser(ctx, user, crt)
	case on.Revoked:
		err = fmt.Errorf("%w: %w", ErrUnauthorized, revoked(crt))
	default:
		l, user.Lineage = on.Lineage, lineageText(on.Lineage.ID)
	}
	if err != nil {
		return actor, err
	}
	if user.Role = l.Role; l.State != store.LineageActive {
		return actor, fmt.Errorf("%w: the lineage of certificate %#x has ended", ErrUnauthorized, crt.SerialNumber)
	}
	return user, nil
}

// onRecord returns what is on record of a certificate, if it is that byte for byte and counts now, so that its signature need not be
// verified; otherwise nil, and what is on record under its serial number.
func (a *Authority) onRecord(ctx context.Context, now time.Time, st state, crt *x509.Certificate) (_ *store.Renewable, other store.Certificate, err error) {
	var on store.Renewable
	err = store.ViewOne(ctx, a.store, func(r store.Reader) (err error) {
		on, err = r.Renewable(ctx, a.name, crt.SerialNumber, nil)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, other, nil
	case err != nil:
		return nil, other, err
	case on.CAs != st.version:
		if st, err = a.latest(ctx, now, st); err != nil {
			return nil, other, err
		}
	}
	switch {
	case st.exchangeable(now, on, crt):
		return nil, other, fmt.Errorf("%w: the CA that has issued certificate %#x was withdrawn, as somebody else may have its key: renew the certificate", ErrUnauthorized, crt.SerialNumber)
	case !st.recorded(now, on, crt):
		return nil, on.Certificate, nil
	}
	return &on, other, nil
}

// notAnotherOf refuses a certificate if one of the same serial number and issuer is on record that is another. An issuer never gives a number
// twice, so that whoever has made this one has the CA's key, or has bent the signature of the one on record.
func notAnotherOf(on store.Certificate, issuer int64, crt *x509.Certificate) error {
	if on.Serial == nil || on.CAID != issuer || bytes.Equal(on.DER, crt.Raw) {
		return nil
	}
	return fmt.Errorf("%w: another certificate with the serial number %#x of the same CA is on record: this one was not issued here", ErrInvalid, crt.SerialNumber)
}

// unrecordedUser is for a user whose certificate is not on record as it is.
func (a *Authority) unrecordedUser(ctx context.Context, user audit.Actor, crt *x509.Certificate) (_ audit.Actor, l store.Lineage, err error) {
	err = a.store.View(ctx, func(r store.Reader) error {
		if err := a.notRevoked(ctx, r, crt, ErrUnauthorized); err != nil {
			return err
		}
		if user, l, err = a.known(ctx, r, user); err != nil {
			return err
		}
		if l.Newest != nil {
			return nil
		}
		switch err := a.notOfEnded(ctx, r, crt); {
		case errors.Is(err, errEnded):
			return fmt.Errorf("%w: %w", ErrUnauthorized, err)
		case err != nil:
			return err
		}
		l.Role = store.RoleAdministrator
		return nil
	})
	return user, l, err
}

// voucherCache keeps the last voucher: signing one at every request would let anybody keep the
// CA key busy.
type voucherCache struct {
	making lock
	made   []byte
	signer int64               // CA.ID
	cas    []*x509.Certificate // vouched for
}

// VouchHTTPS returns a statement, signed by the active CA, that cas sign the daemon's own HTTPS
// certificate: what lets a client that trusts this authority know that it talks to its daemon.
func (a *Authority) VouchHTTPS(ctx context.Context, cas []*x509.Certificate) ([]byte, error) {
	// What was signed before is as good while keys are locked.
	st, err := a.forReading(ctx, a.clock.Now())
	if err != nil {
		return nil, err
	}
	v := &a.voucher
	if err := v.making.lock(ctx); err != nil {
		return nil, err
	}
	defer v.making.unlock()
	if v.made != nil && v.signer == st.signer.id && slices.EqualFunc(v.cas, cas, (*x509.Certificate).Equal) {
		return v.made, nil
	}
	if st.signer.key == nil {
		return nil, cmp.Or(a.locked(), ErrNoSigner)
	}
	made, err := a.cfg.Statements.ServerCA(st.signer.key, cas)
	if err != nil {
		return nil, err
	}
	v.made, v.signer, v.cas = made, st.signer.id, slices.Clone(cas)
	return made, nil
}

// IssueServer issues, by the HTTPS authority, a certificate for the daemon's own listener: for
// the one host that the authority may name, which is also all that identifies it. It
// returns the certificate and that of its CA.
func (a *Authority) IssueServer(ctx context.Context, pub crypto.PublicKey) (leaf, issuer *x509.Certificate, err error) {
	if a.row.Role != store.RoleDaemon {
		return nil, nil, fmt.Errorf("ca: authority %s does not issue server certificates", a.name)
	}
	extensions, err := profile.ServerExtensions(a.cfg.Host)
	if err != nil {
		return nil, nil, err
	}
	keyID, err := pki.KeyID(pub)
	if err != nil {
		return nil, nil, err
	}
	emptySubject := []byte{asn1.TagSequence | 0x20, 0}
	now := a.clock.Now()
	err = a.retryStale(ctx, func() error {
		st, err := a.current(ctx, now)
		if err != nil {
			return err
		}
		id, err := newID()
		if err != nil {
			return err
		}
		crt, err := a.issue(ctx, now, st, issuance{
			id:      id,
			request: &pki.Request{CSR: &x509.CertificateRequest{RawSubject: emptySubject, Extensions: extensions, PublicKey: pub}, KeyID: keyID},
			method:  store.Internal,
			profile: profile.DaemonServer(),
		})
		if err != nil {
			return err
		}
		issuer, leaf = st.signer.crt, crt.parsed
		return a.store.Update(ctx, func(tx store.Tx) error {
			return a.record(ctx, tx, now, st, audit.Actor{Kind: audit.Daemon}, audit.Sign, crt)
		})
	})
	return leaf, issuer, err
}

// serverName is the one name that the daemon has.
