package vault

import (
	"cmp"
	"context"
	"crypto"
	"slices"

	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// A memory keeps KEKs that are in no store yet.
type memory map[string]keys.Wrapped

func (m memory) KEK(_ context.Context, authority string) (keys.Wrapped, error) {
	if w, ok := m[authority]; ok {
		return w, nil
	}
	return keys.Wrapped{}, keys.ErrNoKEK
}

func (m memory) AddKEK(_ context.Context, authority string, w keys.Wrapped) (keys.Wrapped, error) {
	if there, ok := m[authority]; ok {
		return there, nil
	}
	m[authority] = w
	return w, nil
}

// rows are those of the KEKs, by authority.
func (m memory) rows(s *source) []store.KEK {
	var all []store.KEK
	for name, w := range m {
		all = append(all, s.row(name, w))
	}
	slices.SortFunc(all, func(a, b store.KEK) int { return cmp.Compare(a.Authority, b.Authority) })
	return all
}

// sealed returns the rows that were held back, and the KEKs, in the order of a stream.
func (in *intake) sealed(ctx context.Context) ([]store.Row, error) {
	v := in.tx.vault
	known := memory{}
	for _, k := range in.keks {
		known[string(k.Authority)] = wrapped(k)
	}
	ring := keys.NewKeyring(known, v.clock.Now, &Transport{Opener: in.tx.opener})
	if v.begin != nil {
		ring.Use(v.begin)
		if err := in.rewrap(ctx, ring, known, v.begin); err != nil {
			return nil, err
		}
	}
	staging := &Vault{Store: v.Store, source: v.source, clock: v.clock, Keyring: ring}
	tx := &Tx{Tx: in.tx.Tx, vault: staging}
	var out []store.Row
	for _, row := range in.held {
		var err error
		switch one := row.(type) {
		case store.CA:
			if v.begin == nil {
				err = staging.unsealRef(ctx, &one.Key, one)
			} else {
				err = tx.sealCA(ctx, &one)
			}
			row = one
		case store.Signoff:
			if v.begin == nil {
				err = staging.unsealRef(ctx, &one.Key, one)
			} else {
				err = tx.sealSignoff(ctx, &one)
			}
			row = one
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	for _, k := range known.rows(v.source) {
		if v.begin != nil || k.Wrap == keys.WrapPassphrase {
			out = append(out, k)
		}
	}
	return out, nil
}

// rewrap has the KEK of the daemon opened by what opens keys here, or makes one.
func (in *intake) rewrap(ctx context.Context, ring *keys.Keyring, known memory, with keys.Wrap) error {
	if _, ok := known[""]; !ok {
		_, err := ring.Begin(ctx, with)
		return err
	}
	if err := ring.Unlock(ctx); err != nil {
		return err
	}
	w, err := ring.Rewrap(ctx, with)
	known[""] = w
	return err
}

// unsealRef puts a key in the clear, for a store whose keys nobody seals.
func (v *Vault) unsealRef(ctx context.Context, ref *store.KeyRef, of store.Row) error {
	if ref.Custody != keys.SealedCustody {
		return nil
	}
	if err := v.Unlock(ctx); err != nil {
		return err
	}
	key, err := v.Open(ctx, PurposeOf(of), keys.Ref(*ref))
	if err != nil {
		return err
	}
	clear, err := keys.RowRef(key)
	*ref = store.KeyRef(clear)
	return err
}

// public returns the public key of a row with a private one.
func public(row store.Row) crypto.PublicKey {
	switch v := row.(type) {
	case store.CA:
		return publicOfCA(v)
	case store.Signoff:
		return publicOfSignoff(v)
	}
	return nil
}
