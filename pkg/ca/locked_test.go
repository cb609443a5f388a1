package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A lockedCustody keeps keys of which none can be used while it is locked, and notices which are used for something else.
type lockedCustody struct {
	keys.Row
	is   atomic.Bool
	made map[string]keys.Purpose // by reference
}

func (c *lockedCustody) Ready(string) error {
	if c.is.Load() {
		return fmt.Errorf("%w: somebody has to come", keys.ErrLocked)
	}
	return nil
}

func (c *lockedCustody) Generate(ctx context.Context, purpose keys.Purpose, keyType pki.KeyType) (keys.Ref, crypto.Signer, error) {
	if err := c.Ready(""); err != nil {
		return keys.Ref{}, nil, err
	}
	ref, key, err := c.Row.Generate(ctx, purpose, keyType)
	if err == nil {
		purpose.KeyID, err = pki.KeyID(key.Public())
	}
	if c.made == nil {
		c.made = map[string]keys.Purpose{}
	}
	c.made[string(ref.Ref)] = purpose
	return ref, key, err
}

func (c *lockedCustody) Open(ctx context.Context, purpose keys.Purpose, ref keys.Ref) (crypto.Signer, error) {
	if err := c.Ready(""); err != nil {
		return nil, err
	}
	if err := c.check(purpose, ref); err != nil {
		return nil, err
	}
	return c.Row.Open(ctx, purpose, ref)
}

func (c *lockedCustody) Rebind(_ context.Context, ref keys.Ref, from, to keys.Purpose) (keys.Ref, error) {
	err := c.check(from, ref)
	c.made[string(ref.Ref)] = to
	return ref, err
}

func (c *lockedCustody) check(purpose keys.Purpose, ref keys.Ref) error {
	made := c.made[string(ref.Ref)]
	if made.Authority != purpose.Authority || string(made.KeyID) != string(purpose.KeyID) || made.Generation.UnixMicro() != purpose.Generation.UnixMicro() {
		return fmt.Errorf("%w: made for %v, used for %v", keys.ErrUnusable, made, purpose)
	}
	return nil
}

// An authority whose keys are locked serves what it has signed before, and goes on when somebody has unlocked them.
func TestLocked(t *testing.T) {
	w := newWorld(t)
	custody := &lockedCustody{}
	cfg := config(store.Services)
	cfg.Custody = custody
	before := w.open(cfg)
	crt := w.issue(before, "web").Certificate
	last, err := before.CRLs(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	custody.is.Store(true)

	// One that is started without what it takes, and one that was open: both are.
	started := w.open(cfg)
	for name, a := range map[string]*Authority{"started": started, "was open": before} {
		if crts, err := a.CACertificates(w.ctx); err != nil || len(crts) != 1 {
			t.Errorf("%s: %d CA certificates: %v", name, len(crts), err)
		}
		lists, err := a.CRLs(w.ctx)
		if err != nil || len(lists) != 1 || lists[0].Number != last[0].Number {
			t.Errorf("%s: lists %v: %v", name, lists, err)
		}
		if err := a.RevokeSerial(w.ctx, audit.Actor{Kind: audit.Operator}, crt.SerialNumber, Revoking{}); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: revocation: %v", name, err)
		}
		if err := a.Maintain(w.ctx); err != nil {
			t.Errorf("%s: maintenance: %v", name, err)
		}
	}
	w.clock.Advance(10 * cfg.row.Span) // a CA certificate is due, and the lists have expired
	if err := started.Maintain(w.ctx); err != nil {
		t.Error(err)
	}
	if n := len(started.cas.Load().list); n != 1 {
		t.Errorf("%d CA certificates while locked", n)
	}
	if _, err := started.CRLs(w.ctx); !errors.Is(err, ErrLocked) {
		t.Errorf("lists that nobody accepts any more: %v", err)
	}

	custody.is.Store(false)
	if err := started.Maintain(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(started.cas.Load().list); n < 1 {
		t.Errorf("%d CA certificates after unlocking", n)
	}
	w.issue(started, "later")
}
