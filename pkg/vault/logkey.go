package vault

import (
	"context"
	"crypto"
	"errors"

	"cauase/pkg/logkey"
	"cauase/pkg/store"
)

// sealLogKey seals the key of the log in a setting, if that is what it is and if it is in the clear, and reports whether it was.
func (t *Tx) sealLogKey(ctx context.Context, s *store.Setting) (changed bool, err error) {
	if s.Authority != "" || s.Name != logkey.Setting {
		return false, nil
	}
	record, err := logkey.Parse(s.Value)
	if err != nil {
		return false, err
	}
	ref := store.KeyRef(record.KeyRef())
	if ref.Custody != store.CustodyRow {
		return false, nil
	}
	err = t.vault.sealRef(ctx, &ref, record.Purpose(), func() (crypto.PublicKey, error) { return record.PublicKey() })
	if err != nil || ref.Custody == store.CustodyRow {
		return false, err
	}
	record.Custody, record.Ref = ref.Custody, ref.Ref
	s.Value, err = record.Value()
	return true, err
}

// readLogKey returns the setting with the key of the log, whose name is empty if there is none.
func readLogKey(ctx context.Context, r store.Reader) (store.Setting, error) {
	value, err := r.Setting(ctx, "", logkey.Setting)
	if errors.Is(err, store.ErrNotFound) {
		return store.Setting{}, nil
	}
	return store.Setting{Name: logkey.Setting, Value: value}, err
}
