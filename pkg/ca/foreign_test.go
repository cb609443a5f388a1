package ca

import (
	"crypto"
	"errors"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// What belongs to another authority is not there, whatever is asked of it.
func TestObjectsOfAnotherAuthority(t *testing.T) {
	w := newWorld(t)
	ours, other := config(store.Services), config("lab")
	a, b := w.open(ours), w.open(other)
	crt, key := w.enrol(b, "theirs")
	mine, mineKey := w.enrol(a, "mine")
	submit := func(of *Authority, name string) int64 {
		made, err := of.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), name)), Asked{})
		if err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	pending, signed := submit(b, "pending"), submit(b, "signed")
	if _, err := b.Approve(w.ctx, alice, signed, Approval{}); err != nil {
		t.Fatal(err)
	}
	holder, err := b.Holder(w.ctx, anonymous, crt, renewalEnvelope(t, crt, key, nil).Verify)
	if err != nil {
		t.Fatal(err)
	}
	theirCAs, err := b.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.CRLs(w.ctx); err != nil {
		t.Fatal(err)
	}
	const nowhere = 12345
	stranger, _ := w.enrol(w.open(config("gone")), "stranger")
	for _, c := range []struct {
		name string
		want error
		op   func(theirs bool) error // on their object, or on one that is nowhere
	}{
		{"Request", ErrNotFound, func(theirs bool) error { _, err := a.Request(w.ctx, choose(theirs, pending, nowhere)); return err }},
		{"Request that is signed", ErrNotFound, func(theirs bool) error { _, err := a.Request(w.ctx, choose(theirs, signed, nowhere)); return err }},
		{"Approve", ErrNotFound, func(theirs bool) error {
			_, err := a.Approve(w.ctx, alice, choose(theirs, pending, nowhere), Approval{})
			return err
		}},
		{"Reject", ErrNotFound, func(theirs bool) error { return a.Reject(w.ctx, alice, choose(theirs, pending, nowhere), nil, "") }},
		{"Certificate", ErrNotFound, func(theirs bool) error { _, err := a.Certificate(w.ctx, choose(theirs, signed, nowhere)); return err }},
		{"Holder", ErrInvalid, func(theirs bool) error {
			_, err := a.Holder(w.ctx, anonymous, choose(theirs, crt, stranger), func(crypto.PublicKey) error {
				t.Error("arithmetic with a key that was not issued here")
				return nil
			})
			return err
		}},
		{"Renew", ErrUnauthorized, func(theirs bool) error {
			_, err := a.Renew(w.ctx, choose(theirs, holder, Holder{}), request(t, csrNamed(t, newKey(t), "x")))
			return err
		}},
		{"RevokeOwn", ErrUnauthorized, func(theirs bool) error { return a.RevokeOwn(w.ctx, choose(theirs, holder, Holder{}), Revoking{}) }},
		{"RevokeCertificate", ErrInvalid, func(theirs bool) error {
			return a.RevokeCertificate(w.ctx, alice, choose(theirs, crt, stranger), Revoking{})
		}},
		{"Authenticate", ErrUnauthorized, func(theirs bool) error {
			_, err := a.Authenticate(w.ctx, anonymous, choose(theirs, crt, stranger))
			return err
		}},
		{"CRL", ErrNotFound, func(theirs bool) error {
			_, err := a.CRL(w.ctx, choose(theirs, new(big.Int).SetBytes(theirCAs[0].SubjectKeyId), big.NewInt(nowhere)))
			return err
		}},
		{"Refused", errTest, func(theirs bool) error { return a.Refused(w.ctx, choose(theirs, holder, Holder{}), "test", errTest) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			audited := len(w.audit(audit.Filter{}))
			foreign := c.op(true)
			a.refusals.due(w.clock.Now(), true) // so that the next one is the first again
			absent := c.op(false)
			a.refusals.due(w.clock.Now(), true)
			wantError(t, foreign, c.want)
			wantError(t, absent, c.want)
			if n := len(w.audit(audit.Filter{})) - audited; n != 0 && n != 2 {
				t.Errorf("%d audit entries: the one is told from the other", n)
			}
		})
	}
	// A serial says nothing about whose it is: it is revoked in the lists of the one that was asked, which
	// leaves the certificate of the other as it is.
	if err := a.RevokeSerial(w.ctx, alice, crt.SerialNumber, Revoking{}); err != nil {
		t.Error(err)
	}
	if _, err := b.Authenticate(w.ctx, anonymous, crt); err != nil {
		t.Errorf("the other authority's certificate: %v", err)
	}
	if got, err := b.Pending(w.ctx); err != nil || len(got) != 1 || got[0].ID != pending {
		t.Errorf("%d requests are pending there, %v", len(got), err)
	}
	if got, err := a.Pending(w.ctx); err != nil || len(got) != 0 {
		t.Errorf("%d requests are pending here, %v", len(got), err)
	}
	if _, err := a.Holder(w.ctx, anonymous, mine, renewalEnvelope(t, mine, mineKey, nil).Verify); err != nil {
		t.Errorf("its own: %v", err)
	}
}

