package storetest

import (
	"context"
	"errors"
	"math/big"
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
	known := store.Lineage{
		Authority: lineage.Authority, ID: lineage.ID, Role: lineage.Role, State: lineage.State, Newest: lineage.Newest, NotAfter: lineage.NotAfter,
		Renewals: lineage.Renewals, Address: lineage.Address, Forks: lineage.Forks,
		Day: lineage.Day, DayRenewals: lineage.DayRenewals, DayRevocations: lineage.DayRevocations, DayBytes: lineage.DayBytes,
	}
	want := store.Renewable{Lineage: known, CAs: 7, Certificate: store.Certificate{
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
		got, err := d.renewable(old.Serial, test.keyID)
		same(t, "by itself, "+test.name, got, want)
		is(t, "by itself, "+test.name, err, nil)
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

// renewable is what a renewal looks at before it writes.
func (d *db) renewable(serial *big.Int, keyID []byte) (v store.Renewable, err error) {
	err = store.Glance(d.t.Context(), d.Store, func(r store.Reader) (err error) {
		v, err = r.Renewable(d.t.Context(), store.Services, serial, keyID)
		return err
	})
	return v, err
}

func errOf(_ int64, err error) error { return err }

// A renewal changes of its lineage what PutLineage would.
func testAddRenewal(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	for n, forks := range []int64{0, 3} {
		before, made := newLineage(store.Services, n), newCertificate(store.Services, caID, 10+n)
		before.State, before.Forks = store.LineageActive, 0
		made.Lineage, made.Renews = before.ID, before.Newest
		after := before
		after.Profile, after.Newest, after.NotAfter = "client", made.Serial, day(500)
		after.Renewals, after.RenewedAt, after.Address = 77, day(78), "192.0.2.79"
		after.Day, after.DayRenewals, after.DayRevocations, after.DayBytes = day(80), 81, 82, 83
		if after.Forks = forks; forks > 0 {
			after.ForkedAt, after.ForkAddress, after.ForkedFrom = day(84), "192.0.2.85", "192.0.2.86"
		}
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddLineage(ctx, before, nil) })
		d.update(func(ctx context.Context, tx store.Tx) error {
			return tx.AddRenewal(ctx, store.Renewable{Lineage: before}, made, after)
		})
		d.view(func(ctx context.Context, r store.Reader) error {
			l, err := r.Lineage(ctx, store.Services, before.ID)
			same(t, "lineage", l, after)
			c, err2 := r.CertificateBySerial(ctx, store.Services, made.Serial)
			same(t, "certificate", c, made)
			return errors.Join(err, err2)
		})
		again := made
		again.Serial = serial(40 + n)
		d.notRenewed(t, "the same id", store.Renewable{Lineage: after}, again, after, store.ErrExists)
	}
}

// Nothing is left of a renewal of what has changed since it was looked at.
func testRenewalOfChanged(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	old, l := newCertificate(store.Services, caID, 1), newLineage(store.Services, 1)
	l.State, l.Newest, old.Lineage = store.LineageActive, old.Serial, l.ID
	made := newCertificate(store.Services, caID, 10)
	made.Lineage, made.Renews = l.ID, old.Serial
	next := l
	next.Newest, next.Renewals = made.Serial, l.Renewals+1
	compromised := newRevocation(store.Services, 3)
	compromised.Reason = store.KeyCompromise
	d.update(func(ctx context.Context, tx store.Tx) error {
		a := store.Authority{Name: store.Services, Role: store.RoleServices, CreatedAt: day(0)}
		return errors.Join(tx.PutAuthority(ctx, a), tx.AddLineage(ctx, l, nil), tx.AddCertificate(ctx, old),
			errOf(tx.AddRevocation(ctx, compromised)), errOf(tx.AddCounter(ctx, store.Services, store.CounterCA, 7)))
	})
	was, err := d.renewable(old.Serial, made.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*store.Renewable, *store.Certificate, *store.Lineage){
		"another is the newest":  func(was *store.Renewable, _ *store.Certificate, _ *store.Lineage) { was.Lineage.Newest = serial(99) },
		"renewed once more":      func(was *store.Renewable, _ *store.Certificate, _ *store.Lineage) { was.Lineage.Renewals-- },
		"forked":                 func(was *store.Renewable, _ *store.Certificate, _ *store.Lineage) { was.Lineage.Forks++ },
		"its holder has revoked": func(was *store.Renewable, _ *store.Certificate, _ *store.Lineage) { was.Lineage.DayRevocations++ },
		"other CA certificates":  func(was *store.Renewable, _ *store.Certificate, _ *store.Lineage) { was.CAs-- },
		"the key of a CA": func(_ *store.Renewable, c *store.Certificate, _ *store.Lineage) {
			c.KeyID = newCA(store.Services, 1).KeyID
		},
		"a key that is compromised": func(_ *store.Renewable, c *store.Certificate, _ *store.Lineage) { c.KeyID = compromised.KeyID },
		"no such lineage":           func(_ *store.Renewable, c *store.Certificate, l *store.Lineage) { l.ID++; c.Lineage++ },
	} {
		was, made, next := was, made, next
		change(&was, &made, &next)
		d.notRenewed(t, what, was, made, next, store.ErrChanged)
	}
	listed := newRevocation(store.Services, 1)
	listed.Serial = old.Serial
	for what, change := range map[string]func(context.Context, store.Tx) error{
		"revoked": func(ctx context.Context, tx store.Tx) error { return errOf(tx.AddRevocation(ctx, listed)) },
		"ended": func(ctx context.Context, tx store.Tx) error {
			ended := l
			ended.State = store.LineageEnded
			return tx.PutLineage(ctx, ended)
		},
	} {
		err := d.Update(t.Context(), func(tx store.Tx) error {
			if err := change(t.Context(), tx); err != nil {
				return err
			}
			return tx.AddRenewal(t.Context(), was, made, next)
		})
		is(t, what, err, store.ErrChanged)
	}
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddRenewal(ctx, was, made, next) })
}

// notRenewed makes sure that a renewal fails and leaves nothing behind, though another Update succeeds beside it.
func (d *db) notRenewed(t *testing.T, what string, was store.Renewable, c store.Certificate, l store.Lineage, want error) {
	t.Helper()
	var before store.Lineage
	lineageOf := func(into *store.Lineage) {
		d.view(func(ctx context.Context, r store.Reader) (err error) {
			*into, err = r.Lineage(ctx, store.Services, was.Lineage.ID)
			return err
		})
	}
	lineageOf(&before)
	beside := make(chan error)
	go func() {
		beside <- d.Update(t.Context(), func(tx store.Tx) error {
			return errOf(tx.AddCounter(t.Context(), store.Services, store.CounterReceivedCSR, 1))
		})
	}()
	is(t, what, d.Update(t.Context(), func(tx store.Tx) error { return tx.AddRenewal(t.Context(), was, c, l) }), want)
	is(t, "beside it", <-beside, nil)
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Certificate(ctx, store.Services, c.ID)
		if want != store.ErrExists {
			is(t, what, err, store.ErrNotFound)
		}
		_, err = r.CertificateBySerial(ctx, store.Services, c.Serial)
		is(t, what, err, store.ErrNotFound)
		return nil
	})
	var after store.Lineage
	lineageOf(&after)
	same(t, "lineage, "+what, after, before)
}
