package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"runtime"
	"slices"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// rows collects all rows of a store.
func (d *db) rows() (all []store.Row) {
	d.t.Helper()
	d.view(func(ctx context.Context, r store.Reader) error {
		all = nil
		return r.Rows(ctx, func(row store.Row) error { all = append(all, row); return nil })
	})
	return all
}

// load fills a store.
func (d *db) load(rows iter.Seq2[store.Row, error]) error {
	ctx := d.t.Context()
	return d.Update(ctx, func(tx store.Tx) error { return tx.Load(ctx, rows) })
}

// all gives rows, and then err unless it is nil.
func all(rows []store.Row, err error) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// fill writes rows of every kind, and not in the order of Rows.
func (d *db) fill() {
	d.t.Helper()
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		try := func(e error) { err = errors.Join(err, e) }
		get := func(n int64, e error) int64 { try(e); return n }

		try(tx.PutSetting(ctx, store.Users, store.SettingAutoApprove, "1"))
		try(tx.PutSetting(ctx, store.Services, "b", "2"))
		try(tx.PutSetting(ctx, store.Services, "B", ""))
		try(tx.PutSetting(ctx, store.Services, "_", "Ünïcödé 🔑"))
		services, users := get(tx.AddCA(ctx, newCA(store.Services, 1))), get(tx.AddCA(ctx, newCA(store.Users, 2)))
		erased := get(tx.AddCA(ctx, newCA(store.Services, 3)))
		try(tx.EraseCAKey(ctx, store.Services, erased, store.CAErased))
		for _, n := range []int{2, 1} {
			try(tx.PutAuthority(ctx, newAuthority(n)))
			get(tx.AddSignoff(ctx, newSignoff(newAuthority(n).Name, n)))
		}
		for _, a := range []store.AuthorityName{store.Services, ""} {
			try(tx.PutKEK(ctx, newKEK(a, 1)))
		}
		for _, id := range []int64{erased, services} {
			try(tx.PutCRL(ctx, store.CRL{Authority: store.Services, CAID: id, Number: 5, ThisUpdate: day(1), NextUpdate: day(2), Pruned: 1, Signature: []byte{1}}))
		}
		for _, n := range []int{3, 1, 2} {
			try(tx.AddRequest(ctx, newRequest(store.Services, n)))
			try(tx.AddRequest(ctx, newRequest(store.HTTPS, n)))
		}
		for _, n := range []int{2, 1} {
			try(tx.PutApproval(ctx, newApproval(store.HTTPS, 1, n)))
			try(tx.PutApproval(ctx, newApproval(store.Services, 3-n, 3)))
		}
		for _, n := range []int{3, 1, 2} {
			try(tx.PutRejection(ctx, newRejection(store.Users, n)))
			try(tx.PutRejection(ctx, newRejection(store.Services, n)))
		}
		for _, n := range []int{2, 1} {
			try(tx.AddLineage(ctx, newLineage(store.Users, n), nil))
			try(tx.AddLineage(ctx, newLineage(store.Services, n), newNames(n)))
			try(tx.PutAdoption(ctx, newAdoption(store.Services, n)))
			try(tx.AddDelivery(ctx, newDelivery(n)))
		}
		for _, n := range []int{6, 4, 5} {
			try(tx.AddCertificate(ctx, newCertificate(store.Users, users, n)))
			try(tx.AddCertificate(ctx, newCertificate(store.Services, services, n)))
		}
		bare := newCertificate(store.Services, erased, 7)
		bare.Serial, bare.SANs, bare.Renews, bare.CSR, bare.CSRDigest = new(big.Int), nil, nil, nil, nil
		try(tx.AddCertificate(ctx, bare))
		for _, n := range []int{4, 2, 3} {
			get(tx.AddRevocation(ctx, newRevocation(store.Users, n)))
			get(tx.AddRevocation(ctx, newRevocation(store.Services, n)))
		}
		// A hole at the front, and one at the end that later numbers must not fill.
		_, e := tx.PruneRevocations(ctx, store.Services, newRevocation(store.Services, 2).KeepUntil.Add(1e3), 1)
		try(e)
		for _, n := range []int{3, 1, 2} {
			try(tx.PutInvitation(ctx, newInvitation(store.Users, n)))
			try(tx.PutInvitation(ctx, newInvitation(store.Services, n)))
		}
		for _, name := range []string{"b", "a", "_", "A"} {
			get(tx.AddCounter(ctx, store.Services, name, 3))
		}
		get(tx.AddCounter(ctx, "", "of the daemon", 1))
		for _, n := range []int{2, 1, 3} { // not in the order of time
			try(tx.AppendAudit(ctx, newEntry(n)))
		}
		return err
	})
}

