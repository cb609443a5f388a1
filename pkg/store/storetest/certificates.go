package storetest

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/store"
)

func testCertificates(t *testing.T, d *db) {
	full := newCertificate(store.Services, d.ca(store.Services), 1)
	bare := newCertificate(store.HTTPS, d.ca(store.HTTPS), 2) // the daemon's own
	bare.Method, bare.SANs, bare.Renews, bare.CSR, bare.CSRDigest = store.Internal, nil, nil, nil, nil
	for _, c := range []store.Certificate{full, bare} {
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddCertificate(ctx, c) })
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Certificate(ctx, c.Authority, c.ID)
			same(t, "by id", got, c)
			if err != nil {
				return err
			}
			got, err = r.CertificateBySerial(ctx, c.Authority, c.Serial)
			same(t, "by serial", got, c)
			if err != nil {
				return err
			}
			_, err = r.Certificate(ctx, store.Users, c.ID)
			is(t, "by id in another authority", err, store.ErrNotFound)
			_, err = r.CertificateBySerial(ctx, store.Users, c.Serial)
			is(t, "by serial in another authority", err, store.ErrNotFound)
			return nil
		})
	}
}

func testCertificateUnique(t *testing.T, d *db) {
	services, users := d.ca(store.Services), d.ca(store.Users)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.AddCertificate(ctx, newCertificate(store.Services, services, 1))
	})
	n := 2
	for _, test := range []struct {
		name   string
		change func(*store.Certificate)
		want   error
	}{
		{"same id", func(c *store.Certificate) { c.ID = newCertificate(store.Services, services, 1).ID }, store.ErrExists},
		{"same serial", func(c *store.Certificate) { c.Serial = serial(1) }, store.ErrExists},
		{"same request", func(c *store.Certificate) { c.CSRDigest = id20('d', 1) }, nil},
		{"same key", func(c *store.Certificate) { c.KeyID = id20('q', 1) }, nil},
		{"another authority", func(c *store.Certificate) { *c = newCertificate(store.Users, users, 1) }, nil},
	} {
		c := newCertificate(store.Services, services, n)
		n++
		test.change(&c)
		err := d.Update(t.Context(), func(tx store.Tx) error { return tx.AddCertificate(t.Context(), c) })
		is(t, test.name, err, test.want)
	}
	for name, caID := range map[string]int64{"a CA of another authority": users, "no CA": users + 1} {
		err := d.Update(t.Context(), func(tx store.Tx) error {
			return tx.AddCertificate(t.Context(), newCertificate(store.Services, caID, n))
		})
		if err == nil || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a certificate signed by %s: error %v, want one of its own", name, err)
		}
	}
}

func testCertificateByCSR(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	digest := id20('d', 7)
	// In the order they are stored in, which is not that of their age, as after a restore.
	newest, oldest, twin := newCertificate(store.Services, caID, 3), newCertificate(store.Services, caID, 1), newCertificate(store.Services, caID, 2)
	twin.IssuedAt = newest.IssuedAt
	renewal := newCertificate(store.Services, caID, 4)
	for _, c := range []*store.Certificate{&newest, &twin, &oldest, &renewal} {
		c.CSRDigest, c.Renews = digest, nil
		if c == &renewal {
			c.Renews = twin.Serial
		}
		d.update(func(ctx context.Context, tx store.Tx) error { return tx.AddCertificate(ctx, *c) })
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.CertificateByCSR(ctx, store.Services, digest)
		same(t, "the newest that renews none", got, twin) // and of two of the same time, the later
		if err != nil {
			return err
		}
		_, err = r.CertificateByCSR(ctx, store.Users, digest)
		is(t, "in another authority", err, store.ErrNotFound)
		return nil
	})
}

func testCertificatePages(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	var all []store.Certificate
	for n := range 5 {
		all = append(all, newCertificate(store.Services, caID, n))
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, n := range []int{3, 0, 4, 1, 2} {
			if err := tx.AddCertificate(ctx, all[n]); err != nil {
				return err
			}
		}
		return nil
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			after int64
			limit int
			want  []store.Certificate
		}{
			{0, 2, all[:2]},
			{all[1].ID, 2, all[2:4]},
			{all[3].ID, 2, all[4:]},
			{all[4].ID, 2, nil},
			{0, 5, all},
		} {
			got, err := r.Certificates(ctx, store.Services, test.after, test.limit)
			if err != nil {
				return err
			}
			same(t, "page", got, test.want)
		}
		return nil
	})
}

