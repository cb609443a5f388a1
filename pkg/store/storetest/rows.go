package storetest

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cauase/pkg/store"
)

// same fails the test when got is not want. Times must be in UTC, too.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(sameInt)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func sameInt(a, b *big.Int) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Cmp(b) == 0
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func testCAs(t *testing.T, d *db) {
	first, second, other := newCA(store.Services, 1), newCA(store.Services, 2), newCA(store.Users, 3)
	first.Link = nil // nobody vouches for the first
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for _, ca := range []*store.CA{&first, &second, &other} {
			if ca.ID, err = tx.AddCA(ctx, *ca); err != nil {
				return err
			}
		}
		return nil
	})
	if second.ID <= first.ID {
		t.Errorf("IDs %d, %d do not grow", first.ID, second.ID)
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		cas, err := r.CAs(ctx, store.Services)
		same(t, "services", cas, []store.CA{first, second})
		return err
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		cas, err := r.CAs(ctx, store.Users)
		same(t, "users", cas, []store.CA{other})
		return err
	})
}

func testIsCAKey(t *testing.T, d *db) {
	d.ca(store.Services)
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			keyID []byte
			want  bool
		}{{id20('k', 1), true}, {id20('k', 2), false}, {nil, false}} {
			got, err := r.IsCAKey(ctx, test.keyID)
			if err != nil {
				return err
			}
			same(t, "IsCAKey", got, test.want)
		}
		return nil
	})
}

func testEraseCAKey(t *testing.T, d *db) {
	id, other := d.ca(store.Services), d.ca(store.Services)
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "erasing it through another authority", tx.EraseCAKey(ctx, store.Users, id, store.CAErased), store.ErrNotFound)
		is(t, "erasing none", tx.EraseCAKey(ctx, store.Services, other+1, store.CAErased), store.ErrNotFound)
		for _, state := range []store.CAState{"", store.CAUsable, store.CAExternal, "gone"} {
			if tx.EraseCAKey(ctx, store.Services, id, state) == nil {
				t.Errorf("a CA without its key became %q", state)
			}
		}
		for _, state := range []store.CAState{store.CAErased, store.CARevoked, store.CACompromised} {
			if err := tx.EraseCAKey(ctx, store.Services, id, state); err != nil {
				return err
			}
		}
		return tx.EraseCAKey(ctx, store.Services, id, store.CADisowned)
	})
	erased, kept := newCA(store.Services, 1), newCA(store.Services, 1)
	erased.ID, erased.Key, erased.State, kept.ID = id, store.KeyRef{}, store.CADisowned, other
	d.view(func(ctx context.Context, r store.Reader) error {
		cas, err := r.CAs(ctx, store.Services)
		same(t, "CAs", cas, []store.CA{erased, kept})
		return err
	})
}

func testRequests(t *testing.T, d *db) {
	q := newRequest(store.Services, 1)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddRequest(ctx, q) })
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Request(ctx, store.Services, q.ID)
		same(t, "by id", got, q)
		if err != nil {
			return err
		}
		got, err = r.RequestByDigest(ctx, store.Services, q.Digest)
		same(t, "by digest", got, q)
		if err != nil {
			return err
		}
		_, err = r.Request(ctx, store.Users, q.ID)
		is(t, "by id in another authority", err, store.ErrNotFound)
		_, err = r.RequestByDigest(ctx, store.Users, q.Digest)
		is(t, "by digest in another authority", err, store.ErrNotFound)
		return nil
	})
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "deleting it in another authority", tx.DeleteRequest(ctx, store.Users, q.ID), store.ErrNotFound)
		if err := tx.DeleteRequest(ctx, store.Services, q.ID); err != nil {
			return err
		}
		is(t, "deleting it again", tx.DeleteRequest(ctx, store.Services, q.ID), store.ErrNotFound)
		return tx.AddRequest(ctx, q) // what was rejected may be asked for again
	})
}

