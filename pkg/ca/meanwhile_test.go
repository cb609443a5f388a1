package ca

import (
	"errors"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// TestSuccessionAroundARevokedCA revokes one CA certificate of three, and sees whether the statements lead
// on without a gap, which clients insist on, to the newest, and never to the revoked one.
func TestSuccessionAroundARevokedCA(t *testing.T) {
	for revoked, name := range []string{"oldest", "middle", "newest"} {
		t.Run(name, func(t *testing.T) {
			w, f := newWorld(t), family{}
			w.join(f, rootSetup(t))
			s := below(f, "lab")
			s.ChainRetention = 1000 * day
			lab := w.join(f, s)
			for range 2 {
				w.clock.Advance(190 * day)
				w.maintainAll(f)
			}
			before := lab.cas.Load().list
			if len(before) != 3 {
				t.Fatalf("%d generations", len(before))
			}
			if err := lab.RevokeCA(w.ctx, operator, before[revoked].crt.SubjectKeyId, store.KeyCompromise); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(190 * day)
			w.maintainAll(f)
			fresh := w.open(s) // what a restarted daemon serves
			links, err := fresh.Succession(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			known := map[string]bool{}
			last := ""
			for _, link := range links {
				e, err := envelope.Parse(link)
				if err != nil {
					t.Fatal(err)
				}
				payload, err := envelope.DecodeLink(e.Payload())
				if err != nil {
					t.Fatal(err)
				}
				if last != "" && payload.OldPEM != last {
					t.Error("a gap")
				}
				known[payload.OldPEM], last = true, payload.NewPEM
			}
			if newest := fresh.cas.Load().newest().trusted(); last != string(pki.EncodeCertificatePEM(newest.Raw)) {
				t.Error("the statements do not lead to the newest")
			}
			for i, g := range before {
				if revoked == 2 && i == 2 {
					continue // it had vouched for nobody
				}
				// Whoever knows nothing newer than what came before it must not come to trust the revoked one.
				leads := !(revoked == 1 && i == 0)
				if leads != known[string(pki.EncodeCertificatePEM(g.trusted().Raw))] {
					t.Errorf("generation %d: leads on: %t, not %t", i, !leads, leads)
				}
			}
		})
	}
}

// TestChainByACAOfAnotherDaemon has one daemon give out what another has signed since the first last looked.
func TestChainByACAOfAnotherDaemon(t *testing.T) {
	w, f := newWorld(t), family{}
	w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	other := w.open(below(f, "lab"))
	w.clock.Advance(190 * day)
	if err := lab.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(94 * day)
	issued := w.issue(lab, "host")
	got, err := other.Certificate(w.ctx, issued.ID)
	if err != nil || len(got.Chain) != 1 || !got.Chain[0].Equal(issued.Chain[0]) {
		t.Errorf("chain of %d, %v", len(got.Chain), err)
	}
}

// TestRetiredMeanwhile has an authority retired by an operator's command while a daemon has its old row.
func TestRetiredMeanwhile(t *testing.T) {
	w, f := newWorld(t), family{}
	s := rootSetup(t)
	root := w.join(f, s)
	lab := w.join(f, below(f, "lab"))
	crt, _ := w.enrol(lab, "host")
	retire := func(row store.Authority) {
		row.RetiredAt = w.clock.Now()
		err := w.store.Update(w.ctx, func(tx store.Tx) error {
			if err := tx.PutAuthority(w.ctx, row); err != nil {
				return err
			}
			_, err := tx.AddCounter(w.ctx, row.Name, store.CounterCA, 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	retire(lab.Row())
	req, err := pki.ParseRequest(csrNamed(t, newKey(t), "host"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Replace(w.ctx, operator, crt, req); !errors.Is(err, ErrRetired) {
		t.Errorf("issued after it was retired: %v", err)
	}
	retire(root.Row())
	csr, err := pki.ParseRequest(csrNamed(t, newKey(t), "another-ca"))
	if err != nil {
		t.Fatal(err)
	}
	draft := profile.CA{
		Subject: csr.CSR.RawSubject, PublicKey: csr.CSR.PublicKey,
		NotBefore: w.clock.Now(), NotAfter: w.clock.Now().Add(90 * 24 * time.Hour),
	}
	if _, err := root.CertifyCA(w.ctx, operator, csr, draft, "http://ca.example.org"); !errors.Is(err, ErrRetired) {
		t.Errorf("a retired root certifies a CA: %v", err)
	}
}

// TestRowsChangedByHand has rows in the store that no command writes.
func TestRowsChangedByHand(t *testing.T) {
	w, f := newWorld(t), family{}
	f["home-root"] = w.open(config("home-root")) // of services
	if _, err := Open(w.ctx, w.store, w.clock, below(f, "lab").row, below(f, "lab").Config); !errors.Is(err, ErrNoSigner) {
		t.Errorf("an authority that is no root certifies a CA: %v", err)
	}
	misnamed := config("../x")
	if _, err := Open(w.ctx, w.store, w.clock, misnamed.row, misnamed.Config); !errors.Is(err, store.ErrInvalidAuthority) {
		t.Errorf("a name that is no path: %v", err)
	}
}
