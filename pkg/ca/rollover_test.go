package ca

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

const span = 93 * day

// phases returns those of all generations that have not expired, oldest first.
func (w *world) phases(a *Authority) []rollover.Phase {
	w.t.Helper()
	timeline, err := a.Timeline(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var phases []rollover.Phase
	for _, g := range timeline.Generations {
		phases = append(phases, g.Phase)
	}
	return phases
}

func equal(a, b []rollover.Phase) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// links returns the chain, each link verified with the key of its old CA.
func (w *world) links(a *Authority) []envelope.Link {
	w.t.Helper()
	data, err := wired(a).Chain(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := envelope.ParseList(data)
	if err != nil {
		w.t.Fatalf("%v: %s", err, data)
	}
	var links []envelope.Link
	for _, e := range list {
		l, err := envelope.DecodeLink(e.Payload())
		if err != nil {
			w.t.Fatal(err)
		}
		if err := e.Verify(w.parse([]byte(l.OldPEM)).PublicKey); err != nil {
			w.t.Fatal(err)
		}
		if n := len(links); n > 0 && links[n-1].NewPEM != l.OldPEM {
			w.t.Fatal("the chain is broken")
		}
		links = append(links, l)
	}
	return links
}

// The daemon's loop alone, without any request, takes an authority through its life.
func TestMaintainRollsOver(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	first, _ := w.enrol(a, "host")
	steps := []struct {
		at     time.Duration // since the start
		phases []rollover.Phase
		links  int
	}{
		{span, []rollover.Phase{rollover.Active}, 0},
		{2*span - time.Hour, []rollover.Phase{rollover.Active}, 0},
		{2 * span, []rollover.Phase{rollover.Active, rollover.Passive}, 1},
		{3 * span, []rollover.Phase{rollover.Active, rollover.Passive}, 1},
		{3*span + time.Second, []rollover.Phase{rollover.Retired, rollover.Active}, 1},
		{4*span + time.Second, []rollover.Phase{rollover.Active, rollover.Passive}, 2},
		{5*span + 2*time.Second, []rollover.Phase{rollover.Retired, rollover.Active}, 2},
	}
	for _, s := range steps {
		w.clock.Set(epoch.Add(s.at))
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		if got := w.phases(a); !equal(got, s.phases) {
			t.Errorf("after %v: %v, want %v", s.at, got, s.phases)
		}
		if got := len(w.links(a)); got != s.links {
			t.Errorf("after %v: %d links, want %d", s.at, got, s.links)
		}
		cas, err := a.CACertificates(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i, crt := range cas {
			if !pki.SameAuthority(crt.RawSubject, first.RawIssuer) || i > 0 && pki.SameName(crt.RawSubject, cas[i-1].RawSubject) {
				t.Errorf("after %v: CA %d is called %v", s.at, i, crt.Subject)
			}
		}
		list, err := wired(a).CRLs(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		crls, err := pki.ParseCRLsPEM(list.PEM)
		if err != nil || len(crls) != len(cas) {
			t.Fatalf("after %v: %d lists for %d CAs, %v", s.at, len(crls), len(cas), err)
		}
		for i := range crls {
			if err := crls[i].CheckSignatureFrom(cas[i]); err != nil {
				t.Errorf("after %v: list %d: %v", s.at, i, err)
			}
		}
		// What is issued now is signed by the active one.
		leaf, _ := w.enrol(a, "new")
		for i, phase := range w.phases(a) {
			if isSigner := string(leaf.AuthorityKeyId) == string(cas[i].SubjectKeyId); isSigner != (phase == rollover.Active) {
				t.Errorf("after %v: the %s CA: signed %v", s.at, phase, isSigner)
			}
		}
	}
	// Keys of expired CAs are gone.
	keys := 0
	err := w.store.View(w.ctx, func(r store.Reader) error {
		rows, err := r.CAs(w.ctx, store.Services)
		for _, row := range rows {
			if row.State == store.CAUsable {
				keys++
			}
		}
		return err
	})
	if err != nil || keys != 2 {
		t.Errorf("%d CA keys are kept, want those of the 2 valid CAs; %v", keys, err)
	}
}

// A daemon that was off while its only CA expired makes a new one that hosts can still follow.
func TestSleepThroughEverything(t *testing.T) {
	w := newWorld(t)
	w.open(config(store.Services))
	w.clock.Advance(10 * span)
	w.restart()
	a := w.open(config(store.Services))
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active}) {
		t.Errorf("phases %v", got)
	}
	if got := len(w.links(a)); got != 1 {
		t.Errorf("%d links, want 1", got)
	}
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.enrol(a, "host")
}

func TestChainRetention(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.ChainRetention = 3 * span
	a := w.open(cfg)
	for range 40 {
		w.clock.Advance(span / 2)
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	links := w.links(a)
	oldest := w.parse([]byte(links[0].OldPEM))
	if ago := w.clock.Now().Sub(oldest.NotAfter); ago > cfg.ChainRetention || ago < span {
		t.Errorf("the chain begins with a CA that expired %v ago, want at most %v and no less than it can", ago, cfg.ChainRetention)
	}
	cfg.ChainRetention = 0
	if all := len(w.links(w.open(cfg))); all <= len(links) {
		t.Errorf("%d links without a limit, %d with one", all, len(links))
	}
}

// The type of CA keys follows the first, not the flag, until an operator chooses another.
func TestKeyTypeOfSuccessors(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.KeyType = string(pki.KeyRSA2048)
	w.open(cfg)
	cfg.row.KeyType = string(pki.KeyECDSAP256)
	newest := func() string {
		a := w.open(cfg)
		cas, err := a.CACertificates(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		w.links(a)
		return pki.DescribeKey(cas[len(cas)-1].PublicKey)
	}
	w.clock.Advance(2 * span)
	if got := newest(); got != "RSA 2048" {
		t.Errorf("the successor of an RSA key is %s", got)
	}
	if err := SetNextKeyType(w.ctx, w.store, w.clock, store.Services, pki.KeyEd25519); err != nil {
		t.Fatal(err)
	}
	wantError(t, SetNextKeyType(w.ctx, w.store, w.clock, store.Services, "rsa-1024"), ErrInvalid)
	if got := newest(); got != "RSA 2048" {
		t.Errorf("choosing the next type has changed the present one to %s", got)
	}
	w.clock.Advance(2 * span)
	if got := newest(); got != "Ed25519" {
		t.Errorf("the chosen successor is %s", got)
	}
	w.clock.Advance(2 * span)
	if got := newest(); got != "Ed25519" {
		t.Errorf("the one after it is %s", got)
	}
}

// A brokenStore fails every transaction that writes, while broken is set.
type brokenStore struct {
	store.Store
	broken atomic.Bool
}

func (s *brokenStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.broken.Load() {
		return store.ErrUnavailable
	}
	return s.Store.Update(ctx, fn)
}

// When the successor cannot be stored, what is there goes on serving, and the next attempt
// succeeds.
func TestRolloverThatCannotBeStored(t *testing.T) {
	w := newWorld(t)
	broken := &brokenStore{Store: w.store}
	w.store = broken
	a := w.open(config(store.Services))
	before := w.crl(a)
	w.clock.Advance(2 * span)
	broken.broken.Store(true)
	if err := a.Maintain(w.ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("maintenance: %v", err)
	}
	if cas, err := a.CACertificates(w.ctx); err != nil || len(cas) != 1 {
		t.Errorf("%d CA certificates, %v", len(cas), err)
	}
	if _, err := wired(a).Chain(w.ctx); err != nil {
		t.Errorf("chain: %v", err)
	}
	broken.broken.Store(false)
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.phases(a); !equal(got, []rollover.Phase{rollover.Active, rollover.Passive}) {
		t.Errorf("phases %v", got)
	}
	list, err := wired(a).CRLs(w.ctx)
	if err != nil || list.Number <= before.Number.Int64() {
		t.Errorf("CRL number %d after %v, %v", list.Number, before.Number, err)
	}
}

func TestListsThatCannotBeStored(t *testing.T) {
	w := newWorld(t)
	broken := &brokenStore{Store: w.store}
	w.store = broken
	a := w.open(config(store.Services))
	first := w.crl(a)
	broken.broken.Store(true)
	w.clock.Set(first.NextUpdate.Add(-time.Minute))
	if err := a.Maintain(w.ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("maintenance: %v", err)
	}
	if list := w.crl(a); list.Number.Cmp(first.Number) != 0 {
		t.Errorf("list %v, want the valid one before, %v", list.Number, first.Number)
	}
	w.clock.Set(first.NextUpdate)
	if _, err := wired(a).CRLs(w.ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a list that has expired: %v", err)
	}
	w.clock.Set(first.NextUpdate.Add(-time.Minute))
	broken.broken.Store(false)
	if err := wired(a).RevokeByUser(w.ctx, alice, envelope.Revocation{Serial: big.NewInt(7)}); err != nil {
		t.Fatal(err)
	}
	broken.broken.Store(true)
	if _, err := wired(a).CRLs(w.ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a list without the last revocation: %v", err)
	}
}

// Two daemons on one store: one rollover, and neither signs with what the other has replaced.
func TestTwoDaemonsRollOverOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(config(store.Services)), w.open(config(store.Services))
	if got := len(w.phases(b)); got != 1 {
		t.Fatalf("%d generations, want 1", got)
	}
	for i, at := range []time.Duration{2 * span, 4*span + time.Hour, 6*span + time.Hour} {
		w.clock.Set(epoch.Add(at))
		errs := make(chan error, 2)
		for _, one := range []*Authority{a, b} {
			go func() { errs <- one.Maintain(w.ctx) }()
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		var rows []store.CA
		err := w.store.View(w.ctx, func(r store.Reader) (err error) {
			rows, err = r.CAs(w.ctx, store.Services)
			return err
		})
		if err != nil || len(rows) != i+2 {
			t.Fatalf("after %v: %d generations, want %d; %v", at, len(rows), i+2, err)
		}
		one, other := w.lists(a), w.lists(b)
		if one != other {
			t.Errorf("after %v: the daemons serve different lists", at)
		}
	}
	// b has not noticed yet that a has rolled over: what it signs must still be by the rule.
	w.clock.Set(epoch.Add(8*span + time.Hour))
	if err := a.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	leaf, _ := w.enrol(b, "host")
	timeline, err := a.Timeline(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range timeline.Generations {
		if isSigner := string(leaf.AuthorityKeyId) == string(g.Certificate.SubjectKeyId); isSigner != (g.Phase == rollover.Active) {
			t.Errorf("the %s CA: the other daemon has signed with it: %v", g.Phase, isSigner)
		}
	}
}

func (w *world) lists(a *Authority) string {
	w.t.Helper()
	list, err := wired(a).CRLs(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(list.PEM)
}

// Spans of seconds: everything still comes in the right order.
func TestSpansOfSeconds(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.row.Span = 3 * time.Second
	a := w.open(cfg)
	signers := map[string]bool{}
	for range 120 {
		w.clock.Advance(250 * time.Millisecond)
		if err := a.Maintain(w.ctx); err != nil {
			t.Fatal(err)
		}
		now := w.clock.Now()
		leaf, _ := w.enrol(a, "host")
		cas, err := a.CACertificates(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		issuer, err := pki.VerifyIssued(leaf, cas, now)
		if err != nil {
			t.Fatal(err)
		}
		signers[string(issuer.SubjectKeyId)] = true
		list, err := wired(a).CRLs(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if now.After(list.NextUpdate) || now.Before(list.ThisUpdate) {
			t.Fatalf("at %v a list from %v until %v", now, list.ThisUpdate, list.NextUpdate)
		}
	}
	if len(signers) < 4 {
		t.Errorf("%d CAs have signed in ten spans, want at least 4", len(signers))
	}
}

func TestChainIsJSON(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Users))
	for i := range 3 {
		data, err := wired(a).Chain(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var list []map[string]any
		if err := json.Unmarshal(data, &list); err != nil || len(list) != i {
			t.Errorf("generation %d: %d links in %s, %v", i, len(list), data, err)
		}
		w.clock.Advance(2 * span)
	}
}
