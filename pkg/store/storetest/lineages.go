package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/store"
)

func testLineages(t *testing.T, d *db) {
	l := newLineage(store.Users, 1)
	crt := newCertificate(store.Users, d.ca(store.Users), 1)
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "changing none", tx.PutLineage(ctx, l), store.ErrNotFound)
		return errors.Join(tx.AddLineage(ctx, l, nil), tx.AddCertificate(ctx, crt))
	})
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "adding it again", tx.AddLineage(ctx, l, nil), store.ErrExists)
		other := l
		other.Authority = store.Services
		return tx.AddLineage(ctx, other, nil)
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Lineage(ctx, store.Users, l.ID)
		same(t, "by id", got, l)
		if err != nil {
			return err
		}
		got, err = r.LineageOf(ctx, store.Users, crt.Serial)
		same(t, "by serial", got, l)
		_, none := r.LineageOf(ctx, store.Services, crt.Serial)
		is(t, "by serial in another authority", none, store.ErrNotFound)
		_, none = r.LineageOf(ctx, store.Users, nil)
		is(t, "of no certificate", none, store.ErrNotFound)
		return err
	})
	changed := store.Lineage{Authority: l.Authority, ID: l.ID, CreatedAt: l.CreatedAt, State: store.LineageActive, Newest: serial(9), NotAfter: day(1)}
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutLineage(ctx, changed) })
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Lineage(ctx, store.Users, l.ID)
		same(t, "changed", got, changed)
		if err != nil {
			return err
		}
		other, err := r.Lineage(ctx, store.Services, l.ID)
		same(t, "that of another authority", other.State, store.LineageEnded)
		return err
	})
}

func testLineagePages(t *testing.T, d *db) {
	var all []store.Lineage
	for n := range 5 {
		l := newLineage(store.Services, n+1)
		l.CreatedAt = day(n / 2) // of the same time the smaller id comes first
		all = append(all, l)
	}
	all[3].State = store.LineageEnding
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, n := range []int{3, 0, 4, 1, 2} {
			if err := tx.AddLineage(ctx, all[n], nil); err != nil {
				return err
			}
		}
		return tx.AddLineage(ctx, newLineage(store.Users, 1), nil)
	})
	after := func(n int) store.LineagePage { return store.LineagePage{CreatedAt: all[n].CreatedAt, ID: all[n].ID} }
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			after store.LineagePage
			limit int
			want  []store.Lineage
		}{
			{store.LineagePage{}, 2, all[:2]},
			{store.LineagePage{}, 0, all},
			{after(0), 2, all[1:3]},
			{after(1), 2, all[2:4]},
			{after(3), 2, all[4:]},
			{after(4), 2, nil},
		} {
			got, err := r.Lineages(ctx, store.Services, test.after, test.limit)
			if err != nil {
				return err
			}
			same(t, "lineages", got, test.want)
		}
		got, err := r.EndingLineages(ctx, store.Services, 5)
		same(t, "ending", got, all[3:4])
		return err
	})
}

// issue stores n certificates of a lineage, the newest last, and returns them.
func (d *db) issue(a store.AuthorityName, lineage int64, numbers ...int) (all []store.Certificate) {
	d.t.Helper()
	caID := d.ca(a)
	d.update(func(ctx context.Context, tx store.Tx) error {
		all = nil
		for i, n := range numbers {
			c := newCertificate(a, caID, n)
			c.Lineage, c.Renews = lineage, nil
			if i > 0 {
				c.Renews = all[i-1].Serial
			}
			all = append(all, c)
			if err := tx.AddCertificate(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	return all
}

func testLineageCertificates(t *testing.T, d *db) {
	all := d.issue(store.Services, 7, 3, 1, 2)
	d.issue(store.Services, 8, 4)
	d.issue(store.Users, 7, 5)
	d.view(func(ctx context.Context, r store.Reader) error {
		for limit, want := range map[int][]store.Certificate{0: {all[2], all[1], all[0]}, 2: {all[2], all[1]}} {
			got, err := r.LineageCertificates(ctx, store.Services, 7, limit)
			if err != nil {
				return err
			}
			same(t, "certificates", got, want)
		}
		none, err := r.LineageCertificates(ctx, store.Services, 9, 0)
		same(t, "of none", len(none), 0)
		return err
	})
}

func testRenewalByCSR(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	first, again, other := newCertificate(store.Services, caID, 1), newCertificate(store.Services, caID, 2), newCertificate(store.Services, caID, 3)
	for _, n := range []int{50, 51} { // that are renewed
		c := newCertificate(store.Services, caID, n)
		c.Serial, c.Lineage = serial(n), 7
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddCertificate(ctx, c) })
	}
	for _, c := range []*store.Certificate{&again, &first, &other} {
		c.CSRDigest, c.Renews, c.Lineage = id20('d', 9), serial(50), 7
		if c == &other {
			c.Renews = serial(51)
		}
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddCertificate(ctx, *c) })
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.RenewalByCSR(ctx, store.Services, id20('d', 9), serial(50))
		same(t, "the newest", got, again)
		if err != nil {
			return err
		}
		_, err = r.RenewalByCSR(ctx, store.Services, id20('d', 9), serial(52))
		is(t, "of another certificate", err, store.ErrNotFound)
		_, err = r.RenewalByCSR(ctx, store.Services, id20('d', 8), serial(50))
		is(t, "by another request", err, store.ErrNotFound)
		_, err = r.RenewalByCSR(ctx, store.Users, id20('d', 9), serial(50))
		is(t, "in another authority", err, store.ErrNotFound)
		return nil
	})
}