// kindsOf names the types of rows, each once as long as they follow each other.
func kindsOf(rows []store.Row) (kinds []string) {
	for _, row := range rows {
		kinds = append(kinds, fmt.Sprintf("%T", row))
	}
	return slices.Compact(kinds)
}

func testRows(t *testing.T, d *db) {
	d.fill()
	rows := d.rows()
	same(t, "kinds", kindsOf(rows), []string{"store.Authority", "store.CA", "store.Signoff", "store.KEK", "store.CRL", "store.Request", "store.Approval", "store.Rejection", "store.Lineage", "store.Adoption",
		"store.Certificate", "store.Revocation", "store.Invitation", "store.Delivery", "store.Counter", "store.Setting", "store.Log", "store.AuditEntry"})
	var order []string
	for _, row := range rows {
		switch v := row.(type) {
		case store.Authority:
			order = append(order, fmt.Sprintf("authority %s", v.Name))
		case store.Signoff:
			order = append(order, fmt.Sprintf("signoff %s", v.Authority))
		case store.CA:
			order = append(order, fmt.Sprintf("ca %s key=%t", v.Authority, v.Key.Ref != nil))
		case store.KEK:
			order = append(order, fmt.Sprintf("kek %s", v.Authority))
		case store.CRL:
			order = append(order, fmt.Sprintf("crl %s", v.Authority))
		case store.Request:
			order = append(order, fmt.Sprintf("csr %s %d", v.Authority, v.ID-1<<62))
		case store.Approval:
			order = append(order, fmt.Sprintf("approval %s %d %d", v.Authority, v.Request-1<<62, v.Lineage-1<<61))
		case store.Rejection:
			order = append(order, fmt.Sprintf("rejection %s %d", v.Authority, v.ID-1<<62))
		case store.Lineage:
			order = append(order, fmt.Sprintf("lineage %s %d", v.Authority, v.ID-1<<61))
		case store.Adoption:
			order = append(order, fmt.Sprintf("adoption %s %d", v.Authority, v.Lineage-1<<61))
		case store.Delivery:
			order = append(order, fmt.Sprintf("delivery %d", v.Attempts))
		case store.Certificate:
			order = append(order, fmt.Sprintf("crt %s %d", v.Authority, v.ID-1<<62))
		case store.Revocation:
			order = append(order, fmt.Sprintf("revocation %s %d", v.Authority, v.Seq))
		case store.Invitation:
			order = append(order, fmt.Sprintf("invitation %s %d", v.Authority, v.Used-1))
		case store.Counter:
			order = append(order, fmt.Sprintf("counter %s %s", v.Authority, v.Name))
		case store.Setting:
			order = append(order, fmt.Sprintf("setting %s %s", v.Authority, v.Name))
		case store.AuditEntry:
			order = append(order, v.Time.Format("audit 02"))
		}
	}
	same(t, "order", order, []string{
		"authority a-01", "authority a-02",
		"ca cas key=true", "ca cau key=true", "ca cas key=false", "signoff a-01", "signoff a-02", "kek ", "kek cas", "crl cas", "crl cas",
		"csr cas 1", "csr cas 2", "csr cas 3", "csr https 1", "csr https 2", "csr https 3",
		"approval cas 1 3", "approval cas 2 3", "approval https 1 1", "approval https 1 2",
		"rejection cas 1", "rejection cas 2", "rejection cas 3", "rejection cau 1", "rejection cau 2", "rejection cau 3",
		"lineage cas 1", "lineage cas 2", "lineage cau 1", "lineage cau 2",
		"adoption cas 1", "adoption cas 2",
		"crt cau 6", "crt cas 6", "crt cau 4", "crt cas 4", "crt cau 5", "crt cas 5", "crt cas 7",
		"revocation cas 1", "revocation cas 3", "revocation cau 1", "revocation cau 2", "revocation cau 3",
		"invitation cas 1", "invitation cas 2", "invitation cas 3", "invitation cau 1", "invitation cau 2", "invitation cau 3",
		"delivery 2", "delivery 1",
		"counter  authorities", "counter  of the daemon", "counter cas A", "counter cas _", "counter cas a", "counter cas b",
		"setting cas B", "setting cas _", "setting cas b", "setting cau auto_approve_count",
		"audit 06", "audit 05", "audit 07",
	})
}

