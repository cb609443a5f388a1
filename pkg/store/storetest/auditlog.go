package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// append stores entries and returns them with the Seq they were given.
func (d *db) append(entries ...audit.Entry) []audit.Entry {
	d.t.Helper()
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, e := range entries {
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return d.audit(audit.Filter{Newest: true, Limit: len(entries)}, true)
}

func (d *db) audit(f audit.Filter, reverse bool) (found []audit.Entry) {
	d.t.Helper()
	d.view(func(ctx context.Context, r store.Reader) error {
		return r.Audit(ctx, f, func(e audit.Entry) error {
			if reverse {
				found = append([]audit.Entry{e}, found...)
			} else {
				found = append(found, e)
			}
			return nil
		})
	})
	return found
}

func testAudit(t *testing.T, d *db) {
	if got := d.audit(audit.Filter{}, false); got != nil {
		t.Errorf("an empty log has %v", got)
	}
	want := []audit.Entry{newEntry(1), newEntry(2), {Time: day(3)}}
	got := d.append(want...)
	for i := range got {
		if i > 0 && got[i].Seq <= got[i-1].Seq || got[i].Seq <= 0 {
			t.Errorf("seq %d does not grow from 1", got[i].Seq)
		}
		if got[i].Leaf != int64(i) || len(got[i].Hash) != merkle.HashSize {
			t.Errorf("entry %d is leaf %d with hash %x", i, got[i].Leaf, got[i].Hash)
		}
		want[i].Seq, want[i].Leaf, want[i].Hash = got[i].Seq, got[i].Leaf, got[i].Hash
	}
	same(t, "entries", got, want)

	stop := errors.New("enough")
	n := 0
	err := d.View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{}, func(audit.Entry) error { n++; return stop })
	})
	is(t, "fn's error", err, stop)
	same(t, "calls of fn", n, 1)
}

func testAuditFilter(t *testing.T, d *db) {
	entries := make([]audit.Entry, 8)
	for i := range entries {
		entries[i] = newEntry(i)
	}
	entries[2].Action, entries[5].Action = audit.Revoke, audit.Revoke
	entries[4].Authority, entries[5].Authority = "", string(store.Users)
	entries[6].Time = day(1) // by a clock that was set back
	entries = d.append(entries...)
	pick := func(ns ...int) (picked []audit.Entry) {
		for _, n := range ns {
			picked = append(picked, entries[n])
		}
		return picked
	}
	for _, test := range []struct {
		name   string
		filter audit.Filter
		want   []audit.Entry
	}{
		{"all", audit.Filter{}, entries},
		{"newest first", audit.Filter{Newest: true, Limit: 3}, pick(7, 6, 5)},
		{"limit", audit.Filter{Limit: 2}, pick(0, 1)},
		{"limit beyond", audit.Filter{Limit: 20}, entries},
		{"after seq", audit.Filter{AfterSeq: entries[4].Seq}, pick(5, 6, 7)},
		{"after seq, newest first", audit.Filter{AfterSeq: entries[4].Seq, Newest: true}, pick(7, 6, 5)},
		{"after the last", audit.Filter{AfterSeq: entries[7].Seq}, nil},
		{"since", audit.Filter{Since: day(4)}, pick(4, 5, 7)},
		{"until", audit.Filter{Until: day(2)}, pick(0, 1, 6)},
		{"since and until", audit.Filter{Since: day(1), Until: day(3)}, pick(1, 2, 6)},
		{"since and until, newest first", audit.Filter{Since: day(1), Until: day(3), Newest: true}, pick(6, 2, 1)},
		{"until before since", audit.Filter{Since: day(3), Until: day(1)}, nil},
		{"a moment", audit.Filter{Since: day(3), Until: day(3).Add(time.Microsecond)}, pick(3)},
		{"authority", audit.Filter{Authority: string(store.Users)}, pick(5)},
		{"action", audit.Filter{Action: audit.Revoke}, pick(2, 5)},
		{"action and authority", audit.Filter{Action: audit.Revoke, Authority: string(store.Services)}, pick(2)},
		{"everything", audit.Filter{
			AfterSeq: entries[0].Seq, Since: day(0), Until: day(9), Authority: string(store.Services),
			Action: audit.Sign, Newest: true, Limit: 2,
		}, pick(7, 6)},
		{"nothing", audit.Filter{Action: audit.CreateCA}, nil},
	} {
		same(t, test.name, d.audit(test.filter, false), test.want)
	}
}

