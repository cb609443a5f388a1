package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"cauase/pkg/store"
)

func testApprovals(t *testing.T, d *db) {
	first, second, other := newApproval(store.Services, 1, 1), newApproval(store.Services, 1, 2), newApproval(store.Users, 1, 1)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddRequest(ctx, newRequest(store.Services, 1)), tx.AddRequest(ctx, newRequest(store.Users, 1)),
			tx.PutApproval(ctx, second), tx.PutApproval(ctx, first), tx.PutApproval(ctx, other))
	})
	want := func(what string, a store.AuthorityName, request int64, want ...store.Approval) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Approvals(ctx, a, request)
			same(t, what, got, want)
			return err
		})
	}
	want("of the request", store.Services, first.Request, first, second)
	want("of one of another authority", store.Users, first.Request, other)
	want("of none", store.Services, first.Request+1)

	// A user who approves something else has approved that.
	first.ApprovedAt, first.What = day(9), id20('w', 9)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutApproval(ctx, first) })
	want("approved again", store.Services, first.Request, first, second)

	err := d.Update(t.Context(), func(tx store.Tx) error { return tx.PutApproval(t.Context(), newApproval(store.Services, 2, 1)) })
	if err == nil {
		t.Error("a request that is not there was approved")
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.TakeRequest(ctx, store.Services, first.Request)
	})
	want("taken", store.Services, first.Request)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.DeleteRequest(ctx, store.Users, other.Request) })
	want("deleted", store.Users, other.Request)
}

func testAdoptions(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for _, n := range []int{3, 1, 2} {
			err = errors.Join(err, tx.AddLineage(ctx, newLineage(store.Services, n), nil), tx.PutAdoption(ctx, newAdoption(store.Services, n)))
		}
		return errors.Join(err, tx.AddLineage(ctx, newLineage(store.Users, 1), nil), tx.PutAdoption(ctx, newAdoption(store.Users, 1)))
	})
	want := func(what string, after int64, limit int, want ...store.Adoption) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Adoptions(ctx, store.Services, after, limit)
			same(t, what, got, want)
			return err
		})
	}
	all := []store.Adoption{newAdoption(store.Services, 1), newAdoption(store.Services, 2), newAdoption(store.Services, 3)}
	want("all", 0, 0, all...)
	want("a page", 0, 2, all[:2]...)
	want("the next", all[1].Lineage, 2, all[2])

	all[1].CAKeyID, all[1].HeldAt = id20('k', 9), day(9)
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutAdoption(ctx, all[1]) })
	want("a newer generation", 0, 0, all...)
	err := d.Update(t.Context(), func(tx store.Tx) error { return tx.PutAdoption(t.Context(), newAdoption(store.Services, 4)) })
	if err == nil {
		t.Error("a lineage that is not there has adopted something")
	}
}

