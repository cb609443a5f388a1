package ca

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// subjects are those of all generations that there ever were, oldest first.
func (w *world) subjects(name store.AuthorityName) (all [][]byte) {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r store.Reader) error {
		rows, err := r.CAs(w.ctx, name)
		for _, row := range rows {
			crt, err := x509.ParseCertificate(row.Certificate)
			if err != nil {
				return err
			}
			if row.Anchor != nil {
				anchor, err := x509.ParseCertificate(row.Anchor)
				if err != nil || string(anchor.RawSubject) != string(crt.RawSubject) {
					w.t.Errorf("generation %d and the self-signed certificate beside it have two names, %v", row.ID, err)
				}
			}
			all = append(all, crt.RawSubject)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) rollOver(a *Authority, times int) {
	w.t.Helper()
	for want := len(w.subjects(a.name)) + times; len(w.subjects(a.name)) < want; {
		w.clock.Advance(span / 4)
		if err := a.Maintain(w.ctx); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestSubjectOfGenerations: the first CA certificate has the name that it always had, the others have names of their
// own, and nobody gets a certificate for any of them, not even for that of the next.
func TestSubjectOfGenerations(t *testing.T) {
	for name, row := range map[string]func(*setup){
		"as the daemon calls it": func(*setup) {},
		"of a long name":         func(s *setup) { s.Netloc = strings.Repeat("x", 200) + ".example.org:8009" },
		"with a serial number": func(s *setup) {
			s.row.Subject = mustSubject(t, "O=Example,CN=CA,SERIALNUMBER="+strings.Repeat("9", 64))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			row(&cfg)
			a := w.open(cfg)
			first, err := a.subject()
			if err != nil {
				t.Fatal(err)
			}
			w.rollOver(a, 4)
			all := w.subjects(store.Services)
			if string(all[0]) != string(first) {
				t.Errorf("the first is called %s", pki.SubjectString(all[0]))
			}
			for i := range all {
				for j := range i {
					if pki.SameName(all[i], all[j]) {
						t.Errorf("generations %d and %d are both called %s", j+1, i+1, pki.SubjectString(all[i]))
					}
				}
				if len(all[i]) > len(first)+50 {
					t.Errorf("the name grows: %s", pki.SubjectString(all[i]))
				}
			}
			signer := w.phasesSigner(a)
			for _, g := range w.links(a) {
				crt := w.parse([]byte(g.NewPEM))
				if !strings.Contains(pki.SubjectString(crt.RawSubject), crt.NotBefore.UTC().Format("20060102")+"-"+hex.EncodeToString(crt.SubjectKeyId[:8])) {
					t.Errorf("%s is the name of the CA %x from %s on", crt.Subject, crt.SubjectKeyId, crt.NotBefore)
				}
			}
			next, err := pki.GenerationSubject(first, w.clock.Now().Add(2*span), newKey(t).Public())
			if err != nil {
				t.Fatal(err)
			}
			for _, subject := range append(all, next) {
				csr := csrFor(t, newKey(t), x509.CertificateRequest{RawSubject: subject})
				if _, err := wired(a).Submit(w.ctx, anonymous, csr); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "certificate authority") {
					t.Errorf("somebody asks for %s: %v", pki.SubjectString(subject), err)
				}
			}
			leaf, _ := w.enrol(a, "host")
			if string(leaf.RawIssuer) != string(signer.RawSubject) {
				t.Errorf("%s is the issuer, and %s signs", leaf.Issuer, signer.Subject)
			}
		})
	}
}

func (w *world) phasesSigner(a *Authority) *x509.Certificate {
	w.t.Helper()
	st, err := a.current(w.ctx, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return st.signer.crt
}

// TestSubjectOfEveryRole: users, the daemon's own certificates, roots, and what is below them.
func TestSubjectOfEveryRole(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	for _, a := range []*Authority{w.open(config(store.Users)), w.open(config(store.HTTPS)), lab, root} {
		for range 400 {
			if len(w.subjects(a.name)) > 2 {
				break
			}
			w.clock.Advance(a.spans.Leaf / 4)
			w.maintainAll(f)
			if err := a.Maintain(w.ctx); err != nil {
				t.Fatal(err)
			}
		}
		all := w.subjects(a.name)
		if len(all) < 3 || pki.SameName(all[0], all[1]) || pki.SameName(all[1], all[2]) || pki.SameName(all[0], all[2]) {
			t.Errorf("%s: %d generations, or two with one name", a.name, len(all))
		}
	}
}

// TestSubjectsOfTwoDaemons: of two daemons that make a generation at once, one succeeds, and a generation that was set
// aside has left no name behind that another key could have.
func TestSubjectsOfTwoDaemons(t *testing.T) {
	w := newWorld(t)
	daemons := []*Authority{w.open(config(store.Services)), w.open(config(store.Services))}
	w.clock.Advance(2 * span)
	var wait sync.WaitGroup
	for _, a := range daemons {
		wait.Go(func() {
			if err := a.Maintain(w.ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if all := w.subjects(store.Services); len(all) != 2 || pki.SameName(all[0], all[1]) {
		t.Errorf("%d generations", len(all))
	}
	// What was made while the clock was ahead is disowned when a successor is due, and another one is made instead.
	for _, at := range []time.Duration{40 * span, 4*span + day} {
		w.clock.Set(epoch.Add(at))
		if err := daemons[0].Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.subjects(store.Services)); n != 4 {
		t.Errorf("%d generations", n)
	}
	seen := map[string]bool{}
	for _, subject := range w.subjects(store.Services) {
		if seen[string(subject)] {
			t.Errorf("two keys are called %s", pki.SubjectString(subject))
		}
		seen[string(subject)] = true
	}
}

// TestStrictFollowers: clients of a version that follows only to the same subject are not left behind, as long as
// there are any.
func TestStrictFollowers(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	distinct := func() bool {
		all := w.subjects(store.Services)
		return string(all[len(all)-1]) != string(all[len(all)-2])
	}
	a.NoteStrictFollower(true)
	w.clock.Advance(2*span - day)
	a.NoteStrictFollower(true)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	// The daemon that rolls over is not the one that was asked.
	w.restart()
	a = w.open(config(store.Services))
	w.rollOver(a, 1)
	if distinct() {
		t.Error("those who refuse another subject are left behind")
	}
	w.rollOver(a, 1)
	if !distinct() {
		t.Error("nobody was seen for a span who would refuse another subject")
	}
	a.NoteStrictFollower(true)
	w.clock.Advance(span + 1)
	w.rollOver(a, 1)
	if !distinct() {
		t.Error("the last one was seen a span ago")
	}
	// An operator knows better. Strangers do not change that, and holders do.
	visited := func(holder bool) {
		t.Helper()
		want := len(w.subjects(store.Services)) + 1
		for len(w.subjects(store.Services)) < want {
			w.clock.Advance(span / 4)
			a.NoteStrictFollower(holder)
			if err := a.Maintain(w.ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	visited(true)
	if distinct() {
		t.Error("a holder is left behind")
	}
	visited(false)
	if distinct() {
		t.Error("where there are such clients, one that only follows is left behind")
	}
	if err := GiveOwnSubjects(w.ctx, w.store, w.clock, store.Services); err != nil {
		t.Fatal(err)
	}
	a = w.open(config(store.Services))
	visited(false)
	if !distinct() {
		t.Error("a stranger keeps a CA certificate from having a subject of its own")
	}
	visited(true)
	if distinct() {
		t.Error("a holder is left behind, as an operator did not know of it")
	}
}

// TestStrictFollowersOfEarlierVersions: where an earlier version has made CA certificates, there may be clients of it,
// until none was seen for a span.
func TestStrictFollowersOfEarlierVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		known    int // generations of the earlier version
		distinct bool
	}{"which rolls over at once": {2, false}, "which has time": {1, true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.open(config(store.Services))
			if tt.known > 1 {
				w.clock.Advance(2*span - day)
			}
			err := w.store.Update(w.ctx, func(tx store.Tx) error { return tx.DeleteSetting(w.ctx, store.Services, store.SettingStrictFollower) })
			if err != nil {
				t.Fatal(err)
			}
			a := w.open(config(store.Services))
			w.rollOver(a, 1)
			all := w.subjects(store.Services)
			if got := string(all[0]) != string(all[1]); got != tt.distinct {
				t.Errorf("with a subject of its own: %v", got)
			}
		})
	}
}
