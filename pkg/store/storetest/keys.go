package storetest

import (
	"context"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

func newKEK(a store.AuthorityName, n int) store.KEK {
	return store.KEK{Authority: a, CreatedAt: day(n), Wrap: "inputs", Params: []byte{'{', byte(n), '}'}, Wrapped: id20('k', n)}
}

// entered is an entry as it is once it has its place in the tree.
func entered(e audit.Entry) audit.Entry {
	e.Digest, e.Leaf, e.Hash = id20('d', 1), e.Seq+7, id20('h', 1)
	return e
}

func testCAKeys(t *testing.T, d *db) {
	usable, erased := newCA(store.Services, 1), newCA(store.Services, 2)
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		if usable.ID, err = tx.AddCA(ctx, usable); err != nil {
			return err
		}
		if erased.ID, err = tx.AddCA(ctx, erased); err != nil {
			return err
		}
		return tx.EraseCAKey(ctx, store.Services, erased.ID, store.CAErased)
	})
	sealed := store.KeyRef{Custody: "sealed", Ref: []byte("ciphertext")}
	is(t, "where there is no key", d.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutCAKey(t.Context(), store.Services, erased.ID, sealed)
	}), store.ErrNotFound)
	is(t, "of another authority", d.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutCAKey(t.Context(), store.Users, usable.ID, sealed)
	}), store.ErrNotFound)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.PutCAKey(ctx, store.Services, usable.ID, sealed)
	})
	usable.Key, erased.Key, erased.State = sealed, store.KeyRef{}, store.CAErased
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.CAs(ctx, store.Services)
		same(t, "CAs", got, []store.CA{usable, erased})
		return err
	})

	keks := []store.KEK{newKEK("", 1), newKEK(store.Services, 2), newKEK(store.Users, 3)}
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, k := range []store.KEK{keks[2], keks[1], newKEK("", 9), keks[0]} {
			if err := tx.PutKEK(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.KEKs(ctx)
		same(t, "KEKs", got, keks)
		return err
	})
}
