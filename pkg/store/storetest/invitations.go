package storetest

import (
	"context"
	"fmt"
	"testing"

	"cauase/pkg/store"
)

func testInvitations(t *testing.T, d *db) {
	one, two := newInvitation(store.Services, 2), newInvitation(store.Services, 1)
	foreign := newInvitation(store.Users, 2)
	bare := store.Invitation{Authority: store.Services, ID: "bare", Until: day(99), VoidedAt: day(1)}
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, i := range []store.Invitation{one, two, foreign, bare} {
			if err := tx.PutInvitation(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	want := func(all ...store.Invitation) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Invitations(ctx, store.Services, 0)
			same(t, "invitations", got, all)
			if n, e := r.CountInvitations(ctx, store.Services); n != len(all) || e != nil {
				t.Errorf("%d invitations, %v", n, e)
			}
			return err
		})
	}
	want(two, one, bare) // in the order of their ends
	one.Used, one.Refused, one.VoidedAt = 17, 4, day(3)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutInvitation(ctx, one) })
	want(two, one, bare)
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Invitation(ctx, store.Users, foreign.ID)
		same(t, "invitation", got, foreign)
		_, missing := r.Invitation(ctx, store.Users, "bare")
		is(t, "one of another authority", missing, store.ErrNotFound)
		first, e := r.Invitations(ctx, store.Services, 1)
		same(t, "the first", first, []store.Invitation{two})
		if err == nil {
			err = e
		}
		return err
	})
}

func testPruneInvitations(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		for n := range 5 {
			i := newInvitation(store.Services, n)
			if err := tx.PutInvitation(ctx, i); err != nil {
				return err
			}
			i.Authority = store.Users
			if err := tx.PutInvitation(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	prune := func(day, limit, want int) {
		t.Helper()
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.PruneInvitations(ctx, store.Services, newInvitation("", day).Until, limit)
			if n != want {
				t.Errorf("%d pruned, want %d", n, want)
			}
			return err
		})
	}
	prune(0, 9, 0) // Until itself does not lie before
	prune(3, 2, 2)
	prune(3, 9, 1)
	prune(3, 9, 0)
	d.view(func(ctx context.Context, r store.Reader) error {
		var left []string
		for _, a := range []store.AuthorityName{store.Services, store.Users} {
			list, err := r.Invitations(ctx, a, 0)
			if err != nil {
				return err
			}
			for _, i := range list {
				left = append(left, fmt.Sprintf("%s %d", a, i.Used-1))
			}
		}
		same(t, "left", left, []string{"cas 3", "cas 4", "cau 0", "cau 1", "cau 2", "cau 3", "cau 4"})
		return nil
	})
}
