package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A ceremony is an offline root with its own store, and the store of a daemon that knows its
// certificates only.
type ceremony struct {
	offline, online *world
	root            *Authority // with its keys
	family          family     // of the daemon
	lab             *Authority
}

func newCeremony(t *testing.T) *ceremony {
	t.Helper()
	c := &ceremony{offline: newWorld(t), online: newWorld(t), family: family{}}
	c.online.clock = c.offline.clock // they meet in one room
	c.root = c.offline.join(family{}, rootSetup(t))
	twin := rootSetup(t)
	c.online.put(twin.row)
	c.bring(t)
	c.family["home-root"] = c.online.open(twin)
	lab := below(c.family, "lab")
	lab.Custody = &lockedCustody{} // which notices when a key is used for something else than it was made for
	c.lab = c.online.join(c.family, lab)
	return c
}

// bring has the daemon's store know the root's newest certificate, and its list.
func (c *ceremony) bring(t *testing.T) {
	t.Helper()
	crts, err := c.root.CACertificates(c.offline.ctx)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := c.root.CRLs(c.offline.ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = c.online.store.Update(c.online.ctx, func(tx store.Tx) error {
		known, err := tx.CAs(c.online.ctx, c.root.name)
		if err != nil {
			return err
		}
		for i, crt := range crts {
			if i >= len(known) {
				if _, err := tx.AddCA(c.online.ctx, store.CA{
					Authority: c.root.name, CreatedAt: crt.NotBefore, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
					KeyID: crt.SubjectKeyId, Certificate: crt.Raw, State: store.CAExternal,
				}); err != nil {
					return err
				}
				if _, err := tx.AddCounter(c.online.ctx, c.root.name, store.CounterCA, 1); err != nil {
					return err
				}
			}
			if _, err := BringList(c.online.ctx, tx, c.root.name, crt, lists[i].DER()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sign has the root certify what is asked for.
func (c *ceremony) sign(t *testing.T, asked []store.Signoff, change func(*profile.CA)) []*x509.Certificate {
	t.Helper()
	var crts []*x509.Certificate
	for _, one := range asked {
		csr, err := pki.ParseRequest(pki.EncodeCSRPEM(one.Request))
		if err != nil {
			t.Fatal(err)
		}
		draft := profile.CA{Subject: csr.CSR.RawSubject, PublicKey: csr.CSR.PublicKey, NotBefore: one.NotBefore, NotAfter: one.NotAfter}
		change(&draft)
		crt, err := c.root.CertifyCA(c.offline.ctx, operator, csr, draft, "http://ca.example.org:8009")
		if err != nil {
			t.Fatal(err)
		}
		crts = append(crts, crt)
	}
	return crts
}

func asAsked(*profile.CA) {}

func (c *ceremony) request(t *testing.T, count int) []store.Signoff {
	t.Helper()
	asked, err := c.lab.RequestSignoffs(c.online.ctx, operator, count)
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

// TestSignoff: an authority below an offline root waits for its first CA certificate, then has three
// in stock, uses them one after the other, and asks for the next half a span before it needs it.
func TestSignoff(t *testing.T) {
	c := newCeremony(t)
	w := c.online
	if _, err := c.lab.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "host")), Asked{}); !errors.Is(err, ErrSignoff) {
		t.Fatalf("before there is a CA certificate: %v", err)
	}
	w.maintainAll(c.family)
	if awaited, waiting, err := c.lab.Awaited(w.ctx); !waiting || err != nil || awaited.Parent != "home-root" {
		t.Fatalf("%+v %v %v", awaited, waiting, err)
	}
	asked := c.request(t, 3)
	if again := c.request(t, 3); !bytes.Equal(again[2].Request, asked[2].Request) {
		t.Error("asked again, it asks for something else")
	}
	crts := c.sign(t, asked, asAsked)
	for _, crt := range crts {
		if err := c.lab.InstallSignoff(w.ctx, operator, crt); err != nil {
			t.Fatal(err)
		}
		if err := c.lab.InstallSignoff(w.ctx, operator, crt); !errors.Is(err, ErrConflict) {
			t.Errorf("a second time: %v", err)
		}
	}
	roots := w.roots(c.lab)
	seen := map[string]bool{}
	for !c.waiting(t) {
		issued := w.issue(c.lab, "host")
		seen[string(issued.Chain[0].Raw)] = true
		if err := w.verify(issued, roots); err != nil {
			t.Fatalf("%s: %v", w.clock.Now(), err)
		}
		w.clock.Advance(10 * day)
		w.maintainAll(c.family)
	}
	// All three are in use before it asks again; two spans and a half are left of the last then.
	if len(seen) < 2 || crts[2].NotAfter.Sub(w.clock.Now()) < 2*93*day {
		t.Errorf("%d generations have signed; the last ends at %s, it is %s", len(seen), crts[2].NotAfter, w.clock.Now())
	}
	// Without an answer the last one goes on to its end.
	for w.clock.Now().Before(crts[2].NotAfter.Add(-day)) {
		w.clock.Advance(day * 9 / 10)
		w.maintainAll(c.family)
	}
	if err := w.verify(w.issue(c.lab, "late"), roots); err != nil {
		t.Errorf("on the last day: %v", err)
	}
	w.clock.Advance(3 * day)
	if err := c.lab.Maintain(w.ctx); err != nil && !errors.Is(err, ErrSignoff) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := c.lab.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "too-late")), Asked{}); !errors.Is(err, ErrSignoff) {
		t.Errorf("after the end: %v", err)
	}
	// An answer is welcome whenever it comes.
	for _, crt := range c.sign(t, c.request(t, 1), asAsked) {
		if err := c.lab.InstallSignoff(w.ctx, operator, crt); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.verify(w.issue(c.lab, "again"), roots); err != nil {
		t.Error(err)
	}
}

func (c *ceremony) waiting(t *testing.T) bool {
	t.Helper()
	_, waiting, err := c.lab.Awaited(c.online.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return waiting
}

func TestSignoffsThatAreRefused(t *testing.T) {
	c := newCeremony(t)
	w := c.online
	stranger := newCeremony(t)
	for name, test := range map[string]struct {
		by     *ceremony
		change func(*profile.CA)
		want   error
	}{
		"another subject":        {c, func(d *profile.CA) { d.Subject = mustSubject(t, "CN=Else") }, ErrInvalid},
		"that may certify CAs":   {c, func(d *profile.CA) { d.Root = true }, ErrInvalid},
		"other permitted names":  {c, func(d *profile.CA) { d.Permitted.DNS = []string{"example.com"} }, ErrInvalid},
		"by a root nobody knows": {stranger, asAsked, ErrInvalid},
	} {
		crts := test.by.sign(t, c.request(t, 1), test.change)
		if err := c.lab.InstallSignoff(w.ctx, operator, crts[0]); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		// The root remembers the key of each; the next one is asked for with another.
		row := c.request(t, 1)[0]
		if err := c.lab.dropSignoff(w.ctx, w.clock.Now(), row, "test"); err != nil {
			t.Fatal(err)
		}
	}
	key := newKey(t)
	subject, err := c.lab.subject()
	if err != nil {
		t.Fatal(err)
	}
	csr := csrFor(t, key, x509.CertificateRequest{RawSubject: subject})
	parsed, err := pki.ParseRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	crts := c.sign(t, []store.Signoff{{Request: parsed.CSR.Raw, NotBefore: epoch, NotAfter: epoch.Add(100 * day)}}, asAsked)
	if err := c.lab.InstallSignoff(w.ctx, operator, crts[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("for a key that was not asked for: %v", err)
	}
	if _, err := c.lab.RequestSignoffs(w.ctx, operator, MaxSignoffs+1); !errors.Is(err, ErrInvalid) {
		t.Errorf("too many: %v", err)
	}
	if _, err := c.root.RequestSignoffs(w.ctx, operator, 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("a root: %v", err)
	}
}

func mustSubject(t *testing.T, text string) []byte {
	t.Helper()
	der, err := pki.ParseSubject(text)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestExternalRoot: a daemon serves what was imported of a root, and makes nothing for it.
func TestExternalRoot(t *testing.T) {
	c := newCeremony(t)
	twin := c.family["home-root"]
	ours, err := twin.CACertificates(c.online.ctx)
	theirs, err2 := c.root.CACertificates(c.offline.ctx)
	if err := errors.Join(err, err2); err != nil || len(ours) != 1 || !ours[0].Equal(theirs[0]) {
		t.Fatalf("%v %v %v", ours, theirs, err)
	}
	lists, err := twin.CRLs(c.online.ctx)
	original, err2 := c.root.CRLs(c.offline.ctx)
	if err := errors.Join(err, err2); err != nil || len(lists) != 1 || !bytes.Equal(lists[0].DER(), original[0].DER()) {
		t.Fatalf("%v %v", lists, err)
	}
	csr := request(t, csrNamed(t, newKey(t), "CA"))
	if _, err := twin.CertifyCA(c.online.ctx, operator, csr, profile.CA{Subject: csr.CSR.RawSubject, PublicKey: csr.CSR.PublicKey, NotBefore: epoch, NotAfter: epoch.Add(day)}, ""); !errors.Is(err, ErrNoSigner) {
		t.Errorf("it certifies: %v", err)
	}
	if timeline, err := twin.Timeline(c.online.ctx); err != nil || len(timeline.Generations) != 1 || timeline.CRLNumber != original[0].Number {
		t.Errorf("%+v %v", timeline, err)
	}
	// A list that is older, or of somebody else, changes nothing.
	other := newCeremony(t)
	foreign, err := other.root.CRLs(other.offline.ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = c.online.store.Update(c.online.ctx, func(tx store.Tx) error {
		if _, err := BringList(c.online.ctx, tx, twin.name, theirs[0], foreign[0].DER()); !errors.Is(err, ErrInvalid) {
			t.Errorf("a list of another root: %v", err)
		}
		newer, err := BringList(c.online.ctx, tx, twin.name, theirs[0], original[0].DER())
		if newer {
			t.Error("the same list is newer")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