// testHolders: of the lineages that go on, each is counted once, by what it has confirmed and when it last had a certificate.
func testHolders(t *testing.T, d *db) {
	const made, now = 50, 60
	older, newer, newest := id20('k', 1), id20('k', 2), id20('k', 3)
	lineage := func(n, created, renewed, ends int, change func(*store.Lineage)) store.Lineage {
		l := newLineage(store.Services, n)
		l.State, l.EndedAt, l.Reason = store.LineageActive, time.Time{}, 0
		l.CreatedAt, l.RenewedAt, l.NotAfter = day(created), time.Time{}, day(ends)
		if renewed > 0 {
			l.RenewedAt = day(renewed)
		}
		if change != nil {
			change(&l)
		}
		return l
	}
	type host struct {
		store.Lineage
		holds []byte
	}
	hosts := []host{
		{lineage(1, 10, 0, 90, nil), newer},  // confirmed
		{lineage(2, 10, 0, 90, nil), newest}, // confirmed what came after
		{lineage(3, 10, 40, 90, nil), older}, // behind
		{lineage(4, 10, 55, 90, nil), older}, // behind, though renewed since: it would say so
		{lineage(5, 10, 0, 90, nil), nil},    // silent
		{lineage(6, 10, 50, 90, nil), nil},   // silent
		{lineage(7, 10, 51, 90, nil), nil},   // renewed since
		{lineage(8, 51, 0, 90, nil), nil},    // began since
		{lineage(9, 10, 0, 59, nil), older},  // expired
		{lineage(10, 10, 0, 60, nil), nil},   // in its last moment
		{lineage(11, 10, 0, 90, func(l *store.Lineage) { l.State, l.EndedAt = store.LineageEnded, day(20) }), nil},
		{lineage(12, 10, 0, 90, func(l *store.Lineage) { l.Authority = store.Users }), nil},
	}
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for _, h := range hosts {
			err = errors.Join(err, tx.AddLineage(ctx, h.Lineage, nil))
			if h.holds != nil {
				err = errors.Join(err, tx.PutAdoption(ctx, store.Adoption{Authority: h.Authority, Lineage: h.ID, CAKeyID: h.holds, HeldAt: day(56), Address: "192.0.2.7"}))
			}
		}
		return err
	})
	sought := store.Sought{KeyIDs: [][]byte{newer, newest}, Since: day(made)}
	d.view(func(ctx context.Context, r store.Reader) error {
		within := func(fn func(store.Reader) error) error { return fn(r) }
		got, err := store.CountAllHolders(ctx, within, store.Services, day(now), sought)
		same(t, "holders", got, store.Holders{Seen: 9, Confirmed: 2, Renewed: 2, Behind: 2, Silent: 3})
		same(t, "missing", got.Missing(), 5)
		if err != nil {
			return err
		}
		got, err = store.CountAllHolders(ctx, within, store.Services, day(now), store.Sought{KeyIDs: [][]byte{newest}, Since: day(made)})
		same(t, "holders of the newest", got, store.Holders{Seen: 9, Confirmed: 1, Renewed: 2, Behind: 3, Silent: 3})
		if err != nil {
			return err
		}
		got, err = store.CountAllHolders(ctx, within, store.HTTPS, day(now), sought)
		same(t, "holders of another authority", got, store.Holders{})
		return err
	})
	// Page by page, of which those end, too, that nobody is counted in.
	for _, page := range []int{1, 2, 5, 11, 12} {
		d.view(func(ctx context.Context, r store.Reader) error {
			var sum store.Holders
			var pages int
			for after, more := (store.LineagePage{}), true; more; pages++ {
				h, last, err := r.CountHolders(ctx, store.Services, day(now), sought, after, page)
				if err != nil {
					return err
				}
				if h.Seen > page {
					t.Fatalf("of %d after %v: %+v, until %v", page, after, h, last)
				}
				sum, after, more = sum.Plus(h), last, last != (store.LineagePage{})
			}
			same(t, fmt.Sprint("holders in pages of ", page), sum, store.Holders{Seen: 9, Confirmed: 2, Renewed: 2, Behind: 2, Silent: 3})
			same(t, fmt.Sprint("pages of ", page), pages, 11/page+1)
			return nil
		})
	}
	paged := func(lineages, limit int) (ids []int64) {
		d.view(func(ctx context.Context, r store.Reader) error {
			for after, more := (store.LineagePage{}), true; more; {
				found, last, err := r.Stragglers(ctx, store.Services, day(now), sought, after, lineages, limit)
				if err != nil {
					return err
				}
				for _, s := range found {
					ids = append(ids, s.Lineage)
				}
				after, more = last, last != (store.LineagePage{})
			}
			return nil
		})
		return ids
	}
	for _, page := range []int{0, 1, 2, 5, 11} {
		for _, limit := range []int{0, 1, 2, 5, 6} {
			same(t, fmt.Sprintf("stragglers in pages of %d, %d at a time", page, limit), paged(page, limit), []int64{hosts[2].ID, hosts[3].ID, hosts[4].ID, hosts[5].ID, hosts[9].ID})
		}
	}
	want := func(what string, after store.LineagePage, limit int, want ...int) (found []store.Straggler) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) (err error) {
			found, err = store.FindStragglers(ctx, func(fn func(store.Reader) error) error { return fn(r) }, store.Services, day(now), sought, after, limit)
			var ids, wanted []int64
			for _, s := range found {
				ids = append(ids, s.Lineage)
			}
			for _, n := range want {
				wanted = append(wanted, hosts[n-1].ID)
			}
			same(t, what, ids, wanted)
			return err
		})
		return found
	}
	all := want("stragglers", store.LineagePage{}, 0, 3, 4, 5, 6, 10)
	want("a page", store.LineagePage{}, 2, 3, 4)
	want("the next", all[1].Page(), 2, 5, 6)
	third, fifth := hosts[2], hosts[4]
	same(t, "one that is behind", all[0], store.Straggler{
		Lineage: third.ID, CreatedAt: third.CreatedAt, Subject: third.Subject, NotAfter: third.NotAfter, AskedAt: third.RenewedAt, Address: third.Address, Held: older, HeldAt: day(56),
	})
	same(t, "one that is silent", all[2], store.Straggler{Lineage: fifth.ID, CreatedAt: fifth.CreatedAt, Subject: fifth.Subject, NotAfter: fifth.NotAfter, AskedAt: fifth.CreatedAt, Address: fifth.Address})

	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Adoption(ctx, store.Services, third.ID)
		same(t, "one", got, store.Adoption{Authority: store.Services, Lineage: third.ID, CAKeyID: older, HeldAt: day(56), Address: "192.0.2.7"})
		_, missing := r.Adoption(ctx, store.Services, fifth.ID)
		is(t, "one that has confirmed nothing", missing, store.ErrNotFound)
		return err
	})
}