func testRevokeLineage(t *testing.T, d *db) {
	const keep = 30 * 24 * time.Hour
	all := d.issue(store.Services, 7, 1, 2, 3, 4)
	endless := newCertificate(store.Services, all[0].CAID, 5)
	endless.Lineage, endless.NotAfter = 7, store.Latest(day(1<<22))
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddCertificate(ctx, endless) })
	d.issue(store.Services, 8, 6)
	earlier := newRevocation(store.Services, 3)
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		earlier.Seq, err = tx.AddRevocation(ctx, earlier)
		return err
	})
	now := all[1].NotAfter // the last moment of the second
	like := store.Revocation{RevokedAt: day(77), Reason: 5}
	want := []store.Revocation{earlier}
	for i, c := range []store.Certificate{all[1], all[3], endless} {
		want = append(want, store.Revocation{Authority: c.Authority, Seq: earlier.Seq + int64(i) + 1, Serial: c.Serial, KeyID: c.KeyID,
			RevokedAt: like.RevokedAt, KeepUntil: store.Latest(c.NotAfter.Add(keep)), Reason: 5})
	}
	for _, count := range []int{3, 0} {
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.RevokeLineage(ctx, store.Services, 7, now, like, keep)
			same(t, "revoked", n, count)
			return err
		})
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Revocations(ctx, store.Services, 0, 0)
			same(t, "revocations", got, want)
			return err
		})
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		if _, err := tx.RevokeLineage(ctx, store.Users, 7, now, like, keep); err != nil {
			return err
		}
		seq, err := tx.AddRevocation(ctx, newRevocation(store.Services, 40))
		same(t, "the next one", seq, earlier.Seq+4)
		if err != nil {
			return err
		}
		seq, err = tx.AddRevocation(ctx, newRevocation(store.Users, 40))
		same(t, "the first of another authority", seq, int64(1))
		return err
	})
}

func testCountLineages(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		for n := range 6 {
			l := newLineage(store.Users, n)
			l.State, l.Forks = store.LineageActive, int64(n%2)
			if n == 5 {
				l.State = store.LineageEnded
			}
			if err := tx.AddLineage(ctx, l, nil); err != nil {
				return err
			}
		}
		return nil
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		n, err := r.CountLineages(ctx, store.Users, newLineage(store.Users, 2).NotAfter)
		same(t, "count", n, 3)
		if err != nil {
			return err
		}
		n, err = r.CountForked(ctx, store.Users, newLineage(store.Users, 1).NotAfter)
		same(t, "forked", n, 2)
		if err != nil {
			return err
		}
		n, err = r.CountLineages(ctx, store.Services, day(0))
		same(t, "of another authority", n, 0)
		return err
	})
}

// A lineage goes with its last certificate, and a renewal not before what it renews has expired.
func testPruneLineages(t *testing.T, d *db) {
	// Number 5 renews number 9, and expires sooner.
	d.issue(store.Services, newLineage(store.Services, 1).ID, 1, 9, 5)
	d.issue(store.Services, newLineage(store.Services, 2).ID, 2)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddLineage(ctx, newLineage(store.Services, 1), nil), tx.AddLineage(ctx, newLineage(store.Services, 2), nil),
			tx.AddLineage(ctx, newLineage(store.Users, 2), nil))
	})
	for _, step := range []struct {
		expired  int
		pruned   int
		lineages []int64
	}{{2, 2, []int64{1}}, {6, 0, []int64{1}}, {9, 2, nil}} {
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.PruneCertificates(ctx, store.Services, newCertificate("", 0, step.expired).NotAfter.Add(time.Second), 10)
			same(t, fmt.Sprint("pruned after ", step.expired), n, step.pruned)
			return err
		})
		d.view(func(ctx context.Context, r store.Reader) error {
			left, err := r.Lineages(ctx, store.Services, store.LineagePage{}, 0)
			var numbers []int64
			for _, l := range left {
				numbers = append(numbers, l.ID-1<<61)
			}
			same(t, fmt.Sprint("left after ", step.expired), numbers, step.lineages)
			return err
		})
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Lineage(ctx, store.Users, newLineage(store.Users, 2).ID)
		return err
	})
}