func testRequestOrder(t *testing.T, d *db) {
	// By age; ids are random, so they decide only between equals.
	young, old, twin := newRequest(store.Services, 1), newRequest(store.Services, 2), newRequest(store.Services, 3)
	young.ReceivedAt, old.ReceivedAt, twin.ReceivedAt = day(9), day(5), day(5)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddRequest(ctx, young), tx.AddRequest(ctx, twin), tx.AddRequest(ctx, old),
			tx.AddRequest(ctx, newRequest(store.Users, 4)))
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			limit int
			want  []store.Request
		}{
			{0, []store.Request{old, twin, young}},
			{2, []store.Request{old, twin}},
			{5, []store.Request{old, twin, young}},
		} {
			got, err := r.Requests(ctx, store.Services, test.limit)
			if err != nil {
				return err
			}
			same(t, "requests", got, test.want)
		}
		n, err := r.CountRequests(ctx, store.Services)
		same(t, "count", n, 3)
		if err != nil {
			return err
		}
		counts, err := r.CountSubmitters(ctx, store.Services)
		want := map[string]int{}
		for _, q := range []store.Request{old, twin, young} {
			want[q.Submitter]++
		}
		same(t, "submitters", counts, want)
		return err
	})
}

func testRequestUnique(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddRequest(ctx, newRequest(store.Services, 1)) })
	for _, test := range []struct {
		name   string
		change func(*store.Request)
		want   error
	}{
		{"same id", func(q *store.Request) { q.ID = newRequest(store.Services, 1).ID }, store.ErrExists},
		{"same digest", func(q *store.Request) { q.Digest = id20('d', 1) }, store.ErrExists},
		{"same key", func(q *store.Request) { q.KeyID = id20('q', 1) }, nil},
		{"another authority", func(q *store.Request) { *q = newRequest(store.Users, 1) }, nil},
	} {
		q := newRequest(store.Services, 2)
		test.change(&q)
		err := d.Update(t.Context(), func(tx store.Tx) error {
			if err := tx.AddRequest(t.Context(), q); err != nil {
				return err
			}
			return tx.DeleteRequest(t.Context(), q.Authority, q.ID)
		})
		is(t, test.name, err, test.want)
	}
}

func testRevocations(t *testing.T, d *db) {
	first, second, other := newRevocation(store.Services, 1), newRevocation(store.Services, 2), newRevocation(store.Users, 1)
	second.KeyID = nil // revoked by serial, of a certificate nobody knows
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for _, v := range []*store.Revocation{&first, &other, &second} {
			if v.Seq, err = tx.AddRevocation(ctx, *v); err != nil {
				return err
			}
		}
		return nil
	})
	if first.Seq <= 0 || second.Seq <= first.Seq {
		t.Errorf("seqs %d, %d do not grow from 1", first.Seq, second.Seq)
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Revocation(ctx, store.Services, serial(2))
		same(t, "by serial", got, second)
		if err != nil {
			return err
		}
		_, err = r.Revocation(ctx, store.Users, serial(2))
		is(t, "in another authority", err, store.ErrNotFound)
		for _, test := range []struct {
			after int64
			limit int
			want  []store.Revocation
		}{
			{0, 0, []store.Revocation{first, second}},
			{0, 1, []store.Revocation{first}},
			{first.Seq, 0, []store.Revocation{second}},
			{second.Seq, 0, nil},
		} {
			got, err := r.Revocations(ctx, store.Services, test.after, test.limit)
			if err != nil {
				return err
			}
			same(t, "revocations", got, test.want)
			var listed, want []store.Revoked
			err = r.Revoked(ctx, store.Services, test.after, test.limit, func(v store.Revoked) error {
				listed = append(listed, v)
				return nil
			})
			if err != nil {
				return err
			}
			for _, v := range test.want {
				want = append(want, store.Revoked{Seq: v.Seq, Serial: v.Serial.Bytes(), RevokedAt: v.RevokedAt, Reason: v.Reason})
			}
			same(t, "what lists say of them", listed, want)
		}
		enough := errors.New("enough")
		is(t, "until fn fails", r.Revoked(ctx, store.Services, 0, 0, func(store.Revoked) error { return enough }), enough)
		begin, end, err := r.RevokedSpan(ctx, store.Services)
		same(t, "span", [3]any{begin, end, err}, [3]any{first.Seq, second.Seq, nil})
		begin, end, err = r.RevokedSpan(ctx, "nobody")
		same(t, "span of none", [3]any{begin, end, err}, [3]any{int64(0), int64(0), nil})
		n, err := r.CountRevocations(ctx, store.Services)
		same(t, "count", n, 2)
		return err
	})
}

