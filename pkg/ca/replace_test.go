package ca

import (
	"crypto/x509"
	"errors"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

func request(t testing.TB, pem []byte) *pki.Request {
	t.Helper()
	req, err := pki.ParseRequest(pem)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A user's certificate moves to another key; all that have the old key are out.
func TestReplace(t *testing.T) {
	w := newWorld(t)
	users := w.open(config(store.Users))
	operator := audit.Actor{Kind: audit.Operator}
	old, key := w.enrol(users, "bob")
	// Renewed with the same key: two certificates that have it.
	data, err := wired(users).Renew(w.ctx, anonymous, renewalEnvelope(t, old, key, csrNamed(t, key, "bob")))
	if err != nil {
		t.Fatal(err)
	}
	twin := w.parse(data)
	other, _ := w.enrol(users, "carol")
	number := w.crl(users).Number.Int64()

	next := newKey(t)
	data, err = encode(users.Replace(w.ctx, operator, old, request(t, csrNamed(t, next, "somebody"))))
	if err != nil {
		t.Fatal(err)
	}
	crt := w.parse(data)
	if pki.SubjectString(crt.RawSubject) != pki.SubjectString(old.RawSubject) || len(crt.DNSNames) != 1 || crt.DNSNames[0] != "bob.example.org" || !pki.SameKey(crt.PublicKey, next.Public()) {
		t.Errorf("subject %v, names %v", crt.Subject, crt.DNSNames)
	}
	for _, c := range []struct {
		name string
		crt  *x509.Certificate
		want error
	}{{"old", old, ErrUnauthorized}, {"twin", twin, ErrUnauthorized}, {"new", crt, nil}, {"other", other, nil}} {
		if _, err := users.Authenticate(w.ctx, anonymous, c.crt); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	list := w.crl(users)
	if len(list.RevokedCertificateEntries) != 2 || list.Number.Int64() <= number || list.RevokedCertificateEntries[0].ReasonCode != superseded {
		t.Errorf("the list: %d entries, number %v after %d", len(list.RevokedCertificateEntries), list.Number, number)
	}
	if n := len(w.audit(audit.Filter{Action: audit.Revoke})); n != 2 {
		t.Errorf("%d revocations in the audit log", n)
	}
}

// What must not be moved, and to what: nothing changes then.
func TestReplaceRefuses(t *testing.T) {
	w := newWorld(t)
	users := w.open(config(store.Users))
	operator := audit.Actor{Kind: audit.Operator}
	old, key := w.enrol(users, "bob")
	_, taken := w.enrol(users, "carol")
	revoked, revokedKey := w.enrol(users, "dave")
	if err := wired(users).RevokeByHolder(w.ctx, anonymous, revocationEnvelope(t, revoked, revokedKey)); err != nil {
		t.Fatal(err)
	}
	entries := len(w.audit(audit.Filter{}))
	for name, c := range map[string]struct {
		old  *x509.Certificate
		csr  []byte
		want error
	}{
		"its own key":    {old, csrNamed(t, key, "bob"), ErrKeyKept},
		"another's key":  {old, csrNamed(t, taken, "bob"), ErrConflict},
		"revoked before": {revoked, csrNamed(t, newKey(t), "dave"), ErrInvalid},
		"a key once had": {old, csrNamed(t, revokedKey, "bob"), ErrConflict},
	} {
		if _, err := users.Replace(w.ctx, operator, c.old, request(t, c.csr)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if n := len(w.audit(audit.Filter{})); n != entries {
		t.Errorf("%d new entries in the audit log", n-entries)
	}
	if _, err := users.Authenticate(w.ctx, anonymous, old); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	// Expired, it can be: its holder has shown the key otherwise.
	w.clock.Advance(100 * day)
	if _, err := users.Replace(w.ctx, operator, old, request(t, csrNamed(t, newKey(t), "bob"))); err != nil {
		t.Errorf("expired: %v", err)
	}
	err := w.store.View(w.ctx, func(r store.Reader) error {
		rev, err := r.Revocation(w.ctx, store.Users, old.SerialNumber)
		if err == nil && !rev.KeepUntil.After(w.clock.Now()) {
			t.Errorf("revoked at %v and kept until %v", rev.RevokedAt, rev.KeepUntil)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// In a transaction of the caller's, everything happens with it or not at all.
func TestReplaceWithin(t *testing.T) {
	w := newWorld(t)
	old, _ := w.enrol(w.open(config(store.Users)), "bob")
	failure := errors.New("no")
	for _, fails := range []error{failure, nil} {
		var data []byte
		err := w.store.Update(w.ctx, func(tx store.Tx) error {
			users, err := Open(w.ctx, store.Within(tx), w.clock, config(store.Users).row, config(store.Users).Config)
			if err != nil {
				return err
			}
			if data, err = encode(users.Replace(w.ctx, audit.Actor{Kind: audit.Operator}, old, request(t, csrNamed(t, newKey(t), "bob")))); err != nil {
				return err
			}
			return fails
		})
		if !errors.Is(err, fails) {
			t.Fatal(err)
		}
		users := w.open(config(store.Users))
		_, oldErr := users.Authenticate(w.ctx, anonymous, old)
		if (oldErr == nil) != (fails != nil) {
			t.Errorf("outcome %v, the old certificate: %v", fails, oldErr)
		}
		if _, err := users.Authenticate(w.ctx, anonymous, w.parse(data)); err != nil {
			t.Errorf("outcome %v, the new one: %v", fails, err) // it verifies, recorded or not
		}
	}
}
