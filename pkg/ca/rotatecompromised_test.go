package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// TestRotateCompromised is the story of a stolen key: what is on record can be exchanged, and a thief gets nothing.
func TestRotateCompromised(t *testing.T) {
	w := newWorld(t)
	a, other := w.open(config(store.Services)), w.open(config(store.Services))
	crt, key := w.enrol(a, "web")
	w.clock.Advance(time.Hour)
	thief := a.cas.Load().newest()
	forgedKey := newKey(t)
	forged := w.forge(thief, crt, forgedKey, 1)
	posing := w.forge(thief, crt, forgedKey, 0) // as one that is on record
	if h, err := w.holderOf(a, forged, forgedKey); err != nil {
		t.Fatalf("before, it would be taken for one of before a restored backup: %v", err)
	} else if h.on != nil {
		t.Fatal("it is on record")
	}

	id := w.rotate(a, Rotation{Begin: store.AtOnce, Compromised: true})
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active}) {
		t.Errorf("%v", got)
	}
	for name, one := range map[string]*Authority{"the one told": a, "another": other} {
		for what, crt := range map[string]*x509.Certificate{"one that is not on record": forged, "one in place of one on record": posing} {
			if _, err := w.holderOf(one, crt, forgedKey); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: a forged certificate is accepted, %s: %v", name, what, err)
			}
		}
		if err := one.reload(w.ctx); err != nil { // as it does every second
			t.Fatal(err)
		}
		cas, err := one.CACertificates(w.ctx)
		if err != nil || len(cas) != 1 || !bytes.Equal(cas[0].SubjectKeyId, id) {
			t.Errorf("%s serves %d CA certificates: %v", name, len(cas), err)
		}
		lists, err := one.CRLs(w.ctx)
		if err != nil || len(lists) != 1 || !bytes.Equal(lists[0].KeyID, id) {
			t.Errorf("%s: %d lists: %v", name, len(lists), err)
		}
		links, err := one.Succession(w.ctx)
		if err != nil || len(links) != 1 {
			t.Errorf("%s: %d links, by which those who trust the old one follow: %v", name, len(links), err)
		}
		w.checkWithdrawals(one, thief.crt)
	}
	// The key is gone.
	w.eachCA(store.Services, func(row store.CA) {
		if row.ID == thief.id && (row.State != store.CACompromised || row.Key.Ref != nil) {
			t.Errorf("%s, with a key of %d bytes", row.State, len(row.Key.Ref))
		}
	})
	// The holder exchanges what is on record, whoever has signed it.
	h, err := w.holderOf(other, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := other.Renew(w.ctx, h, w.request(newKey(t), "web"))
	if err != nil || !bytes.Equal(issued.Certificate.AuthorityKeyId, id) {
		t.Fatalf("%v", err)
	}
	// Others, who have only seen it, do not.
	if _, err := w.holderOf(other, crt, forgedKey); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("who has not the key: %v", err)
	}
	// It ends.
	w.clock.Advance(93 * day)
	if _, err := w.holderOf(other, crt, key); !errors.Is(err, ErrInvalid) {
		t.Errorf("an expired one: %v", err)
	}
	if e := w.lastEntry(audit.WithdrawCA); e.Object.ID != hex.EncodeToString(thief.crt.SubjectKeyId) || e.Actor.Kind != audit.Operator {
		t.Errorf("%+v", e)
	}
}

// forge makes what a thief of a CA's key can: a certificate like one that is on record, for another key.
func (w *world) forge(by generation, like *x509.Certificate, key crypto.Signer, serial int64) *x509.Certificate {
	w.t.Helper()
	template := *like
	template.SerialNumber = new(big.Int).Add(like.SerialNumber, big.NewInt(serial))
	template.SubjectKeyId = nil
	crt, err := create(&template, by.crt, key.Public(), by.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return crt
}

func (w *world) checkWithdrawals(a *Authority, of *x509.Certificate) {
	w.t.Helper()
	statements, err := a.Withdrawals(w.ctx)
	if err != nil || len(statements) != 1 {
		w.t.Errorf("%d statements: %v", len(statements), err)
		return
	}
	e, err := envelope.Parse(statements[0])
	if err == nil {
		err = e.Verify(a.cas.Load().newest().crt.PublicKey)
	}
	if err != nil {
		w.t.Errorf("%v", err)
		return
	}
	said, err := envelope.DecodeWithdrawal(e.Payload())
	if err != nil || said.WithdrawnPEM != string(pki.EncodeCertificatePEM(of.Raw)) {
		w.t.Errorf("%v: %s", err, said.WithdrawnPEM)
	}
}

func (w *world) eachCA(name store.AuthorityName, do func(store.CA)) {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r store.Reader) error {
		rows, err := r.CAs(w.ctx, name)
		for _, row := range rows {
			do(row)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestRotateCompromisedUser: a user whose CA was withdrawn has to renew the certificate first; a forged one is nobody.
func TestRotateCompromisedUser(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Users))
	crt, key := w.enrol(a, "alice")
	thief := a.cas.Load().newest()
	w.clock.Advance(time.Hour)
	w.rotate(a, Rotation{Begin: store.AtOnce, Compromised: true})
	if _, err := a.Authenticate(w.ctx, anonymous, w.forge(thief, crt, newKey(t), 0)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("forged: %v", err)
	}
	if _, err := a.Authenticate(w.ctx, anonymous, crt); !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "renew") {
		t.Errorf("not renewed: %v", err)
	}
	h, err := w.holderOf(a, crt, key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.Renew(w.ctx, h, w.request(newKey(t), "alice"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := a.Authenticate(w.ctx, anonymous, issued.Certificate)
	if err != nil || user.Role != store.RoleAdministrator {
		t.Errorf("%+v, %v", user, err)
	}
}

// TestRotateCompromisedWhenAdopted: nothing is withdrawn before hosts have what comes after it. One that is passive and may have been stolen, too, is
// withdrawn with it.
func TestRotateCompromisedWhenAdopted(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.clock.Advance(2*93*day + time.Second)
	w.maintain(a)
	crt, key := w.enrol(a, "web")
	id := w.rotate(a, Rotation{Begin: store.WhenAdopted, Compromised: true})
	w.maintain(a)
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active, rollover.Passive, rollover.Passive}) {
		t.Errorf("%v", got)
	}
	if statements, err := a.Withdrawals(w.ctx); err != nil || len(statements) != 0 {
		t.Errorf("%d statements: %v", len(statements), err)
	}
	if _, err := a.Rotate(w.ctx, operator, Rotation{}); !errors.Is(err, ErrConflict) {
		t.Errorf("another one would have it forgotten: %v", err)
	}
	number := a.crlNumber(t)
	if err := w.confirm(a, crt, key, id); err != nil {
		t.Fatal(err)
	}
	w.maintain(a)
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active}) {
		t.Errorf("%v", got)
	}
	if now := a.crlNumber(t); now <= number {
		t.Errorf("list %d after %d: nobody hears of it", now, number)
	}
	statements, err := a.Withdrawals(w.ctx)
	if err != nil || len(statements) != 2 {
		t.Errorf("%d statements: %v", len(statements), err)
	}
	links, err := a.Succession(w.ctx)
	if err != nil || len(links) != 2 {
		t.Errorf("%d links: %v", len(links), err)
	}
}

