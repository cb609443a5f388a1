package manage

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

type rng struct{}

func (rng) Read(p []byte) (int, error) { return rand.Read(p) }

func sec1(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	return must[[]byte](t)(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))
}

// A drill shows everything, and changes nothing but its own database.
func TestDrill(t *testing.T) {
	s := newSite(t)
	path := s.backup()
	before := rowsOf(t, s.store)
	told := 0
	drilled, err := Drill(t.Context(), newStore(t), s.clock, sealedFile(path, s.key), nil, func(Proof) { told++ })
	if err != nil || told != 4 || len(drilled.Proofs) != 4 || drilled.Errors != 0 || drilled.Warnings != 0 || drilled.User != "CN=alice" {
		t.Errorf("%+v %v", drilled, err)
	}
	if after := rowsOf(t, s.store); len(after) != len(before) {
		t.Error("the database has changed")
	}
	// Years later, too.
	for _, later := range []int{100, 300, 1000} {
		s.clock.Set(start.AddDate(0, 0, later))
		if _, err := Drill(t.Context(), newStore(t), s.clock, sealedFile(path, s.key), nil, func(Proof) {}); err != nil {
			t.Errorf("after %d days: %v", later, err)
		}
	}
	if _, err := Drill(t.Context(), s.store, s.clock, sealedFile(path, s.key), nil, func(Proof) {}); !errors.Is(err, store.ErrExists) {
		t.Errorf("in a database in use: %v", err)
	}
}

// A CA that has lived through everything can be backed up, drilled and restored.
func TestDrillLived(t *testing.T) {
	st := newStore(t)
	now := live(t, st)
	rows := rowsOf(t, st)
	s := newSite(t)
	s.store = st
	s.clock.Set(now)
	s.users = openAuthority(t, st, s.clock, store.Users)
	key, _ := s.enrol(s.users, "alice")
	path := s.backup()
	if len(rows) < 100 {
		t.Fatalf("%d rows", len(rows))
	}
	if drilled, err := Drill(t.Context(), newStore(t), s.clock, sealedFile(path, key), nil, func(Proof) {}); err != nil {
		t.Errorf("%+v %v", drilled.Findings, err)
	}
	if _, err := Restore(t.Context(), newStore(t), s.clock, Restoration{Backup: sealedFile(path, key), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("x.example"))}); err != nil {
		t.Error(err)
	}
}

// What can be restored but is not right is found, and told apart.
func TestDrillFindsErrors(t *testing.T) {
	s := newSite(t)
	var rows []store.Row
	for _, row := range rowsOf(t, s.store) {
		if c, ok := row.(store.Certificate); ok && c.Authority == store.Users {
			c.Subject = "CN=mallory"
			row = c
		}
		rows = append(rows, row)
	}
	drilled, err := Drill(t.Context(), newStore(t), s.clock, sealRows(t, s.key, rows), nil, func(Proof) {})
	if !errors.Is(err, ErrDrillFindings) || drilled.Errors == 0 || len(drilled.Findings) == 0 || len(drilled.Proofs) != 1 {
		t.Errorf("%+v %v", drilled, err)
	}
}

// A forgetful store holds less than what was put into it.
type forgetful struct{ store.Store }

func (f forgetful) View(ctx context.Context, fn func(store.Reader) error) error {
	return f.Store.View(ctx, func(r store.Reader) error { return fn(forgetfulReader{r}) })
}

type forgetfulReader struct{ store.Reader }

func (f forgetfulReader) Rows(ctx context.Context, fn func(store.Row) error) error {
	return f.Reader.Rows(ctx, func(row store.Row) error {
		if _, ok := row.(store.Certificate); ok {
			return nil
		}
		return fn(row)
	})
}

// What a database gives away is compared with the backup.
func TestDrillCompares(t *testing.T) {
	s := newSite(t)
	drilled, err := Drill(t.Context(), forgetful{newStore(t)}, s.clock, sealedFile(s.backup(), s.key), nil, func(Proof) {})
	if err == nil || !strings.Contains(err.Error(), "holds something else than the backup") || len(drilled.Proofs) != 0 {
		t.Errorf("%+v %v", drilled, err)
	}
}