func testCountCertificates(t *testing.T, d *db) {
	services, users := d.ca(store.Services), d.ca(store.Users)
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		for n := range 5 {
			err = errors.Join(err, tx.AddCertificate(ctx, newCertificate(store.Services, services, n)))
		}
		return errors.Join(err, tx.AddCertificate(ctx, newCertificate(store.Users, users, 0)))
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			a      store.AuthorityName
			before time.Time
			want   int
		}{
			{store.Services, time.Time{}, 5}, {store.Users, time.Time{}, 1}, {store.HTTPS, time.Time{}, 0},
			{store.Services, newCertificate(store.Services, 0, 2).NotAfter, 2}, {store.Services, day(1000), 5}, {store.Services, day(-1000), 0},
		} {
			n, err := r.CountCertificates(ctx, test.a, test.before)
			if err != nil {
				return err
			}
			same(t, "count", n, test.want)
		}
		return nil
	})
}

func testPruneCertificates(t *testing.T, d *db) {
	services, users := d.ca(store.Services), d.ca(store.Users)
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, n := range []int{4, 2, 1, 3, 5} {
			if err := tx.AddCertificate(ctx, newCertificate(store.Services, services, n)); err != nil {
				return err
			}
		}
		return tx.AddCertificate(ctx, newCertificate(store.Users, users, 1))
	})
	for _, step := range []struct {
		day, limit, want int
		left             []int64
	}{
		{1, 10, 0, []int64{1, 2, 3, 4, 5}}, // expiring at that very moment
		{5, 0, 0, []int64{1, 2, 3, 4, 5}},
		{5, 2, 2, []int64{3, 4, 5}}, // the ones that expired first
		{5, 2, 2, []int64{5}},
		{5, 2, 0, []int64{5}},
	} {
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.PruneCertificates(ctx, store.Services, newCertificate(store.Services, 0, step.day).NotAfter, step.limit)
			same(t, "pruned", n, step.want)
			return err
		})
		d.view(func(ctx context.Context, r store.Reader) error {
			certificates, err := r.Certificates(ctx, store.Services, 0, 100)
			var left []int64
			for _, c := range certificates {
				left = append(left, c.ID-1<<62)
			}
			same(t, "left", left, step.left)
			return err
		})
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Certificate(ctx, store.Users, newCertificate(store.Users, users, 1).ID)
		return err
	})
}

func testKeyInUse(t *testing.T, d *db) {
	c := newCertificate(store.Users, d.ca(store.Users), 1)
	q := newRequest(store.Users, 2)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AddCertificate(ctx, c), tx.AddRequest(ctx, q))
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			name  string
			a     store.AuthorityName
			keyID []byte
			want  bool
		}{
			{"of a certificate", store.Users, c.KeyID, true},
			{"of a request", store.Users, q.KeyID, true},
			{"of none", store.Users, id20('q', 3), false},
			{"of another authority's", store.Services, c.KeyID, false},
			{"no key", store.Users, nil, false},
		} {
			got, err := r.KeyInUse(ctx, test.a, test.keyID)
			if err != nil {
				return err
			}
			same(t, test.name, got, test.want)
		}
		return nil
	})
}