func testRevocationUnique(t *testing.T, d *db) {
	v := newRevocation(store.Services, 1)
	add := func(ctx context.Context, tx store.Tx) error { _, err := tx.AddRevocation(ctx, v); return err }
	d.update(add)
	v.RevokedAt, v.Reason = day(50), 1
	err := d.Update(t.Context(), func(tx store.Tx) error { return add(t.Context(), tx) })
	is(t, "revoking it again", err, store.ErrExists)
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Revocation(ctx, store.Services, v.Serial)
		got.Seq = 0
		same(t, "the first one", got, newRevocation(store.Services, 1))
		return err
	})
}

// A seq that came back would hide a revocation from everyone who has read up to it.
func testPruneRevocations(t *testing.T, d *db) {
	var last int64
	add := func(n int) {
		t.Helper()
		d.update(func(ctx context.Context, tx store.Tx) error {
			seq, err := tx.AddRevocation(ctx, newRevocation(store.Services, n))
			if seq <= last {
				t.Errorf("seq %d after %d", seq, last)
			}
			last = seq
			return err
		})
	}
	prune := func(a store.AuthorityName, day, limit, want int) {
		t.Helper()
		d.update(func(ctx context.Context, tx store.Tx) error {
			pruned, err := tx.PruneRevocations(ctx, a, newRevocation(a, day).KeepUntil, limit)
			for _, serial := range pruned {
				_, gone := tx.Revocation(ctx, a, serial)
				is(t, "what was pruned", gone, store.ErrNotFound)
			}
			same(t, "pruned", len(pruned), want)
			return err
		})
	}
	for _, n := range []int{3, 1, 2, 4} {
		add(n)
	}
	prune(store.Users, 9, 10, 0)
	prune(store.Services, 1, 10, 0) // at its KeepUntil it is still kept
	prune(store.Services, 4, 0, 0)
	prune(store.Services, 4, 2, 2)
	d.view(func(ctx context.Context, r store.Reader) error {
		// What has waited longest goes first.
		_, err := r.Revocation(ctx, store.Services, serial(3))
		return err
	})
	prune(store.Services, 9, 10, 2)
	d.view(func(ctx context.Context, r store.Reader) error {
		n, err := r.CountRevocations(ctx, store.Services)
		same(t, "count", n, 0)
		return err
	})
	add(4)
}

func testKeyCompromised(t *testing.T, d *db) {
	one, another := newAuthority(1), newAuthority(2)
	compromised, other := newRevocation(one.Name, 1), newRevocation(one.Name, 2)
	compromised.Reason = store.KeyCompromise
	elsewhere := newRevocation(another.Name, 4)
	elsewhere.Reason = store.KeyCompromise
	unknown := newRevocation(one.Name, 3)
	unknown.KeyID, unknown.Reason = nil, store.KeyCompromise
	want := func(keyID []byte, want bool) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.KeyCompromised(ctx, keyID)
			same(t, "KeyCompromised", got, want)
			return err
		})
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := errors.Join(tx.PutAuthority(ctx, one), tx.PutAuthority(ctx, another)); err != nil {
			return err
		}
		for _, v := range []store.Revocation{compromised, other, unknown, elsewhere} {
			if _, err := tx.AddRevocation(ctx, v); err != nil {
				return err
			}
		}
		return nil
	})
	want(compromised.KeyID, true)
	want(elsewhere.KeyID, true)
	want(other.KeyID, false) // revoked, for another reason
	want(nil, false)
	d.update(func(ctx context.Context, tx store.Tx) error {
		_, err := tx.PruneRevocations(ctx, one.Name, day(1000), 10)
		return err
	})
	want(compromised.KeyID, false)
	want(elsewhere.KeyID, true)
}

