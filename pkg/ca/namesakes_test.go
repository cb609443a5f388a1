package ca

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/store"
)

// asking is a request for names as it is shown to a user.
func asking(t *testing.T, dns ...string) []Submitted {
	return []Submitted{{Text: csrFor(t, newKey(t), x509.CertificateRequest{DNSNames: dns}), Pending: true}}
}

// However many lineages have a name, few are read, and those that go on longest are told of.
func TestNamesakesAreBounded(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	now := w.clock.Now()
	add := func(from, to int, state store.LineageState, name string) {
		t.Helper()
		err := w.store.Update(w.ctx, func(tx store.Tx) error {
			for n := from; n < to; n++ {
				l := store.Lineage{Authority: a.name, ID: int64(n), CreatedAt: now.Add(time.Duration(n) * time.Second), Subject: fmt.Sprint("CN=", n),
					State: state, Newest: big.NewInt(int64(n)), NotAfter: now.Add(time.Duration(n) * time.Hour)}
				if err := tx.AddLineage(w.ctx, l, []store.Name{{Kind: "DNS", Text: name, Under: "example"}}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(dns ...string) Namesakes {
		t.Helper()
		found, err := a.Namesakes(w.ctx, asking(t, dns...))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0]
	}
	add(1, 4, store.LineageActive, "web.example")
	if got := ask("WEB.example"); len(got.List) != 3 || got.More || got.List[0].Subject != "CN=3" {
		t.Errorf("of three: %+v", got)
	}
	add(10, 310, store.LineageActive, "web.example")
	if got := ask("web.example"); len(got.List) != maxNamesakes || !got.More || got.List[0].Subject != "CN=309" || got.List[4].Subject != "CN=305" {
		t.Errorf("of hundreds: %+v", got)
	}
	// Those that have ended are not told of, but that not all were looked at is.
	add(1000, 1100, store.LineageEnded, "web.example")
	if got := ask("web.example"); len(got.List) != 0 || !got.More {
		t.Errorf("behind those that have ended: %+v", got)
	}
	if got := ask("*.example"); len(got.List) != 0 || !got.More {
		t.Errorf("of a domain: %+v", got)
	}
	var many []string
	for n := range 30 {
		many = append(many, fmt.Sprintf("h%d.other", n))
	}
	if got := ask(many...); !got.More {
		t.Error("a request with more names than are looked up has no namesakes, it says")
	}
	if got := ask(many[:maxNamesLooked]...); got.More || len(got.List) != 0 {
		t.Errorf("names that nobody has: %+v", got)
	}
}

// What is issued is known by its names at once, a renewal goes by those of its lineage, and nothing else is left behind.
func TestNamesOfWhatIsIssued(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "web")
	named := func() []store.Named {
		t.Helper()
		var found []store.Named
		err := w.store.View(w.ctx, func(r store.Reader) (err error) {
			if unnamed, err := r.Unnamed(w.ctx); err != nil || unnamed {
				t.Errorf("unnamed: %t, %v", unnamed, err)
			}
			found, err = r.LineagesNamed(w.ctx, a.name, "web.example.org", 10)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := named()
	if len(before) != 1 || before[0].Kind != "DNS" || before[0].Subject != "CN=web" || !before[0].NotAfter.Equal(crt.NotAfter) {
		t.Fatalf("%+v", before)
	}
	w.clock.Advance(time.Hour)
	renewed, _ := w.successor(a, crt, key)
	if after := named(); len(after) != 1 || after[0].Lineage != before[0].Lineage || !after[0].NotAfter.Equal(renewed.NotAfter) {
		t.Errorf("after a renewal: %+v", after)
	}
}

// A daemon of a version before knows of no names. Those of what it has issued are found out by the others.
func TestNamesOfOtherVersions(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	w.put(config(store.Services).row)
	crt, _ := w.enrol(a, "web")
	err := w.store.Update(w.ctx, func(tx store.Tx) error {
		row, err := tx.CertificateBySerial(w.ctx, a.name, crt.SerialNumber)
		if err != nil {
			return err
		}
		row.ID, row.Lineage, row.Serial = 77, 77, big.NewInt(77)
		if err := tx.AddLineage(w.ctx, store.FirstOf(row, store.RoleServices), nil); err != nil {
			return err
		}
		return tx.AddCertificate(w.ctx, row)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.directory().Maintain(w.ctx); err != nil {
		t.Error(err)
	}
	found, err := a.Namesakes(w.ctx, asking(t, "web.example.org"))
	if err != nil || len(found[0].List) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}
