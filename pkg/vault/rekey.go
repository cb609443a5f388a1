package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"cauase/pkg/audit"
	"cauase/pkg/durable"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// A Change says how the inputs that open the keys of a store are to change.
type Change struct {
	Path         string // of the secret file
	NewSecret    bool
	Passphrase   []byte // nil: it stays what it is
	NoPassphrase bool
}

// RekeyInputs has other inputs open the keys of a store from now on, and reports whether a passphrase is one of them. Whenever it is
// interrupted, either the old inputs open them or the new ones do: a new secret is on disk, beside the one that it replaces, before a key is
// encrypted with it, and takes its place afterwards.
func (v *Vault) RekeyInputs(ctx context.Context, actor audit.Actor, change Change) (passphrase bool, err error) {
	release, err := lockFile(change.Path)
	if err != nil {
		return false, err
	}
	defer release()
	// Whoever held the lock before may have changed them.
	if err := v.Unlock(ctx); err != nil {
		return false, err
	}
	before, err := v.source.KEK(ctx, "")
	if err != nil {
		return false, err
	}
	if before.Wrap != keys.WrapInputs {
		return false, fmt.Errorf("the keys are not opened by a secret file, but by %q", before.Wrap)
	}
	id, had, err := keys.NeedsPassphrase(before)
	if err != nil {
		return false, err
	}
	in := keys.Inputs{
		Secret:     func(string) (*keys.Secret, error) { return keys.FindSecret(change.Path, id) },
		Passphrase: func() ([]byte, error) { return nil, nil },
	}
	switch {
	case change.Passphrase != nil:
		in.Passphrase = func() ([]byte, error) { return change.Passphrase, nil }
	case had && !change.NoPassphrase:
		old, ok := v.begin.(keys.Inputs)
		if !ok {
			return false, keys.ErrLocked
		}
		in.Passphrase = old.Passphrase
	}
	passphrase = change.Passphrase != nil || had && !change.NoPassphrase
	what := "passphrase"
	next := keys.NextSecret(change.Path)
	if change.NewSecret {
		what = "secret"
		if change.Passphrase != nil || change.NoPassphrase {
			what = "secret and passphrase"
		}
		secret, err := keys.NewSecret()
		if err != nil {
			return false, err
		}
		// What is there was left by one that was interrupted before it was used: nothing is encrypted with it.
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err := secret.Write(next); err != nil {
			return false, err
		}
		in.Secret = func(string) (*keys.Secret, error) { return secret, nil }
	}
	if err := v.rekey(ctx, actor, before, in, what); err != nil {
		if change.NewSecret && !errors.Is(err, store.ErrUncertain) {
			_ = os.Remove(next)
		}
		return false, err
	}
	if change.NewSecret {
		if err := durable.Rename(next, change.Path); err != nil {
			return false, fmt.Errorf("the keys are opened with the new secret now, which is in %s and could not be put in place: %w", next, err)
		}
	}
	return passphrase, nil
}

// rekey has the KEK of the store wrapped by another wrap, in one row: until that is stored, what opened it before does, and nothing else
// from then on.
func (v *Vault) rekey(ctx context.Context, actor audit.Actor, before keys.Wrapped, with keys.Wrap, what string) error {
	w, err := v.Rewrap(ctx, with)
	if err != nil {
		return err
	}
	return v.Store.Update(ctx, func(tx store.Tx) error {
		switch now, err := find(ctx, tx, ""); {
		case err != nil:
			return err
		case string(now.Key) != string(before.Key):
			return fmt.Errorf("%w: somebody else has changed what opens the keys", store.ErrChanged)
		}
		if err := tx.PutKEK(ctx, v.source.row("", w)); err != nil {
			return err
		}
		e := audit.NewEntry(v.clock.Now(), "", actor, audit.RekeyKeys, audit.Object{Kind: audit.KindDatabase, ID: "keys"})
		e.Detail = what
		return tx.AppendAudit(ctx, e)
	})
}
