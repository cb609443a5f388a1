package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A slowCustody keeps keys of which a test holds up one use: that of a device that takes its time.
type slowCustody struct {
	keys.Row
	hold     atomic.Pointer[held]
	generate atomic.Bool // hold up the making of a key instead of a signature
	during   func()      // called at each signature, when set
	erased   atomic.Int64
}

// A held use of a key waits until it is let go.
type held struct{ entered, letGo chan struct{} }

// next has the next use of a key held up.
func (c *slowCustody) next() *held {
	h := &held{make(chan struct{}), make(chan struct{})}
	c.hold.Store(h)
	return h
}

func (c *slowCustody) wait() {
	if h := c.hold.Swap(nil); h != nil {
		close(h.entered)
		<-h.letGo
	}
}

func (c *slowCustody) Generate(ctx context.Context, purpose keys.Purpose, keyType pki.KeyType) (keys.Ref, crypto.Signer, error) {
	if c.generate.Load() {
		c.wait()
	}
	ref, key, err := c.Row.Generate(ctx, purpose, keyType)
	return ref, slowSigner{key, c}, err
}

func (c *slowCustody) Erase(ctx context.Context, ref keys.Ref) error {
	c.erased.Add(1)
	return c.Row.Erase(ctx, ref)
}

func (c *slowCustody) Open(ctx context.Context, purpose keys.Purpose, ref keys.Ref) (crypto.Signer, error) {
	key, err := c.Row.Open(ctx, purpose, ref)
	return slowSigner{key, c}, err
}

type slowSigner struct {
	crypto.Signer
	custody *slowCustody
}

func (s slowSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if !s.custody.generate.Load() {
		s.custody.wait()
	}
	if during := s.custody.during; during != nil {
		during()
	}
	return s.Signer.Sign(random, digest, opts)
}

