// Package vault keeps the private keys that are in a store sealed: it knows where KEKs are, seals what was in the clear before, lets keys travel
// in backups, and changes what opens them.
package vault

import (
	"context"
	"errors"
	"sync"

	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// A Vault is the keyring of a store. It is a store itself: what is written through it, such as the keys of CAs that are imported, is sealed if
// the store's keys are.
type Vault struct {
	store.Store
	*keys.Keyring

	source *source
	clock  clock.Clock
	// begin wraps the KEK of a store that has no keys yet; nil: keys are left as they are.
	begin keys.Wrap
}

// New returns the vault of a store, which is locked until Unlock. New stores begin with a KEK that the first of wraps wraps, if there is one.
func New(st store.Store, clk clock.Clock, wraps ...keys.Wrap) *Vault {
	s := &source{store: st, clock: clk}
	v := &Vault{Store: st, source: s, clock: clk, Keyring: keys.NewKeyring(s, clk.Now, wraps...)}
	if len(wraps) > 0 {
		v.begin = wraps[0]
	}
	return v
}

// Custody returns whoever opens the keys of the store.
func (v *Vault) Custody() keys.Custody { return v.Keyring }

// Inner returns the store that st is the vault of, and st if it is none.
func Inner(st store.Store) store.Store {
	if v, ok := st.(*Vault); ok {
		return v.Store
	}
	return st
}

// A source keeps KEKs in rows of a store.
type source struct {
	store store.Store
	clock clock.Clock

	mu    sync.Mutex
	tx    store.Tx // that is under way, of an operator's command, which has the store for itself
	dirty bool     // something was added in it
}

func (s *source) view(ctx context.Context, fn func(store.Reader) error) error {
	if tx := s.current(); tx != nil {
		return fn(tx)
	}
	return s.store.View(ctx, fn)
}

func (s *source) current() store.Tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

// KEK implements keys.Source.
func (s *source) KEK(ctx context.Context, authority string) (w keys.Wrapped, err error) {
	err = s.view(ctx, func(r store.Reader) error {
		w, err = find(ctx, r, authority)
		return err
	})
	return w, err
}

func find(ctx context.Context, r store.Reader, authority string) (keys.Wrapped, error) {
	all, err := r.KEKs(ctx)
	if err != nil {
		return keys.Wrapped{}, err
	}
	for _, one := range all {
		if string(one.Authority) == authority {
			return wrapped(one), nil
		}
	}
	return keys.Wrapped{}, keys.ErrNoKEK
}

func wrapped(k store.KEK) keys.Wrapped {
	return keys.Wrapped{Wrap: k.Wrap, Params: k.Params, Key: k.Wrapped}
}

// AddKEK implements keys.Source.
func (s *source) AddKEK(ctx context.Context, authority string, w keys.Wrapped) (stored keys.Wrapped, err error) {
	add := func(tx store.Tx) error {
		switch there, err := find(ctx, tx, authority); {
		case err == nil:
			stored = there
			return nil
		case !errors.Is(err, keys.ErrNoKEK):
			return err
		}
		stored = w
		return tx.PutKEK(ctx, s.row(authority, w))
	}
	if tx := s.current(); tx != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		err = add(tx)
		return stored, err
	}
	err = s.store.Update(ctx, add)
	return stored, err
}

func (s *source) row(authority string, w keys.Wrapped) store.KEK {
	return store.KEK{Authority: store.AuthorityName(authority), CreatedAt: s.clock.Now(), Wrap: w.Wrap, Params: w.Params, Wrapped: w.Key}
}