func testCRLs(t *testing.T, d *db) {
	first, second := d.ca(store.Services), d.ca(store.Services)
	crl := store.CRL{Authority: store.Services, CAID: first, Number: 1, ThisUpdate: day(1), NextUpdate: day(31), Pruned: 3, Signature: []byte{1}}
	next := store.CRL{Authority: store.Services, CAID: first, Number: 2, ThisUpdate: day(2), NextUpdate: day(32), Pruned: 4, Signature: []byte{2, 2}}
	sibling := next
	sibling.CAID = second
	for _, c := range []store.CRL{crl, next, sibling} {
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutCRL(ctx, c) })
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, want := range []store.CRL{next, sibling} {
			got, err := r.CRL(ctx, store.Services, want.CAID)
			if err != nil {
				return err
			}
			same(t, "CRL", got, want)
		}
		_, err := r.CRL(ctx, store.Users, first)
		is(t, "in another authority", err, store.ErrNotFound)
		return nil
	})
	err := d.Update(t.Context(), func(tx store.Tx) error {
		next.CAID = second + 1
		return tx.PutCRL(t.Context(), next)
	})
	if err == nil {
		t.Error("a CRL of no CA was stored")
	}
}

func testCounters(t *testing.T, d *db) {
	for _, step := range []struct {
		a     store.AuthorityName
		name  string
		delta int64
		want  int64
	}{
		{store.Services, store.CounterCRLNumber, 1, 1},
		{store.Services, store.CounterCRLNumber, 41, 42},
		{store.Services, store.CounterReceivedCSR, 5, 5},
		{store.Users, store.CounterCRLNumber, 1, 1},
		{store.Services, store.CounterCRLNumber, 0, 42},
		{store.Services, store.CounterCRLNumber, -2, 40},
		{"", "of the daemon", 1, 1},
	} {
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.AddCounter(ctx, step.a, step.name, step.delta)
			same(t, "AddCounter", n, step.want)
			return err
		})
		d.view(func(ctx context.Context, r store.Reader) error {
			n, err := r.Counter(ctx, step.a, step.name)
			same(t, "Counter", n, step.want)
			return err
		})
	}
}

func testSettings(t *testing.T, d *db) {
	put := func(a store.AuthorityName, value string) {
		d.update(func(ctx context.Context, tx store.Tx) error {
			return tx.PutSetting(ctx, a, store.SettingAutoApprove, value)
		})
	}
	put(store.Services, "1")
	put(store.Services, "")
	put(store.Users, "2")
	d.view(func(ctx context.Context, r store.Reader) error {
		for a, want := range map[store.AuthorityName]string{store.Services: "", store.Users: "2"} {
			got, err := r.Setting(ctx, a, store.SettingAutoApprove)
			if err != nil {
				return err
			}
			same(t, string(a), got, want)
		}
		return nil
	})
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := tx.DeleteSetting(ctx, store.Users, "never set"); err != nil {
			return err
		}
		return tx.DeleteSetting(ctx, store.Users, store.SettingAutoApprove)
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Setting(ctx, store.Users, store.SettingAutoApprove)
		is(t, "deleted", err, store.ErrNotFound)
		_, err = r.Setting(ctx, store.Services, store.SettingAutoApprove)
		return err
	})
}