func testLoad(t *testing.T, d *db) {
	d.fill()
	rows := d.rows()
	other := d.another()
	if err := other.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.load(all(rows, nil)); err != nil {
		t.Fatal(err)
	}
	same(t, "rows", other.rows(), rows)
	other.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.CertificateBySerial(ctx, store.Services, serial(4))
		same(t, "certificate", got, rows[36])
		_, missing := r.CertificateBySerial(ctx, store.HTTPS, serial(4))
		is(t, "certificate of another authority", missing, store.ErrNotFound)
		return err
	})
}

// What is written after Load is younger than all that was loaded.
func testLoadThenWork(t *testing.T, d *db) {
	d.fill()
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.Audit(ctx, audit.Filter{Newest: true, Limit: 1}, func(e audit.Entry) error { return nil })
	})
	rows := d.rows()
	other := d.another()
	if err := other.load(all(rows, nil)); err != nil {
		t.Fatal(err)
	}
	other.update(func(ctx context.Context, tx store.Tx) error {
		id, err := tx.AddCA(ctx, newCA(store.Services, 20))
		if last := rows[4].(store.CA).ID; err != nil || id <= last {
			t.Errorf("CA %d after %d, %v", id, last, err)
		}
		seq, err := tx.AddRevocation(ctx, newRevocation(store.Services, 21))
		if err != nil || seq != 4 {
			t.Errorf("revocation %d after 3, %v", seq, err)
		}
		seq, err = tx.AddRevocation(ctx, newRevocation(store.HTTPS, 21))
		if err != nil || seq != 1 {
			t.Errorf("revocation %d is the first, %v", seq, err)
		}
		// The same request once more: the later certificate is the newer one.
		c := newCertificate(store.Users, rows[3].(store.CA).ID, 6)
		c.ID, c.Serial, c.Renews = 1, serial(22), nil
		if err := tx.AddCertificate(ctx, c); err != nil {
			return err
		}
		got, err := tx.CertificateByCSR(ctx, store.Users, c.CSRDigest)
		same(t, "newest certificate", got, c)
		if err != nil {
			return err
		}
		n, err := tx.AddCounter(ctx, store.Services, "a", 1)
		same(t, "counter", n, int64(4))
		if err != nil {
			return err
		}
		if err := tx.DeleteRequest(ctx, store.Services, newRequest(store.Services, 1).ID); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, newEntry(23))
	})
	last := other.rows()
	before, after := rows[len(rows)-1].(store.AuditEntry), last[len(last)-1].(store.AuditEntry)
	if after.Seq <= before.Seq || !after.Time.Equal(day(23)) {
		t.Errorf("audit entry %d after %d", after.Seq, before.Seq)
	}
}

