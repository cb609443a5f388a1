package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// newGeneration makes a CA certificate for key, the successor of the newest of older.
func (a *Authority) newGeneration(ctx context.Context, now time.Time, key crypto.Signer, older *generations, by issuer) (generation, error) {
	draft, err := a.draftCA(ctx, now, key.Public(), older)
	if err != nil {
		return generation{}, err
	}
	crt, err := signCA(draft, by, a.base())
	if err != nil {
		return generation{}, fmt.Errorf("CA certificate: %w", err)
	}
	return a.adopt(now, crt, key, older)
}

// adopt makes a generation of a CA certificate and its key, after a proof that they work, and has
// the newest of older vouch for it.
func (a *Authority) adopt(now time.Time, crt *x509.Certificate, key crypto.Signer, older *generations) (generation, error) {
	if earliest := older.successorFrom(now); crt.NotBefore.Before(earliest) {
		return generation{}, fmt.Errorf("%w: it begins at %s, and the CA certificate before it is not older", ErrConflict, crt.NotBefore.Format(time.RFC3339))
	}
	if err := a.prove(now, crt, key); err != nil {
		return generation{}, fmt.Errorf("new CA key does not work: %w", err)
	}
	g := generation{
		state: store.CAUsable,
		times: rollover.Generation{CreatedAt: now, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter},
		crt:   crt,
		key:   key,
	}
	var err error
	if !selfSigned(crt) {
		if err := a.anchor(now, &g, older.last()); err != nil {
			return generation{}, fmt.Errorf("self-signed CA certificate: %w", err)
		}
	}
	if predecessor := older.last(); predecessor != nil {
		if g.link, err = a.linkTo(*predecessor, g); err != nil {
			return generation{}, err
		}
	}
	return g, nil
}

// anchor gives g, whose certificate a parent has signed, a self-signed one beside it, which vouches for it.
// A succession keeps its form: where CA certificates signed by a parent have followed each other, as was so
// before there were anchors, agents follow these, and would not find the chains that they store in self-signed ones.
func (a *Authority) anchor(now time.Time, g *generation, predecessor *generation) error {
	if predecessor != nil && !selfSigned(predecessor.trusted()) {
		return nil
	}
	var err error
	if g.anchor, err = NewAnchor(g.crt, g.key); err != nil {
		return err
	}
	if err := a.prove(now, g.anchor, g.key); err != nil {
		return err
	}
	g.parentLink, err = a.cfg.Statements.Succession(g.key, g.anchor, g.crt)
	return err
}

// NewAnchor returns a self-signed certificate for the name and key of crt, a CA certificate that a parent has signed.
func NewAnchor(crt *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := pki.NewSerial()
	if err != nil {
		return nil, err
	}
	template := profile.Anchor(crt, serial)
	return create(template, template, key.Public(), key)
}

// last is the newest generation, nil when there is none.
func (g *generations) last() *generation {
	if len(g.list) == 0 {
		return nil
	}
	return &g.list[len(g.list)-1]
}

// draftCA describes a CA certificate of this authority for pub that is to be used from now on.
func (a *Authority) draftCA(ctx context.Context, now time.Time, pub crypto.PublicKey, older *generations) (profile.CA, error) {
	permitted, err := profile.ParsePermitted(a.row.Permitted)
	if err != nil {
		return profile.CA{}, fmt.Errorf("%w: authority %s: %w", ErrDamaged, a.name, err)
	}
	draft := profile.CA{
		PublicKey:  pub,
		NotBefore:  now.Add(-a.cfg.Backdate),
		NotAfter:   now.Add(a.spans.CAValidity()),
		Constraint: a.constraint(),
		Root:       a.row.Role == store.RoleRoot,
		Permitted:  permitted,
	}
	// Spans, and with them the backdating, may have grown since those before it were made, or they were made just now.
	if draft.NotBefore = later(draft.NotBefore, older.successorFrom(now)); draft.NotBefore.After(now) {
		return profile.CA{}, fmt.Errorf("%w: the CA certificate before this one was made just now; another one can be at %s",
			ErrConflict, draft.NotBefore.UTC().Format(time.RFC3339))
	}
	predecessor := older.last()
	if predecessor != nil {
		draft.Predecessor = predecessor.crt
	}
	draft.Subject, err = a.nextSubject(ctx, now, draft.NotBefore, pub, predecessor)
	return draft, err
}

// base is the address at which verifiers find what authorities publish.
func (a *Authority) base() string { return "http://" + a.cfg.Netloc }

// linkTo makes the statement by which a CA vouches for its successor. Once the key of an
// expired CA is erased it cannot vouch any more, and hosts must be anchored anew.
func (a *Authority) linkTo(old, next generation) ([]byte, error) {
	if old.locked != nil {
		return nil, fmt.Errorf("the CA before it cannot vouch for it: %w", old.locked)
	}
	if old.key == nil {
		a.log.Error("the previous CA's key is erased: hosts cannot follow to the new CA by themselves",
			"old", hex.EncodeToString(old.crt.SubjectKeyId), "new", hex.EncodeToString(next.crt.SubjectKeyId))
		return nil, nil
	}
	return a.cfg.Statements.Succession(old.key, old.trusted(), next.trusted())
}

// prove signs and verifies a throw-away certificate.
func (a *Authority) prove(now time.Time, ca *x509.Certificate, key crypto.Signer) error {
	holder, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return err
	}
	serial, err := pki.NewSerial()
	if err != nil {
		return err
	}
	leaf := profile.Draft{
		Subject: ca.RawSubject, PublicKey: holder.Public(), Serial: serial,
		NotBefore: now, NotAfter: now.Add(a.spans.Leaf), IssuerKey: ca.SubjectKeyId,
	}
	template, err := profile.AsRequested().Template(leaf)
	if err != nil {
		return err
	}
	crt, err := create(template, ca, holder.Public(), key)
	if err != nil {
		return err
	}
	_, err = pki.VerifyIssued(crt, []*x509.Certificate{ca}, now)
	return err
}

// create signs template and parses the result, which proves that what goes out can be read.
func create(template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	alg, err := pki.SignatureAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = alg
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