func testLineageFaults(t *testing.T, d *db) {
	faults := func() (found []store.LineageFault) {
		d.view(func(ctx context.Context, r store.Reader) error {
			found = nil
			return r.LineageFaults(ctx, day(0), func(f store.LineageFault) error {
				if f.Why == "" {
					t.Errorf("%+v says nothing", f)
				}
				f.Why = ""
				found = append(found, f)
				return nil
			})
		})
		return found
	}
	one, two := newLineage(store.Services, 1), newLineage(store.Services, 2)
	one.State = store.LineageActive
	two.Newest = serial(3)
	d.issue(store.Services, one.ID, 1)
	d.issue(store.Services, two.ID, 2, 3)
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := errors.Join(tx.AddLineage(ctx, one, nil), tx.AddLineage(ctx, two, nil)); err != nil {
			return err
		}
		_, err := tx.RevokeLineage(ctx, store.Services, two.ID, day(0), store.Revocation{RevokedAt: day(0)}, time.Hour)
		return err
	})
	same(t, "faults of what is right", faults(), []store.LineageFault(nil))

	stray := newLineage(store.Users, 3) // has no certificate
	one.State, one.Newest = store.LineageEnded, serial(2)
	d.issue(store.Services, 99, 7) // belongs to none
	d.update(func(ctx context.Context, tx store.Tx) error {
		c := newCertificate(store.Services, d.last(ctx, tx), 8)
		c.Renews, c.Lineage = serial(3), one.ID // renews that of another
		return errors.Join(tx.AddLineage(ctx, stray, nil), tx.PutLineage(ctx, one), tx.AddCertificate(ctx, c))
	})
	same(t, "faults", faults(), []store.LineageFault{
		{Authority: store.Services, Lineage: 99, Serial: serial(7)},
		{Authority: store.Services, Lineage: one.ID, Serial: serial(2)},
		{Authority: store.Users, Lineage: stray.ID},
		{Authority: store.Services, Lineage: one.ID, Serial: serial(8)},
		{Authority: store.Services, Lineage: one.ID, Serial: serial(1)},
		{Authority: store.Services, Lineage: one.ID, Serial: serial(8)},
	})
	stop := errors.New("stop")
	err := d.View(t.Context(), func(r store.Reader) error {
		return r.LineageFaults(t.Context(), day(0), func(store.LineageFault) error { return stop })
	})
	is(t, "stopping", err, stop)
}

// last is the newest CA of the services.
func (d *db) last(ctx context.Context, r store.Reader) int64 {
	cas, err := r.CAs(ctx, store.Services)
	if err != nil || len(cas) == 0 {
		d.t.Fatal("no CA: ", err)
	}
	return cas[len(cas)-1].ID
}

