package ca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"sync"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// A request that is not any more what was submitted gets no certificate, although its signature is not verified again: not for
// another key, nor for another name.
func TestDamagedRequest(t *testing.T) {
	other := request(t, csrNamed(t, newKey(t), "other"))
	for name, damage := range map[string]func(*store.Request){
		"another request":            func(r *store.Request) { r.PEM = other.PEM },
		"another request, with key":  func(r *store.Request) { r.PEM, r.KeyID = other.PEM, other.KeyID },
		"another name in it":         func(r *store.Request) { r.PEM = swapped(t, r.PEM, "mine.example.org", "evil.example.org") },
		"another point in it":        func(r *store.Request) { r.PEM = graft(t, r.PEM, other) },
		"another digest":             func(r *store.Request) { r.Digest = other.Digest[:] },
		"no digest":                  func(r *store.Request) { r.Digest = []byte{1} },
		"another key beside it":      func(r *store.Request) { r.KeyID = other.KeyID },
		"the end of it is not there": func(r *store.Request) { r.PEM = r.PEM[:len(r.PEM)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.open(config(store.Services))
			id := w.submitted(a, csrNamed(t, newKey(t), "mine"), "").ID
			err := w.store.Update(w.ctx, func(tx store.Tx) error {
				row, err := tx.Request(w.ctx, a.name, id)
				if err != nil {
					return err
				}
				if err := tx.DeleteRequest(w.ctx, a.name, id); err != nil {
					return err
				}
				damage(&row)
				return tx.AddRequest(w.ctx, row)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := ErrDamaged
			if name == "the end of it is not there" {
				want = ErrInvalid
			}
			_, err = a.Approve(w.ctx, alice, id, Approval{})
			wantError(t, err, want)
			_, err = a.Certificate(w.ctx, id)
			wantError(t, err, ErrNotFound)
			if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
				t.Errorf("%d requests are pending, error %v", len(pending), err)
			}
			// It can be got rid of.
			if err := a.Reject(w.ctx, alice, id, nil, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// swapped is a request, PEM, with something else of the same length in it.
func swapped(t *testing.T, text []byte, old, new string) []byte {
	t.Helper()
	der := request(t, text).CSR.Raw
	if !bytes.Contains(der, []byte(old)) || len(old) != len(new) {
		t.Fatalf("%q is not there", old)
	}
	return pki.EncodeCSRPEM(bytes.ReplaceAll(der, []byte(old), []byte(new)))
}

// graft is a request, PEM, with the key of another, whose holder has not signed it.
func graft(t *testing.T, text []byte, other *pki.Request) []byte {
	t.Helper()
	csr := request(t, text).CSR
	return pki.EncodeCSRPEM(bytes.Replace(csr.Raw, csr.RawSubjectPublicKeyInfo, other.CSR.RawSubjectPublicKeyInfo, 1))
}

// Requests that wait are counted seldom, and never exceed what may wait: however many daemons take them, and whoever decides meanwhile.
func TestRoomWithoutCounting(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.MaxPending, cfg.PendingShare = 9, 7
	daemons := []*Authority{w.open(cfg), w.open(cfg), w.open(cfg)}
	waiting := func() []store.Request {
		t.Helper()
		pending, err := daemons[0].Pending(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return pending
	}
	submit := func(from audit.Actor, n int) (accepted int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range n {
			text := csrNamed(t, newKey(t), fmt.Sprint("host", i))
			all.Go(func() {
				if _, err := wired(daemons[i%len(daemons)]).Submit(w.ctx, from, text); err == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return accepted
	}
	for round := range 4 {
		if n := submit(stranger("192.0.2.1"), 12); n != 7 {
			t.Fatalf("round %d: %d of one address were accepted, and not 7", round, n)
		}
		if n := submit(audit.Actor{Kind: audit.Operator}, 6); n != 2 {
			t.Fatalf("round %d: %d more were accepted, and not 2", round, n)
		}
		if n := len(waiting()); n != 9 {
			t.Fatalf("round %d: %d wait, and not 9", round, n)
		}
		for i, r := range waiting() {
			if i%2 == 0 {
				if _, err := daemons[round%2].Approve(w.ctx, alice, r.ID, Approval{}); err != nil {
					t.Fatal(err)
				}
			} else if err := daemons[2].Reject(w.ctx, alice, r.ID, nil, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Requests are approved automatically again once more of them are to be, although nobody looks beforehand any more.
func TestMoreAutomaticApprovals(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	submit := func(cn string) (approved bool) {
		t.Helper()
		req := request(t, csrNamed(t, newKey(t), cn))
		done, err := a.Submit(w.ctx, anonymous, req, Asked{})
		if err != nil {
			t.Fatal(err)
		}
		return done.Issued != nil
	}
	if submit("one") || submit("two") {
		t.Fatal("approved without a user")
	}
	row := a.row
	row.AutoApprove = 3
	err := w.store.Update(w.ctx, func(tx store.Tx) error { return LockAutoApproval(w.ctx, tx, w.clock.Now(), row) })
	if err != nil {
		t.Fatal(err)
	}
	if !submit("three") {
		t.Error("the third of three has to wait")
	}
	if submit("four") || submit("five") {
		t.Error("the fourth of three is approved")
	}
}

// A certificate that is on record is not verified when it is shown, and one that is another than that on record is: whoever makes one up
// with the serial number of a user is none.
func TestAuthenticateByRecord(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	users := w.open(cfg)
	crt, _ := w.enrol(users, "alice")
	if user, err := users.Authenticate(w.ctx, anonymous, crt); err != nil || user.Role != store.RoleAdministrator || user.Lineage == "" {
		t.Fatalf("%+v, %v", user, err)
	}
	forged := *crt
	forged.Raw = bytes.Clone(crt.Raw)
	forged.Raw[len(forged.Raw)-1] ^= 1
	forged.Signature = bytes.Clone(crt.Signature)
	forged.Signature[len(forged.Signature)-1] ^= 1
	_, err := users.Authenticate(w.ctx, anonymous, &forged)
	wantError(t, err, ErrUnauthorized)
	w.clock.Advance(94 * day)
	_, err = users.Authenticate(w.ctx, anonymous, crt)
	wantError(t, err, ErrUnauthorized)
}

// Whoever has a CA's key can make a certificate with the serial number of a good one, and its own key in it. A CA gives no number twice: that
// one is no user's and no holder's, and takes no lineage over.
func TestAnotherCertificateOfTheSameNumber(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.AuthorityName{store.Users, store.Services} {
		a := w.open(config(name))
		crt, key := w.enrol(a, "alice")
		g := a.cas.Load().list[0]
		stolen := newKey(t)
		forged := pkitest.CA{Crt: g.crt, Key: g.key}.Issue(t, "mallory", stolen.Public(), func(c *x509.Certificate) {
			c.SerialNumber, c.NotBefore, c.NotAfter = crt.SerialNumber, crt.NotBefore, crt.NotAfter
		})
		wantError(t, w.tryRenew(a, forged, stolen), ErrInvalid)
		if name == store.Users {
			_, err := a.Authenticate(w.ctx, anonymous, forged)
			wantError(t, err, ErrUnauthorized)
			w.user(a, crt)
		}
		w.successor(a, crt, key)
	}
}
