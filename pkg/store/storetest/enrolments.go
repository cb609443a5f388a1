package storetest

import (
	"context"
	"errors"
	"testing"

	"cauase/pkg/store"
)

// keyCases are keys, and what there is to say about them in a database with compromised and with a CA.
func keyCases(compromised store.Revocation) map[string]struct {
	id                []byte
	ofCA, compromised bool
} {
	return map[string]struct {
		id                []byte
		ofCA, compromised bool
	}{
		"no key":          {},
		"another key":     {id: id20('k', 99)},
		"key of a CA":     {id: newCA(store.Services, 1).KeyID, ofCA: true},
		"compromised key": {id: compromised.KeyID, compromised: true},
	}
}

// compromise makes an authority of services that has a CA and a certificate of which the key is compromised.
func (d *db) compromise() store.Revocation {
	d.ca(store.Services)
	compromised := newRevocation(store.Services, 3)
	compromised.Reason = store.KeyCompromise
	d.update(func(ctx context.Context, tx store.Tx) error {
		a := store.Authority{Name: store.Services, Role: store.RoleServices, CreatedAt: day(0)}
		return errors.Join(tx.PutAuthority(ctx, a), errOf(tx.AddRevocation(ctx, compromised)))
	})
	return compromised
}

// What decides about a request that is submitted is the same whether it is asked for at once or one by one.
func testSubmittable(t *testing.T, d *db) {
	compromised := d.compromise()
	pending, other := newRequest(store.Services, 1), newRequest(store.Users, 2)
	certified := newCertificate(store.Services, d.ca(store.Services), 4)
	certified.CSRDigest, certified.Renews = newRequest(store.Services, 4).Digest, nil
	ask := func(what string, digest, keyID []byte, want store.Submittable) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Submittable(ctx, store.Services, digest, keyID)
			same(t, what, got, want)
			return err
		})
	}
	ask("of an empty store", pending.Digest, nil, store.Submittable{})
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddReceived(ctx, pending), tx.AddReceived(ctx, other), tx.AddReceived(ctx, newRequest(store.Services, 3)),
			tx.AddCertificate(ctx, certified), tx.PutSetting(ctx, store.Users, store.SettingAutoApprove, "5"))
	})
	ask("pending", pending.Digest, nil, store.Submittable{Pending: pending.ID, Received: 2})
	ask("pending in another authority", other.Digest, nil, store.Submittable{Received: 2})
	ask("certified", certified.CSRDigest, nil, store.Submittable{Certified: true, Received: 2})
	ask("no digest", nil, nil, store.Submittable{Received: 2})
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.PutSetting(ctx, store.Services, store.SettingAutoApprove, "7")
	})
	for name, key := range keyCases(compromised) {
		ask(name, id20('d', 77), key.id, store.Submittable{Received: 2, AutoApprove: "7", OfCA: key.ofCA, Compromised: key.compromised})
	}
}

// So it is with one that is approved.
func testApprovable(t *testing.T, d *db) {
	compromised := d.compromise()
	pending := newRequest(store.Services, 1)
	user := newRevocation(store.Users, 5)
	issuer := d.ca(store.Users)
	good := store.Standing{CA: store.CAUsable}
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddReceived(ctx, pending), errOf(tx.AddCounter(ctx, store.Services, store.CounterCA, 7)), errOf(tx.AddRevocation(ctx, user)))
	})
	ask := func(what string, a store.AuthorityName, id int64, keyID []byte, users store.AuthorityName, number int, ca int64, want store.Approvable) {
		t.Helper()
		by := serial(number)
		if number == 0 {
			by = nil
		}
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Approvable(ctx, a, id, keyID, users, by, ca)
			same(t, what, got, want)
			return err
		})
	}
	ask("by nobody", store.Services, pending.ID, nil, "", 0, 0, store.Approvable{Digest: pending.Digest, CAs: 7})
	ask("by a user", store.Services, pending.ID, nil, store.Users, 6, issuer, store.Approvable{Digest: pending.Digest, User: good, CAs: 7})
	ask("by one whose certificate is revoked", store.Services, pending.ID, nil, store.Users, 5, issuer, store.Approvable{Digest: pending.Digest, User: store.Standing{Revoked: true, CA: store.CAUsable}, CAs: 7})
	ask("by one with that serial number of another authority", store.Services, pending.ID, nil, store.Services, 5, issuer, store.Approvable{Digest: pending.Digest, CAs: 7})
	ask("what is not pending", store.Services, 99, nil, store.Users, 6, issuer, store.Approvable{User: good, CAs: 7})
	ask("what is pending elsewhere", store.Users, pending.ID, nil, store.Users, 6, issuer, store.Approvable{User: good})
	for name, key := range keyCases(compromised) {
		ask(name, store.Services, pending.ID, key.id, store.Users, 6, issuer, store.Approvable{Digest: pending.Digest, User: good, CAs: 7, OfCA: key.ofCA, Compromised: key.compromised})
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.EraseCAKey(ctx, store.Users, issuer, store.CACompromised)
	})
	ask("by one whose CA was withdrawn", store.Services, pending.ID, nil, store.Users, 6, issuer, store.Approvable{Digest: pending.Digest, User: store.Standing{CA: store.CACompromised}, CAs: 7})
}

