package ca

import (
	"errors"
	"strings"
	"testing"

	"cauase/pkg/store"
)

func (w *world) directory() *Directory {
	w.t.Helper()
	d, err := OpenDirectory(w.ctx, w.store, w.clock, func(row store.Authority) Config {
		cfg := config(store.Services).Config
		if row.Role == store.RoleDaemon {
			cfg.Host = "ca.example.org"
		}
		return cfg
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func names(d *Directory) string {
	var all []string
	for _, a := range d.All() {
		all = append(all, string(a.Name()))
	}
	return strings.Join(all, " ")
}

func (w *world) refresh(d *Directory, want bool) {
	w.t.Helper()
	changed, err := d.Refresh(w.ctx)
	if err != nil || changed != want {
		w.t.Errorf("changed %v, %v", changed, err)
	}
}

// TestDirectoryFollowsTheStore: two daemons on one store, an operator beside them.
func TestDirectoryFollowsTheStore(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.AuthorityName{store.Users, store.Services, store.HTTPS} {
		w.put(config(name).row)
	}
	d, other := w.directory(), w.directory()
	if got := names(d); got != "cas cau https" {
		t.Fatal(got)
	}
	w.refresh(d, false)

	// A child is opened after its parent, whatever their names.
	w.put(below(nil, "a-lab").row)
	w.put(rootSetup(t).row)
	for _, one := range []*Directory{d, other} {
		w.refresh(one, true)
		if got := names(one); got != "a-lab cas cau home-root https" {
			t.Fatalf("%s; failed: %v", got, one.Failed())
		}
		w.refresh(one, false)
	}
	lab, _ := d.Authority("a-lab")
	issued := w.issue(lab, "host")
	theirs, _ := other.Authority("a-lab")
	if got, err := theirs.Certificate(w.ctx, issued.ID); err != nil || len(got.Chain) != 1 || w.verify(got, w.roots(theirs)) != nil {
		t.Errorf("the other daemon: %v, %v", got, err)
	}

	// What changes in a row counts from the next look on; others stay as they are.
	cas, _ := d.Authority(store.Services)
	row := lab.Row()
	row.RetiredAt = w.clock.Now()
	w.put(row)
	w.refresh(d, true)
	lab, _ = d.Authority("a-lab")
	if _, err := lab.Submit(w.ctx, anonymous, request(t, csrNamed(t, newKey(t), "late")), Asked{}); !errors.Is(err, ErrRetired) {
		t.Errorf("a retired authority: %v", err)
	}
	if same, _ := d.Authority(store.Services); same != cas {
		t.Error("an authority that has not changed was opened anew")
	}
	// Long after its last CA has expired it is no trouble to anybody.
	w.clock.Advance(800 * day)
	if err := d.Maintain(w.ctx); err != nil {
		t.Error(err)
	}
	w.refresh(d, false)
}

// TestDirectoryWithoutOne: an authority that cannot be opened is none of the others' business.
func TestDirectoryWithoutOne(t *testing.T) {
	w := newWorld(t)
	w.put(config(store.Services).row)
	orphan := below(nil, "lab").row
	w.put(orphan)
	d := w.directory()
	if got := names(d); got != "cas" {
		t.Fatal(got)
	}
	if err := d.Failed()["lab"]; !errors.Is(err, ErrNoSigner) || !strings.Contains(err.Error(), "home-root") {
		t.Errorf("%v", err)
	}
	w.put(rootSetup(t).row)
	w.refresh(d, true)
	if got := names(d); got != "cas home-root lab" || len(d.Failed()) != 0 {
		t.Errorf("%s, failed %v", got, d.Failed())
	}
}

func TestOpenOne(t *testing.T) {
	w := newWorld(t)
	w.put(rootSetup(t).row)
	w.put(below(nil, "lab").row)
	cfg := func(store.Authority) Config { return config(store.Services).Config }
	lab, err := OpenOne(w.ctx, w.store, w.clock, "lab", cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.verify(w.issue(lab, "host"), w.roots(lab)); err != nil {
		t.Error(err)
	}
	if _, err := OpenOne(w.ctx, w.store, w.clock, "nope", cfg); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}