// Whatever a slow device is asked for, only those who need its answer wait for it.
func TestSlowSignerDelaysItsCallerOnly(t *testing.T) {
	type site struct {
		*world
		users, services *Authority
		custody         *slowCustody
		crt             renewable
		pending         []int64
	}
	submit := func(s *site, name string) int64 {
		t.Helper()
		made, err := s.services.Submit(s.ctx, anonymous, request(t, csrNamed(t, newKey(t), name)), Asked{})
		if err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	for _, c := range []struct {
		name        string
		autoApprove int
		due         bool // a new CA certificate is
		generate    bool
		lists       bool // lists wait for each other
		operate     func(s *site) error
	}{
		{name: "a renewal", operate: func(s *site) error { return s.crt.renew(s.world, s.services) }},
		{name: "an approval", operate: func(s *site) error {
			_, err := s.services.Approve(s.ctx, alice, s.pending[0], Approval{})
			return err
		}},
		{name: "an automatic approval", autoApprove: 10, operate: func(s *site) error {
			made, err := s.services.Submit(s.ctx, anonymous, request(t, csrNamed(t, newKey(t), "auto")), Asked{})
			if err == nil && made.Issued == nil {
				err = fmt.Errorf("it waits for a user")
			}
			return err
		}},
		{name: "a revocation list", lists: true, operate: func(s *site) error {
			if err := s.services.RevokeSerial(s.ctx, alice, big.NewInt(1), Revoking{}); err != nil {
				return err
			}
			_, err := s.services.CRLs(s.ctx)
			return err
		}},
		{name: "a voucher", operate: func(s *site) error {
			cas, err := s.users.CACertificates(s.ctx)
			if err != nil {
				return err
			}
			_, err = s.services.VouchHTTPS(s.ctx, cas)
			return err
		}},
		{name: "a new CA certificate", due: true, operate: func(s *site) error { return s.services.rollOver(s.ctx, s.clock.Now(), false) }},
		{name: "a new CA key", due: true, generate: true, operate: func(s *site) error { return s.services.rollOver(s.ctx, s.clock.Now(), false) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &site{world: newWorld(t), custody: &slowCustody{}}
			ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
			defer cancel()
			s.ctx = ctx
			s.users = s.open(config(store.Users))
			cfg := config(store.Services)
			cfg.Custody, cfg.row.MaxPending = s.custody, 20
			s.services = s.open(cfg)
			if c.due {
				s.clock.Advance(2*93*day - time.Hour)
			}
			user, host := s.renewable(s.users, "alice"), s.renewable(s.services, "host")
			s.crt = s.renewable(s.services, "other")
			for i := range 3 {
				s.pending = append(s.pending, submit(s, fmt.Sprint("pending", i)))
			}
			if _, err := s.services.CRLs(s.ctx); err != nil {
				t.Fatal(err)
			}
			cfg.row.AutoApprove = c.autoApprove
			s.services = s.open(cfg)
			if c.due {
				s.clock.Advance(2 * time.Hour)
			}
			auto := c.autoApprove != 0
			s.custody.generate.Store(c.generate)

			hold := s.custody.next()
			done := make(chan error, 1)
			go func() { done <- c.operate(s) }()
			select {
			case <-hold.entered:
			case err := <-done:
				t.Fatalf("no key was used: %v", err)
			}
			for name, op := range map[string]func() error{
				"renewal by another authority": func() error { return user.renew(s.world, s.users) },
				"renewal":                      func() error { return host.renew(s.world, s.services) },
				"approval": func() error {
					_, err := s.services.Approve(s.ctx, alice, s.pending[1], Approval{})
					return err
				},
				"rejection":  func() error { return s.services.Reject(s.ctx, alice, s.pending[2], nil, "") },
				"submission": func() error { submit(s, "late"); return nil },
				"revocation": func() error { return s.services.RevokeSerial(s.ctx, alice, big.NewInt(2), Revoking{}) },
				"reads": func() error {
					_, err := s.services.Pending(s.ctx)
					if err == nil {
						_, err = s.services.CACertificates(s.ctx)
					}
					if err == nil {
						_, err = s.services.Succession(s.ctx)
					}
					return err
				},
				"lists": func() error {
					if c.lists {
						return nil
					}
					_, err := s.services.CRLs(s.ctx)
					return err
				},
			} {
				if auto && name == "submission" {
					continue
				}
				if err := op(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			select {
			case err := <-done:
				t.Errorf("it did not wait for the device: %v", err)
			default:
			}
			close(hold.letGo)
			if err := <-done; err != nil {
				t.Error(err)
			}
			s.listed(s.services, 2)
		})
	}
}

// A renewable is a certificate with its key.
type renewable struct {
	t testing.TB
	e *envelope.Envelope
}

func (w *world) renewable(a *Authority, name string) renewable {
	w.t.Helper()
	crt, key := w.enrol(a, name)
	return renewable{t: w.t, e: renewalEnvelope(w.t, crt, key, csrNamed(w.t, newKey(w.t), name))}
}

func (r renewable) renew(w *world, a *Authority) error {
	_, err := wired(a).Renew(w.ctx, anonymous, r.e)
	return err
}

// listed checks that every list of a has an entry for these serials.
func (w *world) listed(a *Authority, serials ...int64) {
	w.t.Helper()
	lists, err := a.CRLs(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lists {
		crl, err := x509.ParseRevocationList(l.DER())
		if err != nil {
			w.t.Fatal(err)
		}
		got := map[int64]bool{}
		for _, e := range crl.RevokedCertificateEntries {
			got[e.SerialNumber.Int64()] = true
		}
		for _, serial := range serials {
			if !got[serial] {
				w.t.Errorf("the list %d of %x lacks %d", l.Number, l.KeyID, serial)
			}
		}
	}
}

// What is revoked while a list is signed is in the list that is served, also when that happens each time.
func TestListsThatLoseEveryRace(t *testing.T) {
	for _, races := range []int64{1, crlRaces, crlRaces + 5} {
		t.Run(fmt.Sprint(races), func(t *testing.T) {
			w := newWorld(t)
			cfg := config(store.Services)
			custody := &slowCustody{}
			cfg.Custody = custody
			a := w.open(cfg)
			var revoked []int64
			custody.during = func() {
				// In the end it is made while nobody can revoke: from there it would wait for itself.
				if n := int64(len(revoked)) + 1; n <= min(races, crlRaces) {
					revoked = append(revoked, n)
					if err := a.RevokeSerial(w.ctx, alice, big.NewInt(n), Revoking{}); err != nil {
						t.Error(err)
					}
				}
			}
			before := w.made()
			w.listed(a, 1)
			w.listed(a, revoked...)
			if made := w.made() - before; made != 1 {
				t.Errorf("%d lists were made, want 1", made)
			}
		})
	}
}

// Two daemons that make the same list agree on one of them.
func TestTwoSignOneList(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	custody := &slowCustody{}
	cfg.Custody = custody
	slow, quick := w.open(cfg), w.open(config(store.Services))
	if err := quick.RevokeSerial(w.ctx, alice, big.NewInt(7), Revoking{}); err != nil {
		t.Fatal(err)
	}
	before := w.made()
	hold := custody.next()
	done := make(chan []List, 1)
	go func() {
		lists, err := slow.CRLs(w.ctx)
		if err != nil {
			t.Error(err)
		}
		done <- lists
	}()
	<-hold.entered
	first, err := quick.CRLs(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	close(hold.letGo)
	if second := <-done; len(second) != 1 || !bytes.Equal(first[0].DER(), second[0].DER()) {
		t.Error("they serve different lists")
	}
	if made := w.made() - before; made != 1 {
		t.Errorf("%d lists were made, want 1", made)
	}
}

// A CA certificate that another daemon was faster to make is the one; whoever waits for a list gives up
// when its time is over.
func TestTwoMakeOneGeneration(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	custody := &slowCustody{}
	cfg.Custody = custody
	slow, quick := w.open(cfg), w.open(config(store.Services))
	w.clock.Advance(2*93*day + time.Hour)
	hold := custody.next()
	done := make(chan error, 1)
	go func() { done <- slow.Maintain(w.ctx) }()
	<-hold.entered
	if err := quick.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	close(hold.letGo)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Authority{slow, quick} {
		if cas, err := a.CACertificates(w.ctx); err != nil || len(cas) != 2 {
			t.Errorf("%d CA certificates, %v", len(cas), err)
		}
	}
	if erased := custody.erased.Load(); erased != 1 {
		t.Errorf("%d keys were erased, want the one that was made for nothing", erased)
	}
}

// Whoever needs the list that is being made waits for it, as long as its context allows.
func TestWaitingForAListEnds(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	custody := &slowCustody{}
	cfg.Custody = custody
	a := w.open(cfg)
	hold := custody.next()
	done := make(chan error, 1)
	go func() { _, err := a.CRLs(w.ctx); done <- err }()
	<-hold.entered
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := a.CRLs(ctx)
	wantError(t, err, context.Canceled)
	close(hold.letGo)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of many that ask at once exactly as many are approved automatically as should be.
func TestAutomaticApprovalsAreCounted(t *testing.T) {
	const all, approvals = 200, 3
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.row.AutoApprove, cfg.row.MaxPending, cfg.PendingShare = approvals, all, all
	daemons := []*Authority{w.open(cfg), w.open(cfg)}
	var approved atomic.Int64
	var wg sync.WaitGroup
	for i := range all {
		req := request(t, csrNamed(t, newKey(t), fmt.Sprint("host", i)))
		wg.Go(func() {
			made, err := daemons[i%2].Submit(w.ctx, anonymous, req, Asked{})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = daemons[0].Certificate(w.ctx, made.ID)
			if signed := err == nil; signed != (made.Issued != nil) {
				t.Errorf("on record: %v, said to be signed: %v", signed, made.Issued != nil)
			}
			if made.Issued != nil {
				approved.Add(1)
			}
		})
	}
	wg.Wait()
	pending, err := daemons[0].Pending(w.ctx)
	if err != nil || len(pending) != all-approvals || approved.Load() != approvals {
		t.Errorf("%d approved, %d pending, %v", approved.Load(), len(pending), err)
	}
}

// Lists that are made while certificates are revoked, by two daemons, have all of them in the end.
func TestRevocationsBesideLists(t *testing.T) {
	w := newWorld(t)
	daemons := []*Authority{w.open(config(store.Services)), w.open(config(store.Services))}
	var revoking, listing sync.WaitGroup
	over := make(chan struct{})
	var serials []int64
	for i := range 60 {
		serials = append(serials, int64(i+1))
		revoking.Go(func() {
			if err := daemons[i%2].RevokeSerial(w.ctx, alice, big.NewInt(int64(i+1)), Revoking{}); err != nil {
				t.Error(err)
			}
		})
	}
	for _, a := range daemons {
		listing.Go(func() {
			for last := int64(0); ; {
				lists, err := a.CRLs(w.ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if lists[0].Number < last {
					t.Errorf("list %d after %d", lists[0].Number, last)
				}
				last = lists[0].Number
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	revoking.Wait()
	close(over)
	listing.Wait()
	for _, a := range daemons {
		w.listed(a, serials...)
	}
}
