package vault

import (
	"context"
	"errors"
	"fmt"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// SealAll seals all private keys of the store that are in the clear, and returns how many there were. Of the store's own space nothing is
// left of them; if that cannot be done, it says so with ErrTraces. The keyring is open then.
func (v *Vault) SealAll(ctx context.Context, actor audit.Actor) (sealed int, err error) {
	if v.begin == nil {
		return 0, fmt.Errorf("%w: there is nothing to seal them with", keys.ErrLocked)
	}
	if err := v.Unlock(ctx); err != nil {
		return 0, err
	}
	err = v.Update(ctx, func(tx store.Tx) error {
		sealed = 0
		if !v.Sealed() {
			if _, err := v.Begin(ctx, v.begin); err != nil {
				return err
			}
		}
		sealed, err = v.sealRows(ctx, tx.(*Tx))
		if err != nil || sealed == 0 {
			return err
		}
		e := audit.NewEntry(v.clock.Now(), "", actor, audit.SealKeys, audit.Object{Kind: audit.KindDatabase, ID: "keys"})
		e.Detail = fmt.Sprintf("%d that were in the clear", sealed)
		return tx.AppendAudit(ctx, e)
	})
	if err != nil || sealed == 0 {
		return 0, err
	}
	return sealed, v.Scrub(ctx)
}

// ErrTraces means that keys are sealed, and that copies of them in the clear may be left on the disk.
var ErrTraces = errors.New("the keys are sealed, but what they were before may still be on the disk")

// Scrub has the store rid of copies of what it has deleted.
func (v *Vault) Scrub(ctx context.Context) error {
	s, ok := v.Store.(store.Scrubber)
	if !ok {
		return ErrTraces
	}
	if err := s.Scrub(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrTraces, err)
	}
	return nil
}

// sealRows seals what is in the clear. As the CA certificates count as changed, nobody who is about to add one in the clear does.
func (v *Vault) sealRows(ctx context.Context, tx *Tx) (n int, err error) {
	rows, err := tx.Authorities(ctx)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		before := n
		cas, err := tx.CAs(ctx, row.Name)
		if err != nil {
			return 0, err
		}
		for _, one := range cas {
			if one.Key.Custody != store.CustodyRow {
				continue
			}
			if err := tx.sealCA(ctx, &one); err != nil {
				return 0, fmt.Errorf("CA certificate %d of %s: %w", one.ID, row.Name, err)
			}
			if err := tx.PutCAKey(ctx, row.Name, one.ID, one.Key); err != nil {
				return 0, err
			}
			n++
		}
		signoffs, err := tx.Signoffs(ctx, row.Name)
		if err != nil {
			return 0, err
		}
		for _, one := range signoffs {
			if one.Key.Custody != store.CustodyRow {
				continue
			}
			if err := tx.sealSignoff(ctx, &one); err != nil {
				return 0, fmt.Errorf("sign-off %d of %s: %w", one.ID, row.Name, err)
			}
			if err := tx.PutSignoff(ctx, one); err != nil {
				return 0, err
			}
			n++
		}
		if n > before {
			if _, err := tx.AddCounter(ctx, row.Name, store.CounterCA, 1); err != nil {
				return 0, err
			}
		}
	}
	setting, err := readLogKey(ctx, tx)
	if err != nil {
		return 0, err
	}
	switch changed, err := tx.sealLogKey(ctx, &setting); {
	case err != nil:
		return 0, err
	case changed:
		n++
		return n, tx.PutSetting(ctx, "", setting.Name, setting.Value)
	}
	return n, nil
}

// ErrClear means that the keys of a store are in the clear.
var ErrClear = errors.New("the keys in this database are in the clear")

// RekeyOwn gives an authority a passphrase of its own, or takes it away: nil.
func (v *Vault) RekeyOwn(ctx context.Context, actor audit.Actor, authority store.AuthorityName, passphrase []byte) error {
	if err := v.Unlock(ctx); err != nil {
		return err
	}
	if !v.Sealed() {
		return ErrClear
	}
	w, err := v.RewrapOwn(ctx, string(authority), passphrase)
	if err != nil {
		return err
	}
	return v.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutKEK(ctx, v.source.row(string(authority), w)); err != nil {
			return err
		}
		// Daemons that have its keys in memory are to open them anew.
		if _, err := tx.AddCounter(ctx, authority, store.CounterCA, 1); err != nil {
			return err
		}
		e := audit.NewEntry(v.clock.Now(), string(authority), actor, audit.RekeyKeys, audit.Object{Kind: audit.KindAuthority, ID: string(authority)})
		e.Detail = "a passphrase of its own"
		if passphrase == nil {
			e.Detail = "no passphrase of its own any more"
		}
		return tx.AppendAudit(ctx, e)
	})
}