var errTest = errors.New("test")

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// A retired authority revokes and makes lists, and issues nothing.
func TestRetired(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	a := w.open(cfg)
	crt, key := w.enrol(a, "host")
	waiting, err := a.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "late")), Asked{})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * 92 * day)
	young, _ := w.enrol(a, "young")
	cfg.row.RetiredAt = w.clock.Now()
	a = w.open(cfg)
	w.clock.Advance(3 * day)
	_, err = a.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "x")), Asked{})
	wantError(t, err, ErrRetired)
	_, err = a.Approve(w.ctx, alice, waiting.ID, Approval{})
	wantError(t, err, ErrRetired)
	w.clock.Advance(-2 * 92 * day) // when the first was still valid
	cfg.row.RetiredAt = w.clock.Now()
	a = w.open(cfg)
	_, err = wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "x")))
	wantError(t, err, ErrRetired)
	w.clock.Advance(2 * 92 * day)
	if err := a.RevokeCertificate(w.ctx, alice, young, Revoking{}); err != nil {
		t.Error(err)
	}
	if err := a.Reject(w.ctx, alice, waiting.ID, nil, ""); err != nil {
		t.Error(err)
	}
	w.clock.Advance(60 * day)
	if err := a.Maintain(w.ctx); err != nil {
		t.Error(err)
	}
	if n := len(w.crl(a).RevokedCertificateEntries); n != 1 {
		t.Errorf("%d entries in the list", n)
	}
	if cas, err := a.CACertificates(w.ctx); err != nil || len(cas) != 1 {
		t.Errorf("%d CA certificates, %v", len(cas), err)
	}
}

// Whoever approves chooses among the profiles of the authority, and a validity that they allow.
func TestApprovalsChooseProfiles(t *testing.T) {
	w := newWorld(t)
	set, err := profile.NewSet(map[string]profile.Config{"short": {ExtendedKeyUsage: []string{"serverAuth"}, Names: []string{"dns"}, Subject: map[string]string{"common_name": "request"}, Validity: "1d", Longest: "10y"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(store.Services)
	cfg.Profiles, cfg.row.Profiles = set, []string{"server", "short"}
	a := w.open(cfg)
	for _, c := range []struct {
		name string
		how  Approval
		want time.Duration
		err  error
	}{
		{"as it is", Approval{}, 93 * day, nil},
		{"a shorter one", Approval{Validity: day}, day, nil},
		{"a longer one than the span", Approval{Validity: 94 * day}, 0, ErrInvalid},
		{"another profile", Approval{Profile: "short"}, day, nil},
		{"its longest, bounded by the CA", Approval{Profile: "short", Validity: 3650 * day}, 4 * 93 * day, nil},
		{"one of another authority", Approval{Profile: "client"}, 0, profile.ErrUnknown},
		{"the daemon's", Approval{Profile: profile.NameDaemonServer}, 0, profile.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, err := a.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "host")), Asked{})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := a.Approve(w.ctx, alice, made.ID, c.how)
			if c.err != nil {
				wantError(t, err, c.err)
				wantError(t, err, ErrInvalid)
				if err := a.Reject(w.ctx, alice, made.ID, nil, ""); err != nil {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := issued.Certificate.NotAfter.Sub(w.clock.Now()); got != c.want {
				t.Errorf("valid for %v, want %v", got, c.want)
			}
		})
	}
}
