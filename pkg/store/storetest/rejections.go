package storetest

import (
	"context"
	"errors"
	"testing"

	"cauase/pkg/store"
)

func testRejections(t *testing.T, d *db) {
	first, other := newRejection(store.Services, 1), newRejection(store.Users, 1)
	other.Reason = "" // of another authority, for the same request
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.PutRejection(ctx, first), tx.PutRejection(ctx, other))
	})
	want := func(what string, a store.AuthorityName, id int64, digest []byte, want store.Rejection, wantErr error) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			byID, err := r.Rejection(ctx, a, id)
			same(t, what+" by id", byID, want)
			is(t, what+" by id", err, wantErr)
			byDigest, err := r.RejectionByDigest(ctx, a, digest)
			same(t, what+" by digest", byDigest, want)
			is(t, what+" by digest", err, wantErr)
			return nil
		})
	}
	want("the first", store.Services, first.ID, first.Digest, first, nil)
	want("the users'", store.Users, other.ID, other.Digest, other, nil)
	want("in another authority", store.HTTPS, first.ID, first.Digest, store.Rejection{}, store.ErrNotFound)

	// The same request, submitted and rejected again: the earlier id means nothing any more.
	again := first
	again.ID, again.RejectedAt, again.Reason = first.ID+5, day(9), "Still none"
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutRejection(ctx, again) })
	want("the second", store.Services, again.ID, again.Digest, again, nil)
	want("the users', still", store.Users, other.ID, other.Digest, other, nil)
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Rejection(ctx, store.Services, first.ID)
		is(t, "by the earlier id", err, store.ErrNotFound)
		return nil
	})

	// An id is that of one request.
	foreign := newRejection(store.Services, 2)
	foreign.ID = again.ID
	err := d.Update(t.Context(), func(tx store.Tx) error { return tx.PutRejection(t.Context(), foreign) })
	is(t, "another request with that id", err, store.ErrExists)
	want("after that", store.Services, again.ID, again.Digest, again, nil)
}

func testPruneRejections(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		var all error
		for _, n := range []int{3, 1, 2, 5, 4} {
			all = errors.Join(all, tx.PutRejection(ctx, newRejection(store.Services, n)), tx.PutRejection(ctx, newRejection(store.Users, n)))
		}
		return all
	})
	prune := func(before, keep, limit, want int) {
		t.Helper()
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.PruneRejections(ctx, store.Services, day(before), keep, limit)
			same(t, "pruned", n, want)
			return err
		})
	}
	left := func(a store.AuthorityName, want ...int) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			var found []int
			for n := range 6 {
				switch _, err := r.Rejection(ctx, a, newRejection(a, n).ID); {
				case err == nil:
					found = append(found, n)
				case !errors.Is(err, store.ErrNotFound):
					return err
				}
			}
			same(t, "left", found, want)
			return nil
		})
	}
	prune(1, 9, 9, 0) // one that was made at that time was not made before
	prune(3, 9, 0, 0)
	prune(3, 9, 1, 1) // the oldest first
	left(store.Services, 2, 3, 4, 5)
	prune(3, 9, 9, 1)
	left(store.Services, 3, 4, 5)
	prune(0, 3, 9, 0)
	prune(0, 2, 9, 1) // however young, there are too many
	left(store.Services, 4, 5)
	prune(5, 1, 9, 1)
	prune(0, 0, 9, 1)
	left(store.Services)
	left(store.Users, 1, 2, 3, 4, 5)
}
