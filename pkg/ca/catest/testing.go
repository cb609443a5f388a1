package catest

import (
	"crypto"
	"crypto/x509"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// A Directory is where authorities are found by their names, such as a daemon.
type Directory interface {
	Authority(store.AuthorityName) (*ca.Authority, bool)
}

// Named returns the authority of this name; without one the test ends.
func Named(t testing.TB, d Directory, name store.AuthorityName) *ca.Authority {
	t.Helper()
	a, ok := d.Authority(name)
	if !ok {
		t.Fatalf("there is no authority %s", name)
	}
	return a
}

// FirstUser makes a user, by automatic approval or by an operator's, and returns the key.
func FirstUser(t testing.TB, users *ca.Authority) crypto.Signer {
	t.Helper()
	key := pkitest.Key(t)
	w := Wired(users)
	id, err := w.Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, pkitest.NamedRequest(t, key, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Certificate(t.Context(), id); err == nil {
		return key
	}
	if err := w.Sign(t.Context(), audit.Actor{Kind: audit.Operator}, id); err != nil {
		t.Fatal(err)
	}
	return key
}

// Issue has an authority sign a request, PEM, and returns the certificate and its id.
func Issue(t testing.TB, a *ca.Authority, csrPEM []byte) (*x509.Certificate, int64) {
	t.Helper()
	w := Wired(a)
	id, err := w.Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, csrPEM)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Sign(t.Context(), audit.Actor{Kind: audit.Operator}, id); err != nil {
		t.Fatal(err)
	}
	issued, err := a.Certificate(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return issued.Certificate, id
}
