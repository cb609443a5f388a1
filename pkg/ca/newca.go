package ca

import (
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

// An issuer signs a CA certificate: the generation that it is for or, where an authority has a
// parent, one of the parent's.
type issuer struct {
	crt *x509.Certificate // nil: the certificate is self-signed
	key crypto.Signer
}

// newGeneration makes a CA certificate for key, the successor of the newest of older.
func (a *Authority) newGeneration(now time.Time, key crypto.Signer, older *generations) (generation, error) {
	var predecessor *generation
	if n := len(older.list); n > 0 {
		predecessor = &older.list[n-1]
	}
	crt, err := a.certifyCA(now, key.Public(), predecessor, issuer{key: key})
	if err != nil {
		return generation{}, fmt.Errorf("CA certificate: %w", err)
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
	if predecessor != nil {
		if g.link, err = a.linkTo(*predecessor, g); err != nil {
			return generation{}, err
		}
	}
	return g, nil
}

// certifyCA has by sign a CA certificate of this authority for pub.
func (a *Authority) certifyCA(now time.Time, pub crypto.PublicKey, predecessor *generation, by issuer) (*x509.Certificate, error) {
	serial, err := pki.NewSerial()
	if err != nil {
		return nil, err
	}
	p := profile.CA{
		PublicKey:  pub,
		Serial:     serial,
		NotBefore:  now.Add(-a.cfg.Backdate),
		NotAfter:   now.Add(a.spans.CAValidity()),
		Constraint: a.constraint(),
	}
	if p.Subject, err = a.subject(); err != nil {
		return nil, err
	}
	if predecessor != nil {
		p.Predecessor = predecessor.crt
		// Spans, and with them the backdating, may have grown since it was made; age must show.
		p.NotBefore = later(p.NotBefore, predecessor.times.NotBefore)
	}
	template, err := p.Template()
	if err != nil {
		return nil, err
	}
	signer := by.crt
	if signer == nil {
		signer = template
	}
	crt, err := create(template, signer, pub, by.key)
	if err != nil {
		return nil, err
	}
	pki.AsCA(crt, crt.SubjectKeyId) // like its predecessor
	return crt, nil
}

// linkTo makes the statement by which a CA vouches for its successor. Once the key of an
// expired CA is erased it cannot vouch any more, and hosts must be anchored anew.
func (a *Authority) linkTo(old, next generation) ([]byte, error) {
	if old.key == nil {
		a.log.Error("the previous CA's key is erased: hosts cannot follow to the new CA by themselves",
			"old", hex.EncodeToString(old.crt.SubjectKeyId), "new", hex.EncodeToString(next.crt.SubjectKeyId))
		return nil, nil
	}
	return a.cfg.Statements.Succession(old.key, old.crt, next.crt)
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
	leaf := profile.Leaf{
		Subject: ca.RawSubject, PublicKey: holder.Public(), Serial: serial,
		NotBefore: now, NotAfter: now.Add(a.spans.Leaf), IssuerKey: ca.SubjectKeyId,
	}
	template, err := leaf.Template()
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