func testTimes(t *testing.T, d *db) {
	for name, test := range map[string]struct{ in, want time.Time }{
		"microseconds":    {day(1), day(1)},
		"nanoseconds":     {day(1).Add(999), day(1)},
		"another zone":    {day(1).In(time.FixedZone("X", 3600)), day(1)},
		"before 1970":     {time.Date(1950, 1, 2, 3, 4, 5, 1999, time.UTC), time.Date(1950, 1, 2, 3, 4, 5, 1000, time.UTC)},
		"no expiry (RFC)": {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"zero":            {time.Time{}, time.Time{}},
	} {
		q := newRequest(store.Services, 1)
		q.ReceivedAt = test.in
		d.update(func(ctx context.Context, tx store.Tx) error {
			if err := tx.AddRequest(ctx, q); err != nil {
				return err
			}
			got, err := tx.Request(ctx, q.Authority, q.ID)
			if got.ReceivedAt != test.want { // not Equal: the zone counts
				t.Errorf("%s: got %v, want %v", name, got.ReceivedAt, test.want)
			}
			return errors.Join(err, tx.DeleteRequest(ctx, q.Authority, q.ID))
		})
	}
}

func testSerials(t *testing.T, d *db) {
	largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 160), big.NewInt(1))
	for _, n := range []*big.Int{
		big.NewInt(0), big.NewInt(1), big.NewInt(127), big.NewInt(128), big.NewInt(256),
		new(big.Int).Lsh(big.NewInt(1), 159), largest,
	} {
		v := newRevocation(store.Services, 1)
		v.Serial = n
		d.update(func(ctx context.Context, tx store.Tx) error {
			if _, err := tx.AddRevocation(ctx, v); err != nil {
				return err
			}
			got, err := tx.Revocation(ctx, v.Authority, n)
			same(t, n.String(), got.Serial, n)
			return err
		})
	}
	for name, n := range map[string]*big.Int{
		"nil":      nil,
		"negative": big.NewInt(-1),
		"21 bytes": new(big.Int).Lsh(big.NewInt(1), 160),
	} {
		err := d.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Revocation(t.Context(), store.Services, n)
			is(t, "looking for "+name, err, store.ErrNotFound)
			_, err = tx.CertificateBySerial(t.Context(), store.Services, n)
			is(t, "looking for "+name, err, store.ErrNotFound)
			v := newRevocation(store.Services, 1)
			v.Serial = n
			_, err = tx.AddRevocation(t.Context(), v)
			return err
		})
		if err == nil {
			t.Errorf("serial %s was stored", name)
		}
	}
}

// What one kind of database cannot keep, none keeps: rows move from one to the other.
func testTextsRefused(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	for name, text := range map[string]string{"NUL": "a\x00b", "not UTF-8": "a\xffb", "a surrogate": "\xed\xa0\x80"} {
		for kind, write := range map[string]func(context.Context, store.Tx) error{
			"subject of a request": func(ctx context.Context, tx store.Tx) error {
				q := newRequest(store.Services, 1)
				q.Subject = text
				return tx.AddRequest(ctx, q)
			},
			"subject of a certificate": func(ctx context.Context, tx store.Tx) error {
				c := newCertificate(store.Services, caID, 1)
				c.Subject = text
				return tx.AddCertificate(ctx, c)
			},
			"detail of an entry": func(ctx context.Context, tx store.Tx) error {
				e := newEntry(1)
				e.Detail = text
				return tx.AppendAudit(ctx, e)
			},
			"setting": func(ctx context.Context, tx store.Tx) error {
				return tx.PutSetting(ctx, store.Services, "x", text)
			},
			"name of a counter": func(ctx context.Context, tx store.Tx) error {
				_, err := tx.AddCounter(ctx, store.Services, text, 1)
				return err
			},
		} {
			before := d.contents()
			var inside error
			err := d.Update(t.Context(), func(tx store.Tx) error {
				inside = write(t.Context(), tx)
				return inside
			})
			if err == nil || errors.Is(err, store.ErrUnavailable) || inside == nil {
				t.Errorf("%s, %s: error %v, inside %v", kind, name, err, inside)
			}
			same(t, "contents", d.contents(), before)
		}
		// One that is refused can be dealt with.
		d.update(func(ctx context.Context, tx store.Tx) error {
			if tx.PutSetting(ctx, store.Services, "x", text) == nil {
				t.Errorf("%s was stored", name)
			}
			return tx.AppendAudit(ctx, newEntry(1))
		})
	}
}

func testTexts(t *testing.T, d *db) {
	for _, text := range []string{"", "O'Brien; DROP TABLE request; --", "Ünïcödé 🔑", "a\tb\nc", "?$1%"} {
		q := newRequest(store.Services, 1)
		q.Subject, q.SANs, q.PEM = text, []string{text, `"`}, []byte(text+"\x00\xff")
		d.update(func(ctx context.Context, tx store.Tx) error {
			if err := tx.AddRequest(ctx, q); err != nil {
				return err
			}
			got, err := tx.Request(ctx, q.Authority, q.ID)
			same(t, "request", got, q)
			return errors.Join(err, tx.DeleteRequest(ctx, q.Authority, q.ID))
		})
	}
}