// What is about a lineage: what its holders have done, what was done to its certificates, and the request and the
// certificate that it began with.
func testAuditLineage(t *testing.T, d *db) {
	entries := make([]audit.Entry, 9)
	for i := range entries {
		entries[i] = newEntry(i)
		entries[i].Actor.Lineage, entries[i].Object = "1", audit.CertificateObject(2, serial(2)).Of(2)
	}
	entries[0].Object = audit.RequestObject(7)
	entries[1].Object = audit.CertificateObject(7, serial(3)) // as it was written before there was a column
	entries[3].Object = audit.CertificateObject(8, serial(4)).Of(7)
	entries[4].Actor.Lineage = "7"
	entries[5].Actor.Lineage, entries[5].Object, entries[5].Action = "7", audit.CertificateObject(9, serial(5)).Of(7), audit.Renew
	entries[6].Object = audit.LineageObject(7)
	entries[7].Object = audit.LineageObject(77)
	entries[8].Object = audit.SerialObject(serial(7))
	entries = d.append(entries...)
	pick := func(ns ...int) (picked []audit.Entry) {
		for _, n := range ns {
			picked = append(picked, entries[n])
		}
		return picked
	}
	for _, test := range []struct {
		name   string
		filter audit.Filter
		want   []audit.Entry
	}{
		{"all", audit.Filter{}, pick(0, 1, 3, 4, 5, 6)},
		{"newest first", audit.Filter{Newest: true}, pick(6, 5, 4, 3, 1, 0)},
		{"the last two", audit.Filter{Newest: true, Limit: 2}, pick(6, 5)},
		{"the first two", audit.Filter{Limit: 2}, pick(0, 1)},
		{"after seq", audit.Filter{AfterSeq: entries[3].Seq}, pick(4, 5, 6)},
		{"since and until", audit.Filter{Since: day(1), Until: day(5)}, pick(1, 3, 4)},
		{"action", audit.Filter{Action: audit.Renew}, pick(5)},
		{"object", audit.Filter{ObjectSerial: serial(4)}, pick(3)},
		{"another authority", audit.Filter{Authority: string(store.Users)}, nil},
	} {
		test.filter.Lineage = "7"
		same(t, test.name, d.audit(test.filter, false), test.want)
	}
	same(t, "none", d.audit(audit.Filter{Lineage: "5"}, false), []audit.Entry(nil))
}

// A log that is longer than what a store reads at once.
func testAuditPages(t *testing.T, d *db) {
	const count = 2500
	d.update(func(ctx context.Context, tx store.Tx) error {
		for n := range count {
			e := newEntry(n)
			if n%2 == 0 {
				e.Action = audit.Renew
			}
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	for name, test := range map[string]struct {
		filter audit.Filter
		want   int
	}{
		"all":                   {audit.Filter{}, count},
		"newest":                {audit.Filter{Newest: true}, count},
		"lineage":               {audit.Filter{Lineage: "l-1"}, count},
		"lineage, newest first": {audit.Filter{Lineage: "l-1", Newest: true, Limit: 1234}, 1234},
		"limit":                 {audit.Filter{Limit: 1234}, 1234},
		"one page":              {audit.Filter{Limit: 500}, 500},
		"action":                {audit.Filter{Action: audit.Renew, Newest: true}, count / 2},
		"time":                  {audit.Filter{Since: day(10), Until: day(2010)}, 2000},
		"time and limit":        {audit.Filter{Since: day(10), Newest: true, Limit: 1001}, 1001},
	} {
		var last int64
		n := 0
		d.view(func(ctx context.Context, r store.Reader) error {
			return r.Audit(ctx, test.filter, func(e audit.Entry) error {
				if n > 0 && (e.Seq < last) != test.filter.Newest {
					t.Errorf("%s: seq %d after %d", name, e.Seq, last)
				}
				n, last = n+1, e.Seq
				return nil
			})
		})
		same(t, name, n, test.want)
	}
	// fn may use the transaction; what it appends is not part of what it reads.
	n := 0
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.Audit(ctx, audit.Filter{Limit: 3000}, func(e audit.Entry) error {
			n++
			if _, err := tx.Counter(ctx, store.Services, store.CounterCA); err != nil {
				return err
			}
			return tx.AppendAudit(ctx, newEntry(9))
		})
	})
	same(t, "entries read while appending", n, count)
}
