package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/lint"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A linterFunc is a Linter that does not look at what it is given.
type linterFunc func() error

func (f linterFunc) Check(_, _ *x509.Certificate, _ crypto.PublicKey) error { return f() }

// abroad is a request for a country that there is not.
func abroad(t testing.TB, cn string) []byte {
	t.Helper()
	return csrFor(t, newKey(t), x509.CertificateRequest{Subject: pkix.Name{Country: []string{"DEU"}, CommonName: cn}})
}

func TestFindingsRefuseApprovals(t *testing.T) {
	w := newWorld(t)
	var observed []string
	cfg := config(store.Services)
	cfg.Observe = func(_ store.AuthorityName, action audit.Action, err error) {
		observed = append(observed, fmt.Sprint(action, " ", err == nil))
	}
	a := w.open(cfg)
	observed = nil
	made := w.submitted(a, abroad(t, "host"), "")
	_, err := a.Approve(w.ctx, alice, made.ID, Approval{})
	wantError(t, err, ErrInvalid)
	for _, part := range []string{"[country, RFC 5280: A.1]", `"DEU"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
	log := w.audited(audit.Sign)
	if len(log) != 1 || log[0].Result != audit.Refused || !strings.Contains(log[0].Detail, "[country, ") || log[0].Actor.Kind != audit.User ||
		log[0].Object != audit.RequestObject(made.ID) {
		t.Errorf("audit log: %+v", log)
	}
	if want := []string{"csr.submit true", "crt.sign false"}; !slices.Equal(observed, want) {
		t.Errorf("observed %v, want %v", observed, want)
	}
	// It waits, and can be signed with what is not broken.
	template := request(t, csrNamed(t, newKey(t), "host"))
	issued, err := a.Approve(w.ctx, alice, made.ID, Approval{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	if got := issued.Certificate.Subject.String(); got != "CN=host" {
		t.Errorf("signed %s", got)
	}
}

// Strangers are told what is wrong, do not use up the first user's approval, and cannot fill the audit log.
func TestFindingsRefuseAutomaticApprovals(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.row.AutoApprove = 2
	a := w.open(cfg)
	for i := range 5 {
		_, err := w.submit(a, abroad(t, fmt.Sprint("user", i)), "")
		if wantError(t, err, ErrInvalid); err == nil || !strings.Contains(err.Error(), "[country, ") {
			t.Errorf("refused as %v", err)
		}
	}
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 0 || w.counter(a, store.CounterReceivedCSR) != 0 {
		t.Errorf("%d pending, %v; %d received", len(pending), err, w.counter(a, store.CounterReceivedCSR))
	}
	log := w.audited(audit.Submit, audit.Sign)
	if len(log) != 2 {
		t.Fatalf("%d entries in the audit log: %+v", len(log), log)
	}
	for _, e := range log {
		if e.Action != audit.Sign || e.Result != audit.Refused || e.Actor.Kind != audit.Daemon || e.Actor.RequestID != anonymous.RequestID ||
			!strings.Contains(e.Detail, "CN=user") || !strings.Contains(e.Detail, "[country, ") {
			t.Errorf("audit entry %+v", e)
		}
	}
	for i := range 2 {
		if made := w.submitted(a, csrNamed(t, newKey(t), fmt.Sprint("good", i)), ""); made.Issued == nil {
			t.Error("not approved automatically")
		}
	}
	// From here on users see it first.
	if _, err := w.submit(a, abroad(t, "late"), ""); err != nil {
		t.Errorf("a request that waits: %v", err)
	}
}

// Renewals are not linted: what was approved once goes on.
func TestRenewalsAreNotLinted(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int32
	var found error
	cfg := config(store.Services)
	cfg.Linter = linterFunc(func() error { calls.Add(1); return found })
	a := w.open(cfg)
	crt, key := w.enrol(a, "host")
	if calls.Load() != 1 {
		t.Errorf("looked at %d times before an approval", calls.Load())
	}
	found = &lint.Error{Findings: []lint.Finding{{Lint: "e_new_rule"}}}
	crt, _ = w.renewed(a, crt, key)
	if _, err := a.Replace(w.ctx, alice, crt, request(t, csrNamed(t, newKey(t), "x"))); err != nil {
		t.Error(err)
	}
	if calls.Load() != 1 {
		t.Errorf("looked at %d times", calls.Load())
	}
	made := w.submitted(a, csrNamed(t, newKey(t), "other"), "")
	_, err := a.Approve(w.ctx, alice, made.ID, Approval{})
	wantError(t, err, ErrInvalid)
	// A linter that cannot look has found nothing, and approved nothing either.
	found = errTest
	if _, err := a.Approve(w.ctx, alice, made.ID, Approval{}); !errors.Is(err, errTest) || errors.Is(err, ErrInvalid) {
		t.Errorf("a linter that fails: %v", err)
	}
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
		t.Errorf("%d pending, %v", len(pending), err)
	}
}

// BenchmarkApproval is what it takes from a request to its certificate.
func BenchmarkApproval(b *testing.B) {
	none := linterFunc(func() error { return nil })
	for _, c := range []struct {
		name    string
		keyType pki.KeyType
		linter  Linter
	}{
		{"ECDSA", pki.KeyECDSAP256, nil}, {"ECDSA, not linted", pki.KeyECDSAP256, none},
		{"RSA", pki.KeyRSA2048, nil}, {"RSA, not linted", pki.KeyRSA2048, none},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			cfg := config(store.Services)
			cfg.row.KeyType, cfg.Linter = string(c.keyType), c.linter
			a := w.open(cfg)
			next := func() *pki.Request { return request(b, csrNamed(b, newKey(b), "host")) }
			for b.Loop() {
				b.StopTimer()
				req := next()
				b.StartTimer()
				made, err := a.Submit(context.Background(), anonymous, req, Asked{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := a.Approve(context.Background(), alice, made.ID, Approval{}); err != nil {
					b.Fatal(err)
				}
				if _, err := a.Certificate(context.Background(), made.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