// testStanding: what is said against a certificate, whether it is on record or not.
func testStanding(t *testing.T, d *db) {
	usable, erased := d.ca(store.Services), int64(0)
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		if erased, err = tx.AddCA(ctx, newCA(store.Services, 2)); err != nil {
			return err
		}
		_, err = tx.AddRevocation(ctx, newRevocation(store.Services, 5))
		return err
	})
	ask := func(what string, a store.AuthorityName, number int, ca int64, want store.Standing, good bool) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Standing(ctx, a, serial(number), ca)
			same(t, what, got, want)
			same(t, what, got.Good(), good)
			return err
		})
	}
	ask("nothing", store.Services, 6, usable, store.Standing{CA: store.CAUsable}, true)
	ask("of an unknown CA", store.Services, 6, 0, store.Standing{}, true)
	ask("revoked", store.Services, 5, usable, store.Standing{Revoked: true, CA: store.CAUsable}, false)
	ask("by another authority", store.Users, 5, usable, store.Standing{}, true)
	for state, good := range map[store.CAState]bool{store.CAErased: true, store.CACompromised: false, store.CARevoked: false, store.CADisowned: false} {
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.EraseCAKey(ctx, store.Services, erased, state) })
		ask(string(state), store.Services, 6, erased, store.Standing{CA: state}, good)
	}
}

// What need not be told at once is told by Update, and nothing of it is left behind then.
func testEnrolment(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	request := newRequest(store.Services, 1)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddReceived(ctx, request) })
	refused := func(what string, change func(context.Context, store.Tx) error) {
		t.Helper()
		err := d.Update(t.Context(), func(tx store.Tx) error {
			return errors.Join(tx.PutSetting(t.Context(), store.Services, "witness", what), change(t.Context(), tx))
		})
		if err == nil {
			t.Errorf("%s: it is stored", what)
		}
		d.view(func(ctx context.Context, r store.Reader) error {
			_, err := r.Setting(ctx, store.Services, "witness")
			is(t, what+": what else there was", err, store.ErrNotFound)
			n, err := r.Counter(ctx, store.Services, store.CounterReceivedCSR)
			same(t, what+": requests received", n, int64(1))
			return err
		})
	}
	twin := newRequest(store.Services, 2)
	twin.Digest = request.Digest
	refused("a request twice", func(ctx context.Context, tx store.Tx) error { return tx.AddReceived(ctx, twin) })
	refused("taking what is not pending", func(ctx context.Context, tx store.Tx) error { return tx.TakeRequest(ctx, store.Services, 99) })
	refused("taking what is pending elsewhere", func(ctx context.Context, tx store.Tx) error { return tx.TakeRequest(ctx, store.Users, request.ID) })
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Request(ctx, store.Services, request.ID)
		same(t, "request", got, request)
		return err
	})

	first, lineage, names := newCertificate(store.Services, caID, 1), newLineage(store.Services, 1), newNames(1)
	first.Lineage = lineage.ID
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.TakeRequest(ctx, store.Services, request.ID), tx.AddFirst(ctx, first, lineage, names))
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		_, gone := r.Request(ctx, store.Services, request.ID)
		is(t, "the request", gone, store.ErrNotFound)
		crt, err := r.CertificateBySerial(ctx, store.Services, first.Serial)
		same(t, "certificate", crt, first)
		l, err2 := r.Lineage(ctx, store.Services, lineage.ID)
		same(t, "lineage", l, lineage)
		known, err3 := r.LineageNames(ctx, store.Services, lineage.ID)
		same(t, "number of names", len(known), len(names))
		unnamed, err4 := r.Unnamed(ctx)
		same(t, "there are lineages without names", unnamed, false)
		return errors.Join(err, err2, err3, err4)
	})
	other, otherLineage := newCertificate(store.Services, caID, 2), newLineage(store.Services, 2)
	other.Lineage = otherLineage.ID
	sameSerial := other
	sameSerial.Serial = first.Serial
	refused("a serial number twice", func(ctx context.Context, tx store.Tx) error { return tx.AddFirst(ctx, sameSerial, otherLineage, nil) })
	refused("a lineage twice", func(ctx context.Context, tx store.Tx) error { return tx.AddFirst(ctx, other, lineage, names) })
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Lineage(ctx, store.Services, otherLineage.ID)
		is(t, "the other lineage", err, store.ErrNotFound)
		return nil
	})
}

// A view of one query answers it as any would, and no other query.
func testViewOne(t *testing.T, d *db) {
	request := newRequest(store.Services, 1)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddReceived(ctx, request) })
	var kept store.Reader
	for range 3 { // on whatever connections there are
		err := store.ViewOne(t.Context(), d.Store, func(r store.Reader) error {
			kept = r
			got, err := r.Request(t.Context(), store.Services, request.ID)
			same(t, "request", got, request)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kept.Request(t.Context(), store.Services, request.ID); err == nil {
		t.Error("a Reader that was kept answers")
	}
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.DeleteRequest(ctx, store.Services, request.ID) })
	err := store.ViewOne(t.Context(), d.Store, func(r store.Reader) error {
		_, err := r.Request(t.Context(), store.Services, request.ID)
		return err
	})
	is(t, "what is not there any more", err, store.ErrNotFound)
	if _, ok := d.Store.(store.OneViewer); ok {
		err := store.ViewOne(t.Context(), d.Store, func(r store.Reader) error {
			if _, err := r.Counter(t.Context(), store.Services, store.CounterReceivedCSR); err != nil {
				return err
			}
			_, err := r.Counter(t.Context(), store.Services, store.CounterCA)
			return err
		})
		if err == nil {
			t.Error("a second query is answered")
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = store.ViewOne(ended, d.Store, func(r store.Reader) error {
		_, err := r.Counter(ended, store.Services, store.CounterCA)
		return err
	})
	is(t, "after its end", err, context.Canceled)
}