func testLoadTwice(t *testing.T, d *db) {
	ca := newCA(store.Services, 1)
	for name, write := range map[string]func(context.Context, store.Tx) error{
		"an authority": func(ctx context.Context, tx store.Tx) error { return tx.PutAuthority(ctx, newAuthority(1)) },
		"a CA":         func(ctx context.Context, tx store.Tx) error { _, err := tx.AddCA(ctx, ca); return err },
		"a lineage": func(ctx context.Context, tx store.Tx) error {
			return tx.AddLineage(ctx, newLineage(store.Users, 1), nil)
		},
		"a request": func(ctx context.Context, tx store.Tx) error { return tx.AddRequest(ctx, newRequest(store.Users, 1)) },
		"a revocation": func(ctx context.Context, tx store.Tx) error {
			_, err := tx.AddRevocation(ctx, newRevocation(store.Users, 1))
			return err
		},
		"a counter": func(ctx context.Context, tx store.Tx) error {
			_, err := tx.AddCounter(ctx, store.Users, "x", 0)
			return err
		},
		"a setting": func(ctx context.Context, tx store.Tx) error { return tx.PutSetting(ctx, "", "x", "") },
		"an entry":  func(ctx context.Context, tx store.Tx) error { return tx.AppendAudit(ctx, newEntry(1)) },
		"loaded": func(ctx context.Context, tx store.Tx) error {
			return tx.Load(ctx, all([]store.Row{store.Counter{Name: "x"}}, nil))
		},
	} {
		ctx := t.Context()
		undo := errors.New("undo")
		err := d.Update(ctx, func(tx store.Tx) error {
			if err := write(ctx, tx); err != nil {
				return err
			}
			err := tx.Load(ctx, func(func(store.Row, error) bool) { t.Errorf("%s: rows are asked for", name) })
			is(t, name, err, store.ErrExists)
			return undo
		})
		is(t, name, err, undo)
	}
	if err := d.load(all([]store.Row{ca2(ca, 1)}, nil)); err != nil {
		t.Fatal("what was taken back counts: ", err)
	}
}

func ca2(ca store.CA, id int64) store.CA { ca.ID = id; return ca }

func testLoadFails(t *testing.T, d *db) {
	d.fill()
	rows := d.rows()
	other := d.another()
	broken := errors.New("broken")
	stranger := newCertificate(store.Services, 999, 50)
	ofOther := newCertificate(store.HTTPS, rows[2].(store.CA).ID, 50)
	for _, test := range []struct {
		name string
		rows iter.Seq2[store.Row, error]
		want error // nil: any
	}{
		{"error at once", all(nil, broken), broken},
		{"error in the middle", all(rows[:23], broken), broken},
		{"error at the end", all(rows, broken), broken},
		{"authority twice", all(append(rows[:1:1], rows[0]), nil), store.ErrExists},
		{"sign-off twice", all(append(rows[:6:6], rows[5]), nil), store.ErrExists},
		{"row twice", all(append(rows[:23:23], rows[22]), nil), store.ErrExists},
		{"CA twice", all(append(rows[:3:3], rows[2]), nil), store.ErrExists},
		{"revocation twice", all(append(rows[:28:28], rows[27]), nil), store.ErrExists},
		{"entry twice", all(append(rows, rows[len(rows)-1]), nil), store.ErrExists},
		{"certificate of no CA", all(append(rows[:5:5], stranger), nil), nil},
		{"certificate of another authority's CA", all(append(rows[:5:5], ofOther), nil), nil},
		{"no row", all([]store.Row{nil}, nil), nil},
		{"a panic", func(func(store.Row, error) bool) { panic("rows") }, nil},
	} {
		if err := other.load(test.rows); err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
		if left := other.rows(); len(left) != 0 {
			t.Errorf("%s: %d rows are left", test.name, len(left))
		}
	}
	if err := other.load(all(rows, nil)); err != nil {
		t.Error("after all that:", err)
	}
}

