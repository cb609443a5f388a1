package storetest

import (
	"context"
	"errors"
	"testing"

	"cauase/pkg/store"
)

// What a renewal depends on is the same whether it is asked for at once or one by one.
func testRenewable(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	old, lineage := newCertificate(store.Services, caID, 1), newLineage(store.Services, 1)
	old.Lineage = lineage.ID
	other := newCertificate(store.Services, caID, 2)
	other.Lineage = newLineage(store.Services, 2).ID // of which there is none
	compromised := newRevocation(store.Services, 3)
	compromised.Reason = store.KeyCompromise
	d.update(func(ctx context.Context, tx store.Tx) error {
		a := store.Authority{Name: store.Services, Role: store.RoleServices, CreatedAt: day(0)}
		return errors.Join(tx.PutAuthority(ctx, a), tx.AddLineage(ctx, lineage, nil), tx.AddCertificate(ctx, old), tx.AddCertificate(ctx, other),
			errOf(tx.AddRevocation(ctx, compromised)))
	})
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errOf(tx.AddCounter(ctx, store.Services, store.CounterCA, 7))
	})
	want := store.Renewable{Lineage: lineage, CAs: 7, Certificate: store.Certificate{
		Authority: old.Authority, ID: old.ID, Serial: old.Serial, CAID: old.CAID, DER: old.DER, Profile: old.Profile, Validity: old.Validity, Lineage: old.Lineage,
	}}
	for _, test := range []struct {
		name   string
		keyID  []byte
		change func(*store.Renewable)
	}{
		{"no key", nil, func(*store.Renewable) {}},
		{"another key", id20('k', 99), func(*store.Renewable) {}},
		{"key of a CA", newCA(store.Services, 1).KeyID, func(v *store.Renewable) { v.OfCA = true }},
		{"compromised key", compromised.KeyID, func(v *store.Renewable) { v.Compromised = true }},
	} {
		want := want
		test.change(&want)
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Renewable(ctx, store.Services, old.Serial, test.keyID)
			same(t, test.name, got, want)
			return err
		})
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Renewable(ctx, store.Services, serial(77), nil)
		is(t, "no such serial", err, store.ErrNotFound)
		_, err = r.Renewable(ctx, store.Users, old.Serial, nil)
		is(t, "in another authority", err, store.ErrNotFound)
		_, err = r.Renewable(ctx, store.Services, other.Serial, nil)
		is(t, "without its lineage", err, store.ErrNotFound)
		_, err = r.Renewable(ctx, store.Services, nil, nil)
		is(t, "no serial", err, store.ErrNotFound)
		return nil
	})
	listed := newRevocation(store.Services, 1)
	listed.Serial = old.Serial
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := errOf(tx.AddRevocation(ctx, listed)); err != nil {
			return err
		}
		want := want
		want.Revoked = true
		got, err := tx.Renewable(ctx, store.Services, old.Serial, nil)
		same(t, "revoked by the same transaction", got, want)
		return err
	})
}

func errOf(_ int64, err error) error { return err }

// A renewal changes of its lineage what PutLineage would.
func testAddRenewal(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	for n, forks := range []int64{0, 3} {
		before, made := newLineage(store.Services, n), newCertificate(store.Services, caID, 10+n)
		before.State, before.Forks = store.LineageActive, 0
		made.Lineage, made.Renews = before.ID, serial(n)
		after := before
		after.Profile, after.Newest, after.NotAfter = "client", made.Serial, day(500)
		after.Renewals, after.RenewedAt, after.Address = 77, day(78), "192.0.2.79"
		after.Day, after.DayRenewals, after.DayRevocations, after.DayBytes = day(80), 81, 82, 83
		if after.Forks = forks; forks > 0 {
			after.ForkedAt, after.ForkAddress, after.ForkedFrom = day(84), "192.0.2.85", "192.0.2.86"
		}
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddLineage(ctx, before, nil) })
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddRenewal(ctx, made, after) })
		d.view(func(ctx context.Context, r store.Reader) error {
			l, err := r.Lineage(ctx, store.Services, before.ID)
			same(t, "lineage", l, after)
			c, err2 := r.CertificateBySerial(ctx, store.Services, made.Serial)
			same(t, "certificate", c, made)
			return errors.Join(err, err2)
		})
		// Nothing of it is left behind when it cannot be.
		again := made
		again.Serial = serial(40 + n)
		for what, add := range map[string]store.Certificate{"the same id": again, "no such lineage": newCertificate(store.Services, caID, 50+n)} {
			l := after
			l.Renewals = 1000
			if what == "no such lineage" {
				l.ID += 1000
			}
			if err := d.Update(t.Context(), func(tx store.Tx) error { return tx.AddRenewal(t.Context(), add, l) }); err == nil {
				t.Errorf("%s: it is stored", what)
			}
			d.view(func(ctx context.Context, r store.Reader) error {
				_, err := r.CertificateBySerial(ctx, store.Services, add.Serial)
				is(t, what, err, store.ErrNotFound)
				l, err := r.Lineage(ctx, store.Services, before.ID)
				same(t, "lineage, "+what, l, after)
				return err
			})
		}
	}
}
