package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"

	"cauase/pkg/store"
)

// logVoucher keeps the last statement about the daemon's log.
type logVoucher struct {
	making  lock
	made    []byte
	payload []byte
	signer  int64 // CA.ID; 0: the keys were locked
}

// VouchLog returns a statement, signed by the active CA, about the key of the daemon's log and its epochs. It is made once for each CA
// and each of them, for all daemons on the store, and goes on being served while keys are locked.
func (a *Authority) VouchLog(ctx context.Context, payload []byte) ([]byte, error) {
	st, err := a.current(ctx, a.clock.Now())
	if errors.Is(err, ErrLocked) {
		return a.vouchedLog(ctx, payload, err)
	}
	if err != nil {
		return nil, err
	}
	v := &a.logVoucher
	if err := v.making.lock(ctx); err != nil {
		return nil, err
	}
	defer v.making.unlock()
	if v.made != nil && v.signer == st.signer.id && bytes.Equal(v.payload, payload) {
		return v.made, nil
	}
	keep := func(made []byte) []byte {
		v.made, v.payload, v.signer = made, bytes.Clone(payload), st.signer.id
		return made
	}
	kept, err := a.keptStatement(ctx)
	if err != nil {
		return nil, err
	}
	if a.cfg.Statements.VouchesLog(kept, payload, st.signer.crt.PublicKey) {
		return keep(kept), nil // another daemon has made it, or this one before
	}
	made, err := a.cfg.Statements.LogKey(st.signer.key, payload)
	if errors.Is(err, ErrLocked) {
		return a.vouchedLog(ctx, payload, err)
	}
	if err != nil {
		return nil, err
	}
	err = a.store.Update(ctx, func(tx store.Tx) error {
		return tx.PutSetting(ctx, a.name, store.SettingLogStatement, string(made))
	})
	if err != nil {
		return nil, err
	}
	return keep(made), nil
}

// vouchedLog is the statement that was signed before the keys were locked, if it says the same.
func (a *Authority) vouchedLog(ctx context.Context, payload []byte, locked error) ([]byte, error) {
	kept, err := a.keptStatement(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range a.cas.Load().valid(a.clock.Now()) {
		for _, crt := range []*x509.Certificate{g.crt, g.anchor} {
			if crt != nil && a.cfg.Statements.VouchesLog(kept, payload, crypto.PublicKey(crt.PublicKey)) {
				return kept, nil
			}
		}
	}
	return nil, locked
}

func (a *Authority) keptStatement(ctx context.Context) (kept []byte, err error) {
	err = store.ViewOne(ctx, a.store, func(r store.Reader) error {
		text, err := r.Setting(ctx, a.name, store.SettingLogStatement)
		kept = []byte(text)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return kept, err
}
