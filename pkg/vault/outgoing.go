package vault

import (
	"context"
	"crypto"

	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// A Keeper is a store, or a transaction, that knows who opens the keys in it.
type Keeper interface{ Custody() keys.Custody }

// Outgoing gives fn the rows of a store as a backup has them: without a key in the clear, and with KEKs that those open whom the backup is made
// for. The ring is that of the store, and nil if nothing in it is sealed; r is a snapshot of it.
func Outgoing(ctx context.Context, clk clock.Clock, ring *keys.Keyring, r store.Reader, to []crypto.PublicKey, fn func(store.Row) error) error {
	keks, err := r.KEKs(ctx)
	if err != nil {
		return err
	}
	known := memory{}
	for _, k := range keks {
		known[string(k.Authority)] = wrapped(k)
	}
	transport := &Transport{To: to}
	out := keys.NewKeyring(known, clk.Now, transport)
	if _, sealed := known[""]; sealed {
		if ring == nil {
			return keys.ErrLocked
		}
		if known[""], err = ring.Rewrap(ctx, transport); err != nil {
			return err
		}
		err = out.Unlock(ctx)
	} else {
		_, err = out.Begin(ctx, transport)
	}
	if err != nil {
		return err
	}
	s := &source{clock: clk}
	staging := &Tx{vault: &Vault{source: s, clock: clk, Keyring: out}}
	given := false
	giveKEKs := func() error {
		if given {
			return nil
		}
		given = true
		for _, k := range known.rows(s) {
			if err := fn(k); err != nil {
				return err
			}
		}
		return nil
	}
	err = r.Rows(ctx, func(row store.Row) error {
		switch v := row.(type) {
		case store.Authority:
		case store.CA:
			if err := staging.sealCA(ctx, &v); err != nil {
				return err
			}
			row = v
		case store.Signoff:
			if err := staging.sealSignoff(ctx, &v); err != nil {
				return err
			}
			row = v
		case store.KEK:
			return nil
		default:
			if err := giveKEKs(); err != nil {
				return err
			}
			if setting, ok := row.(store.Setting); ok {
				if _, err := staging.sealLogKey(ctx, &setting); err != nil {
					return err
				}
				row = setting
			}
		}
		return fn(row)
	})
	if err != nil {
		return err
	}
	return giveKEKs()
}