func testRowsStop(t *testing.T, d *db) {
	d.fill()
	count := len(d.rows())
	ctx := t.Context()
	for stop := range count {
		n, broken := 0, errors.New("broken")
		err := d.View(ctx, func(r store.Reader) error {
			err := r.Rows(ctx, func(store.Row) error {
				if n++; n > stop {
					return broken
				}
				return nil
			})
			// The Reader goes on.
			if _, e := r.CAs(ctx, store.Services); e != nil {
				t.Error(e)
			}
			return err
		})
		if !errors.Is(err, broken) || n != stop+1 {
			t.Fatalf("stopped after %d: error %v after %d rows", stop, err, n)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	err := d.View(ctx, func(r store.Reader) error {
		return r.Rows(ended, func(store.Row) error { cancel(); return nil })
	})
	is(t, "a context that ends", err, context.Canceled)
}

// A snapshot: what is written while it is read is not in it, and does not wait for it.
func testRowsSnapshot(t *testing.T, d *db) {
	d.fill()
	want := d.rows()
	var got []store.Row
	d.view(func(ctx context.Context, r store.Reader) error {
		n := 0
		return r.Rows(ctx, func(row store.Row) error {
			got = append(got, row)
			n++
			return d.Update(ctx, func(tx store.Tx) error {
				if _, err := tx.AddRevocation(ctx, newRevocation(store.Services, 100+n)); err != nil {
					return err
				}
				if _, err := tx.AddCounter(ctx, store.Services, "a", 1); err != nil {
					return err
				}
				return tx.AppendAudit(ctx, newEntry(100+n))
			})
		})
	})
	same(t, "rows", got, want)
	if now := d.rows(); len(now) != len(want)+2*len(want) {
		t.Errorf("%d rows, want %d", len(now), 3*len(want))
	}
}

func testRowsOwnWrites(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := tx.PutSetting(ctx, store.Users, "x", "y"); err != nil {
			return err
		}
		var got []store.Row
		err := tx.Rows(ctx, func(row store.Row) error { got = append(got, row); return nil })
		same(t, "rows", got, []store.Row{store.Setting{Authority: store.Users, Name: "x", Value: "y"}})
		return err
	})
}

// Neither way do all rows have to be in memory at once.
func testRowsMany(t *testing.T, d *db) {
	const rows, size = 5000, 16 << 10 // 80 MB
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	look := func(n int) {
		if n%1000 == 999 {
			most = max(most, heap())
		}
	}
	err := d.load(func(yield func(store.Row, error) bool) {
		if !yield(ca2(newCA(store.Services, 1), 1), nil) {
			return
		}
		for n := range rows {
			c := newCertificate(store.Services, 1, n)
			c.IssuedAt = day(0).Add(time.Duration(n) * time.Second)
			c.NotBefore, c.NotAfter = c.IssuedAt, c.IssuedAt
			c.DER = make([]byte, size)
			c.DER[n] = 1
			if look(n); !yield(c, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	d.view(func(ctx context.Context, r store.Reader) error {
		n = 0
		return r.Rows(ctx, func(row store.Row) error {
			if c, ok := row.(store.Certificate); ok {
				if len(c.DER) != size || c.DER[n] != 1 {
					return fmt.Errorf("row %d is another one", n)
				}
				look(n)
				n++
			}
			return nil
		})
	})
	same(t, "rows", n, rows)
	if most > before+16<<20 {
		t.Errorf("%d MiB of memory became %d", before>>20, most>>20)
	}
}

// Operations that have a transaction each, as they believe, happen together or not at all.
func testWithin(t *testing.T, d *db) {
	ctx := t.Context()
	put := func(s store.Store, name string) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.PutSetting(ctx, store.Users, name, "") })
	}
	get := func(s store.Store, name string) error {
		return s.View(ctx, func(r store.Reader) error { _, err := r.Setting(ctx, store.Users, name); return err })
	}
	broken := errors.New("broken")
	for _, end := range []error{broken, nil} {
		err := d.Update(ctx, func(tx store.Tx) error {
			within := store.Within(tx)
			return errors.Join(put(within, "a"), put(within, "b"), get(within, "a"), within.Ping(ctx), within.Close(), end)
		})
		is(t, "together", err, end)
		for _, name := range []string{"a", "b"} {
			if found := get(d, name); (found == nil) != (end == nil) {
				t.Errorf("after %v, %s: %v", end, name, found)
			}
		}
	}
	is(t, "the error of an operation", store.Within(nil).Update(ctx, func(store.Tx) error { return broken }), broken)
}