func (a *Authority) crlNumber(t *testing.T) int64 {
	t.Helper()
	lists, err := a.CRLs(t.Context())
	if err != nil || len(lists) == 0 {
		t.Fatalf("%d lists: %v", len(lists), err)
	}
	return lists[0].Number
}

// TestRotateBelowARoot: the root lists what was withdrawn, and certifies what follows.
func TestRotateBelowARoot(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	before := w.issue(lab, "before")
	old := lab.cas.Load().newest()
	w.clock.Advance(time.Hour)
	w.rotate(lab, Rotation{Begin: store.AtOnce, Compromised: true})
	after := w.issue(lab, "after")
	if err := w.verify(after, w.roots(root)); err != nil {
		t.Errorf("%v", err)
	}
	if bytes.Equal(before.Certificate.AuthorityKeyId, after.Certificate.AuthorityKeyId) {
		t.Error("by the one that was withdrawn")
	}
	if !w.listedBy(root, old.crt.SerialNumber) {
		t.Error("the root does not list it")
	}
	w.checkWithdrawals(lab, old.anchor)
	w.maintainAll(f)

	// The root itself, and what is below it then.
	w.rotate(root, Rotation{Begin: store.AtOnce})
	w.rotate(lab, Rotation{Begin: store.AtOnce})
	if err := w.verify(w.issue(lab, "last"), w.roots(root)[1:]); err != nil {
		t.Errorf("below the new root: %v", err)
	}
}

func (w *world) listedBy(a *Authority, serial *big.Int) bool {
	w.t.Helper()
	lists, err := a.CRLs(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lists {
		crl, err := x509.ParseRevocationList(bytes.Join(l.Octets, nil))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range crl.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(serial) == 0 {
				return true
			}
		}
	}
	return false
}

// TestRotateBelowAnOfflineRoot: what the root has to sign is ready at once, and once that was carried there and back it is used, though it
// is out of turn.
func TestRotateBelowAnOfflineRoot(t *testing.T) {
	c := newCeremony(t)
	w := c.online
	for _, crt := range c.sign(t, c.request(t, 1), asAsked) {
		if err := c.lab.InstallSignoff(w.ctx, operator, crt); err != nil {
			t.Fatal(err)
		}
	}
	w.maintain(c.lab)
	w.clock.Advance(10 * day)
	old := c.lab.cas.Load().newest()
	how := Rotation{Begin: store.AtOnce, Compromised: true}
	for range 2 { // who asks again gets the same request
		if _, err := c.lab.Rotate(w.ctx, operator, how); !errors.Is(err, ErrSignoff) {
			t.Fatalf("%v", err)
		}
	}
	if got := w.phases(c.lab); !equal(got, []rollover.Phase{rollover.Active}) {
		t.Errorf("nothing is withdrawn before there is another: %v", got)
	}
	asked := c.request(t, 1)
	if rows, err := c.lab.signoffs(w.ctx); err != nil || len(rows) != 1 || asked[0].NotBefore.After(w.clock.Now()) {
		t.Errorf("%d sign-offs: %v", len(rows), err)
	}
	w.clock.Advance(day) // for the way
	for _, crt := range c.sign(t, asked, asAsked) {
		if err := c.lab.InstallSignoff(w.ctx, operator, crt); err != nil {
			t.Fatal(err)
		}
	}
	w.maintain(c.lab)
	if got := len(c.lab.cas.Load().list); got != 1 {
		t.Errorf("%d generations before it is asked for again", got)
	}
	w.rotate(c.lab, how)
	issued := w.issue(c.lab, "web")
	if bytes.Equal(issued.Certificate.AuthorityKeyId, old.crt.SubjectKeyId) {
		t.Error("by the one that was withdrawn")
	}
	if err := w.verify(issued, w.roots(c.root)); err != nil {
		t.Errorf("%v", err)
	}
	w.checkWithdrawals(c.lab, old.anchor)
	if c.family["home-root"].external() != true {
		t.Error("the root is here")
	}
	if _, err := c.family["home-root"].Rotate(w.ctx, operator, Rotation{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "kept elsewhere") {
		t.Errorf("the root itself: %v", err)
	}
}
