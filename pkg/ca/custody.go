package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// refOf returns the reference to the key of a CA.
func refOf(row store.CA) keys.Ref { return keys.Ref(row.Key) }

// purposeOf says which key is that of a CA, or of a sign-off, whose row was made then.
func purposeOf(name store.AuthorityName, created time.Time, pub crypto.PublicKey) (keys.Purpose, error) {
	purpose := keys.Purpose{Authority: string(name), Generation: created}
	var err error
	if pub != nil {
		purpose.KeyID, err = pki.KeyID(pub)
	}
	return purpose, err
}

// CustodyOf returns whoever opens the keys of a store: the custody of the context, or that of the store, or of the transaction that it is made
// of, if that knows.
func CustodyOf(ctx context.Context, st store.Store) keys.Custody {
	if c := keys.From(ctx); c != keys.Custody(keys.Row{}) {
		return c
	}
	type keeper interface{ Custody() keys.Custody }
	if k, ok := st.(keeper); ok {
		return k.Custody()
	}
	if within, ok := st.(interface{ Tx() store.Tx }); ok {
		if k, ok := within.Tx().(keeper); ok {
			return k.Custody()
		}
	}
	return keys.Row{}
}

// ErrLocked means that an authority cannot sign, as its keys are locked: it serves what it has signed before. Its text says what an
// operator has to do, and may be shown to whoever asked.
var ErrLocked = keys.ErrLocked

// ErrToken is an ErrLocked, where it is a token that would have to sign and cannot.
var ErrToken = keys.ErrToken

// locked says why the keys of the authority cannot be used, if they are locked.
func (a *Authority) locked() error {
	if err := a.cfg.Custody.Ready(string(a.name)); err != nil {
		return fmt.Errorf("authority %s: %w", a.name, err)
	}
	return nil
}

// Locked says why the authority cannot sign, if that is because its keys are locked.
func (a *Authority) Locked() error {
	if a.external() {
		return nil
	}
	return a.locked()
}

// opened reads the generations anew if there are some whose keys were locked when they were last read, and returns them.
func (a *Authority) opened(ctx context.Context) (*generations, error) {
	if g := a.cas.Load(); !g.locked() {
		return g, nil
	}
	if err := a.reload(ctx); err != nil {
		return nil, err
	}
	return a.cas.Load(), nil
}

// locked reports whether keys were locked when the generations were read.
func (g *generations) locked() bool {
	return g != nil && slices.ContainsFunc(g.list, func(c generation) bool { return c.locked != nil })
}

// dropKeys forgets the private keys that are in memory, of an authority that was unlocked for a while.
func (a *Authority) dropKeys(why error) {
	loaded := a.cas.Load()
	if !slices.ContainsFunc(loaded.list, func(g generation) bool { return g.key != nil }) {
		return
	}
	dropped := *loaded
	dropped.list = slices.Clone(loaded.list)
	for i := range dropped.list {
		if g := &dropped.list[i]; g.key != nil {
			g.key, g.locked = nil, why
		}
	}
	a.cas.CompareAndSwap(loaded, &dropped)
}

// forReading is current for what signs nothing: while keys are locked, that goes on with the CA certificates there are.
func (a *Authority) forReading(ctx context.Context, now time.Time) (state, error) {
	st, err := a.current(ctx, now)
	if !errors.Is(err, ErrLocked) {
		return st, err
	}
	g := a.cas.Load()
	plan := a.cfg.Decide(now, a.spans, g.times())
	if plan.Signer == rollover.None {
		return state{}, err
	}
	return state{g, g.list[plan.Signer]}, nil
}

func setRef(row *store.CA, ref keys.Ref) { row.Key, row.State = store.KeyRef(ref), store.CAUsable }
