package manage

import (
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// A backup that a released version has taken restores: see testdata/migration.
func TestRestoreReleased(t *testing.T) {
	t.Run("layout 1", func(t *testing.T) { restoreReleased(t, "layout1.rows.caucased", "admin.pem", 3) })
	t.Run("layout 2", func(t *testing.T) { restoreReleased(t, "layout2.rows.caucased", "layout2.admin.pem", 7) })
	t.Run("layout 3", func(t *testing.T) { restoreReleased(t, "layout3.rows.caucased", "layout3.admin.pem", 7) })
	t.Run("layout 4", func(t *testing.T) { restoreReleased(t, "layout4.rows.caucased", "layout4.admin.pem", 7) })
	t.Run("layout 5", func(t *testing.T) { restoreReleased(t, "layout5.rows.caucased", "layout5.admin.pem", 7) })
	t.Run("layout 7", func(t *testing.T) { restoreReleased(t, "layout7.rows.caucased", "layout7.admin.pem", 7) })
	t.Run("layout 6", func(t *testing.T) { restoreReleased(t, "layout6.rows.caucased", "layout6.admin.pem", 7) })
}

func restoreReleased(t *testing.T, backup, key string, authorities int) {
	const dir = "../../testdata/migration/"
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: dir + key})
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewFake(pair.Crt.NotBefore.Add(time.Hour))
	st := newStore(t)
	in := Restoration{Backup: sealedFile(dir+backup, pair.Key), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("admin"))}
	done, err := Restore(t.Context(), st, clk, in)
	if err != nil {
		t.Fatal(err)
	}
	if done.Revoked != pki.FormatSerial(pair.Crt.SerialNumber) {
		t.Errorf("%s was revoked", done.Revoked)
	}
	var rows []store.Authority
	states := map[store.CAState]int{}
	err = st.View(t.Context(), func(r store.Reader) (err error) {
		if rows, err = r.Authorities(t.Context()); err != nil {
			return err
		}
		for _, a := range rows {
			cas, err := r.CAs(t.Context(), a.Name)
			if err != nil {
				return err
			}
			for _, ca := range cas {
				states[ca.State]++
				if (ca.State == store.CAUsable) != (ca.Key.InRow() != nil) {
					t.Errorf("CA %d of %s is %s, has a key: %t", ca.ID, a.Name, ca.State, ca.Key.InRow() != nil)
				}
			}
		}
		return nil
	})
	checkNames(t, st)
	if err != nil || len(rows) != authorities {
		t.Errorf("%d authorities, %v", len(rows), err)
	}
	if states[store.CAErased] == 0 || states[store.CAUsable] == 0 || states[store.CADisowned] != 0 {
		t.Errorf("states of CAs: %v", states)
	}
}

// checkNames looks whether a store knows whose the names of its certificates are.
func checkNames(t *testing.T, st store.Store) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) error {
		if unnamed, err := r.Unnamed(t.Context()); err != nil || unnamed {
			t.Errorf("there are lineages without names: %t, %v", unnamed, err)
		}
		found, err := r.LineagesNamed(t.Context(), store.Services, "web.example.org", 10)
		if len(found) != 1 || found[0].Subject != "CN=web" {
			t.Errorf("%+v have the name", found)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