// Backups of earlier versions say only what each certificate renews.
func testLoadWithoutLineages(t *testing.T, d *db) {
	const links = 2500 // more than a batch
	rows := []store.Row{
		store.Authority{Name: store.Services, Role: store.RoleServices, CreatedAt: day(0)},
		store.Authority{Name: store.Users, Role: store.RoleUsers, CreatedAt: day(0)},
		ca2(newCA(store.Services, 1), 1), ca2(newCA(store.Users, 2), 2),
	}
	of := map[string]int64{} // the lineage that each certificate belongs to
	add := func(a store.AuthorityName, n int, renews *big.Int, lineage int64) store.Certificate {
		c := newCertificate(a, map[store.AuthorityName]int64{store.Services: 1, store.Users: 2}[a], n)
		c.NotBefore, c.NotAfter, c.IssuedAt = day(0), day(n%7+1), day(0).Add(time.Duration(n)*time.Second)
		c.Lineage, c.Renews = 0, renews
		of[string(a)+c.Serial.String()] = lineage
		rows = append(rows, c)
		return c
	}
	id := func(n int) int64 { return newCertificate("", 0, n).ID }
	// Two chains that are interleaved, one for users whose first certificate is not on record any more.
	for n := 0; n < 2*links; n += 2 {
		renews, usersRenew := (*big.Int)(nil), serial(1_000_000)
		if n > 0 {
			renews, usersRenew = serial(n-2), serial(n-1)
		}
		add(store.Services, n, renews, id(0))
		add(store.Users, n+1, usersRenew, id(1))
	}
	add(store.Services, 9001, serial(2), id(0)) // a fork
	// The order was lost: each comes before what it renews.
	for n := 9012; n > 9010; n-- {
		add(store.Services, n, serial(n-1), id(9010))
	}
	add(store.Services, 9010, nil, id(9010))
	add(store.Users, 9020, nil, id(9020))
	add(store.Users, 9021, nil, id(9021))
	add(store.Services, 9030, serial(9030), id(9030)) // renews itself, which is nonsense
	// A tree: of those that were not renewed the one that was issued last counts, wherever it stands.
	add(store.Services, 9040, nil, id(9040))
	add(store.Services, 9043, serial(9040), id(9040))
	add(store.Services, 9042, serial(9043), id(9040)) // by a clock that was set back
	add(store.Services, 9041, serial(9040), id(9040))
	superseded := newRevocation(store.Users, 9021)
	revoked := newRevocation(store.Users, 9020)
	revoked.Seq, superseded.Seq, revoked.Reason = 1, 2, 1
	rows = append(rows, revoked, superseded)

	if err := d.load(all(rows, nil)); err != nil {
		t.Fatal(err)
	}
	lineages := map[int64]store.Lineage{}
	for _, row := range d.rows() {
		switch v := row.(type) {
		case store.Certificate:
			if want := of[string(v.Authority)+v.Serial.String()]; v.Lineage != want {
				t.Fatalf("%s, certificate %d belongs to lineage %d, want %d", v.Authority, v.ID-1<<62, v.Lineage-1<<62, want-1<<62)
			}
		case store.Lineage:
			lineages[v.ID] = v
		}
	}
	want := func(a store.AuthorityName, first, newest int, renewals int64) store.Lineage {
		l := store.Lineage{Authority: a, ID: id(first), CreatedAt: day(0).Add(time.Duration(first) * time.Second), Subject: "CN=host", Profile: "server-client",
			State: store.LineageActive, Newest: serial(newest), NotAfter: day(newest%7 + 1), Renewals: renewals}
		if renewals > 0 {
			l.RenewedAt = day(0).Add(time.Duration(newest) * time.Second)
		}
		if a == store.Users {
			l.Role = store.RoleAdministrator
		}
		return l
	}
	chain, users, lost := want(store.Services, 0, 9001, links), want(store.Users, 1, 2*links-1, links-1), want(store.Services, 9010, 9012, 2)
	chain.NotAfter, users.NotAfter = day(7), day(7)
	tree := want(store.Services, 9040, 9042, 3)
	tree.NotAfter = day(9043%7 + 1)
	ended, withdrawn := want(store.Users, 9020, 9020, 0), want(store.Users, 9021, 9021, 0)
	ended.State, ended.EndedAt, ended.Reason, ended.Role = store.LineageEnding, revoked.RevokedAt, 1, ""
	same(t, "lineages", lineages, map[int64]store.Lineage{
		tree.ID: tree, chain.ID: chain, users.ID: users, lost.ID: lost, ended.ID: ended, withdrawn.ID: withdrawn, id(9030): want(store.Services, 9030, 9030, 0),
	})
}

func testEndedLineage(t *testing.T, d *db) {
	add := func(a store.AuthorityName, n, from, until int, state store.LineageState) store.Lineage {
		l := newLineage(a, n)
		l.CreatedAt, l.State, l.EndedAt = day(from), state, day(until)
		if state == store.LineageActive {
			l.EndedAt = time.Time{}
		}
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddLineage(ctx, l, nil) })
		return l
	}
	add(store.Services, 1, 0, 0, store.LineageActive)
	early := add(store.Services, 2, 1, 4, store.LineageEnded)
	late := add(store.Services, 3, 2, 7, store.LineageEnding)
	add(store.Users, 4, 1, 9, store.LineageEnded)
	for _, test := range []struct {
		at   int
		want store.Lineage
	}{{1, early}, {2, late}, {4, late}, {7, late}, {0, store.Lineage{}}, {8, store.Lineage{}}} {
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.EndedLineage(ctx, store.Services, early.Subject, day(test.at))
			same(t, "EndedLineage", got, test.want)
			if test.want.ID == 0 {
				is(t, "none", err, store.ErrNotFound)
				return nil
			}
			return err
		})
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.EndedLineage(ctx, store.Services, "CN=other", day(3))
		is(t, "of another subject", err, store.ErrNotFound)
		return nil
	})
}