func testDeliveries(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for _, n := range []int{3, 1, 2} {
			err = errors.Join(err, tx.AddDelivery(ctx, newDelivery(n)))
		}
		other := newDelivery(1)
		other.Hook = "another"
		return errors.Join(err, tx.AddDelivery(ctx, other))
	})
	due := func(what string, at, limit int, want ...int) (found []store.Delivery) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) (err error) {
			found, err = r.Deliveries(ctx, newDelivery(1).Hook, day(at), limit)
			var which []int
			for _, one := range found {
				which = append(which, one.Attempts)
			}
			same(t, what, which, want)
			return err
		})
		return found
	}
	due("before any is due", 1, 0)
	due("one", 2, 0, 1)
	all := due("all", 9, 0, 1, 2, 3)
	due("those that have waited longest", 9, 2, 1, 2)
	want := newDelivery(2)
	want.ID = all[1].ID
	same(t, "as it was stored", all[1], want)

	later := all[0]
	later.DueAt, later.LastError = day(8), "refused"
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "one that is not there", tx.DeleteDelivery(ctx, 1<<40), store.ErrNotFound)
		is(t, "changing one that is not there", tx.PutDelivery(ctx, store.Delivery{ID: 1 << 40, CreatedAt: day(1), DueAt: day(1)}), store.ErrNotFound)
		return errors.Join(tx.DeleteDelivery(ctx, all[1].ID), tx.PutDelivery(ctx, later))
	})
	left := due("what is left", 9, 0, 3, 1)
	same(t, "put off", left[1], later)
	d.view(func(ctx context.Context, r store.Reader) error {
		counts, err := r.CountDeliveries(ctx)
		same(t, "count", counts, map[string]int{newDelivery(1).Hook: 2, "another": 1})
		return err
	})
}

func testActivateCA(t *testing.T, d *db) {
	ca := newCA(store.Services, 1)
	ca.Activation, ca.ActivatedAt = store.WhenAdopted, day(3)
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		ca.ID, err = tx.AddCA(ctx, ca)
		return err
	})
	want := func(what string) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.CAs(ctx, store.Services)
			same(t, what, got, []store.CA{ca})
			return err
		})
	}
	want("as it was made")
	ca.Activation, ca.ActivatedAt = store.AtOnce, day(7)
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "one of another authority", tx.ActivateCA(ctx, store.Users, ca.ID, ca.Activation, ca.ActivatedAt), store.ErrNotFound)
		return tx.ActivateCA(ctx, ca.Authority, ca.ID, ca.Activation, ca.ActivatedAt)
	})
	want("active")
	ca.Activation, ca.ActivatedAt = store.ByAge, time.Time{}
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.ActivateCA(ctx, ca.Authority, ca.ID, ca.Activation, ca.ActivatedAt)
	})
	want("by age again")
}
