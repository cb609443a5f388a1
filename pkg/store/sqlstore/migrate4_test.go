package sqlstore

import (
	"context"
	"crypto/x509"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/store"
)

func layout4() releasedLayout {
	l := releasedLayout{name: "layout4", tables: layout3().with(map[string]string{"rejection": "authority, id"})}
	l.check = func(t *testing.T, r released, old map[string][]record) {
		t.Helper()
		l.same(t, r, old)
		if names := r.indices(t, "lineage"); !slices.Contains(names, "lineage_unnamed") {
			t.Errorf("indices: %q", names)
		}
		r.checkSharedNames(t)
	}
	table := func(t *testing.T, r released) {
		r.in(t, true, func(ctx context.Context, tx *sql.Tx) error { return addNameTable(ctx, r.dialect, tx) })
	}
	batch := func(t *testing.T, r released, after place, commit bool) (last place) {
		r.in(t, commit, func(ctx context.Context, tx *sql.Tx) (err error) {
			var n int
			if last, n, err = nameIn(r.dialect, tx).batch(ctx, after, 5); n != 5 {
				t.Errorf("a batch of %d", n)
			}
			return err
		})
		return last
	}
	l.interrupted = map[string]func(*testing.T, released){
		"with the table there": table,
		"within a batch":       func(t *testing.T, r released) { table(t, r); batch(t, r, place{}, false) },
		"after two batches":    func(t *testing.T, r released) { table(t, r); batch(t, r, batch(t, r, place{}, true), true) },
		"with an index that was not completed": func(t *testing.T, r released) {
			table(t, r)
			r.fail(t, "lineage", "lineage_unnamed", "(state)")
		},
		"before the commit": func(t *testing.T, r released) {
			r.in(t, false, func(ctx context.Context, tx *sql.Tx) error { return changeToNames(ctx, r.dialect, tx) })
		},
	}
	l.meanwhile = map[string]func(*testing.T, released){
		"with everything prepared, beside a daemon": func(t *testing.T, r released) {
			if err := prepareNames(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			r.issue(t, "CN=gateway")
			// One that it prunes takes its names along.
			for _, statement := range []string{`DELETE FROM certificate WHERE subject = 'CN=apps'`, `DELETE FROM lineage WHERE subject = 'CN=apps'`} {
				if _, err := r.db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	return l
}

// issue has a daemon of layout 4 add a lineage with a certificate like that of a subject.
func (r released) issue(t *testing.T, subject string) {
	t.Helper()
	for _, kind := range []*store.Kind{lineages.kind, certificates.kind} {
		var known []string
		for _, c := range kind.Columns {
			if c.Since <= 4 { // which dumps of that layout were
				known = append(known, c.Name)
			}
		}
		columns := strings.Join(known, ", ")
		values := strings.NewReplacer(" id,", " id + 1,", " serial,", " key_id,", " lineage", " lineage + 1").Replace(columns)
		done, err := r.db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %[1]s WHERE subject = '%[4]s'`, kind.Table, columns, values, subject))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := done.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%d rows, %v", n, err)
		}
	}
}

// checkNames looks whether all lineages have the names that crypto/x509 sees in their certificates.
func (r released) checkNames(t *testing.T) {
	t.Helper()
	crts := r.records(t, "certificate", "seq")
	r.view(t, func(ctx context.Context, s store.Reader) error {
		if unnamed, err := s.Unnamed(ctx); err != nil || unnamed {
			t.Errorf("there are lineages without names: %t, %v", unnamed, err)
		}
		for _, row := range crts {
			crt, err := x509.ParseCertificate(row["der"].([]byte))
			if err != nil {
				return err
			}
			var want []string
			if cn := crt.Subject.CommonName; cn != "" {
				want = append(want, "CN "+strings.ToLower(cn))
			}
			for _, name := range crt.DNSNames {
				want = append(want, "DNS "+strings.ToLower(name))
			}
			for _, ip := range crt.IPAddresses {
				want = append(want, "IP "+ip.String())
			}
			for _, uri := range crt.URIs {
				want = append(want, "URI "+uri.String())
			}
			for _, address := range crt.EmailAddresses {
				at := strings.Index(address, "@")
				want = append(want, "email "+address[:at]+strings.ToLower(address[at:]))
			}
			names, err := s.LineageNames(ctx, store.AuthorityName(row["authority"].(string)), row["lineage"].(int64))
			if err != nil {
				return err
			}
			var got []string
			for _, n := range names {
				got = append(got, n.Kind+" "+n.Text)
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) || len(got) == 0 {
				t.Errorf("%v: names %q, want %q", row["subject"], got, want)
			}
		}
		return nil
	})
	lost := r.records(t, "lineage_name n WHERE NOT EXISTS (SELECT 1 FROM lineage l WHERE l.authority = n.authority AND l.id = n.lineage)", "lineage")
	if len(lost) > 0 {
		t.Errorf("names of lineages that are gone: %v", lost)
	}
}

// checkSharedNames looks whether those are found who share a name under subjects of their own.
func (r released) checkSharedNames(t *testing.T) {
	t.Helper()
	r.view(t, func(ctx context.Context, s store.Reader) error {
		found, err := s.LineagesNamed(ctx, store.Services, "shared.example.org", 10)
		var subjects []string
		for _, n := range found {
			subjects = append(subjects, n.Subject+" "+string(n.State))
		}
		slices.Sort(subjects)
		if got := slices.Compact(subjects); !slices.Equal(got, []string{"CN=former ended", "CN=gateway active", "CN=portal active"}) {
			t.Errorf("%q have the name", got)
		}
		return err
	})
}

// A daemon of layout 4 that goes on after the layout has changed leaves lineages behind whose names are not known, and those are found.
func TestNamesOfEarlierDaemons(t *testing.T) {
	migrated(t, "layout4", func(t *testing.T, r released) {
		db := mustOpen(t, r.dsn)
		r.issue(t, "CN=gateway")
		update(t, db, func(ctx context.Context, h tx) error {
			if unnamed, err := h.Unnamed(ctx); err != nil || !unnamed {
				t.Errorf("unnamed: %t, %v", unnamed, err)
			}
			n, err := h.NameLineages(ctx, 10)
			if n != 1 {
				t.Errorf("%d lineages got names", n)
			}
			return err
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		r.checkNames(t)
	})
}
