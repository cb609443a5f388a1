package vault

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"

	"cauase/pkg/keys"
	"cauase/pkg/logkey"
	"cauase/pkg/store"
)

// Update implements store.Store: private keys that fn stores are sealed, if those of the store are, or if there are none yet.
func (v *Vault) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := v.Store.Update(ctx, func(tx store.Tx) error {
		v.source.mu.Lock()
		again := v.source.dirty // it was rolled back, and with it what is in memory
		v.source.tx, v.source.dirty = tx, false
		v.source.mu.Unlock()
		if again {
			v.Forget()
		}
		return fn(&Tx{Tx: tx, vault: v})
	})
	v.source.mu.Lock()
	lost := err != nil && v.source.dirty
	v.source.tx, v.source.dirty = nil, false
	v.source.mu.Unlock()
	if lost {
		v.Forget()
	}
	return err
}

// A Tx seals private keys on their way into a store.
type Tx struct {
	store.Tx
	vault *Vault

	opener crypto.PrivateKey
}

// Custody returns whoever opens the keys.
func (t *Tx) Custody() keys.Custody { return t.vault.Keyring }

// OpenWith has Load open the KEKs of a backup with the key of a user whom it was made for.
func (t *Tx) OpenWith(key crypto.PrivateKey) { t.opener = key }

// AddCA implements store.Tx.
func (t *Tx) AddCA(ctx context.Context, row store.CA) (int64, error) {
	if err := t.sealCA(ctx, &row); err != nil {
		return 0, err
	}
	return t.Tx.AddCA(ctx, row)
}

// AddSignoff implements store.Tx.
func (t *Tx) AddSignoff(ctx context.Context, row store.Signoff) (int64, error) {
	if err := t.sealSignoff(ctx, &row); err != nil {
		return 0, err
	}
	return t.Tx.AddSignoff(ctx, row)
}

func (t *Tx) sealCA(ctx context.Context, row *store.CA) error {
	return t.vault.sealRef(ctx, &row.Key, keys.Purpose{Authority: string(row.Authority), Generation: row.CreatedAt}, func() (crypto.PublicKey, error) {
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return nil, fmt.Errorf("CA certificate of %s: %w", row.Authority, err)
		}
		return crt.PublicKey, nil
	})
}

func (t *Tx) sealSignoff(ctx context.Context, row *store.Signoff) error {
	return t.vault.sealRef(ctx, &row.Key, keys.Purpose{Authority: string(row.Authority), Generation: row.CreatedAt}, func() (crypto.PublicKey, error) {
		csr, err := x509.ParseCertificateRequest(row.Request)
		if err != nil {
			return nil, fmt.Errorf("request of %s: %w", row.Authority, err)
		}
		return csr.PublicKey, nil
	})
}

// ErrForeignKey means that a private key is not that of what it stands beside.
var ErrForeignKey = errors.New("the private key belongs to something else")

// sealRef seals the key of a row, if it is in the clear and those of the store are not.
func (v *Vault) sealRef(ctx context.Context, ref *store.KeyRef, purpose keys.Purpose, public func() (crypto.PublicKey, error)) error {
	if ref.Custody != store.CustodyRow {
		return nil
	}
	if sealed, err := v.sealing(ctx); err != nil || !sealed {
		return err
	}
	key, err := keys.Row{}.Open(ctx, purpose, keys.Ref(*ref))
	if err != nil {
		return err
	}
	pub, err := public()
	if err != nil {
		return err
	}
	if own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(pub) {
		return ErrForeignKey
	}
	sealed, err := v.Seal(ctx, purpose, key)
	if err != nil {
		return err
	}
	clear(ref.Ref)
	*ref = store.KeyRef(sealed)
	return nil
}

// sealing reports whether keys are sealed, which a store that has none yet begins with.
func (v *Vault) sealing(ctx context.Context) (bool, error) {
	if err := v.Prepare(ctx); err != nil {
		return false, err
	}
	return v.Sealed(), nil
}

// Prepare opens the KEK of the store. One that has no keys of CAs yet gets a KEK, if there is something to wrap it with.
func (v *Vault) Prepare(ctx context.Context) error {
	if v.Sealed() {
		return v.Ready("")
	}
	if err := v.Unlock(ctx); err != nil {
		return err
	}
	if v.Sealed() || v.begin == nil {
		return nil
	}
	switch any, err := v.HasClear(ctx); {
	case err != nil:
		return err
	case any:
		return nil
	}
	_, err := v.Begin(ctx, v.begin)
	return err
}

// HasClear reports whether the store holds a private key of a CA in the clear.
func (v *Vault) HasClear(ctx context.Context) (found bool, err error) {
	err = v.source.view(ctx, func(r store.Reader) error {
		n, err := countClear(ctx, r)
		found = n > 0
		return err
	})
	return found, err
}

func countClear(ctx context.Context, r store.Reader) (n int, err error) {
	err = eachKey(ctx, r, func(ref store.KeyRef) {
		if ref.Custody == store.CustodyRow {
			n++
		}
	})
	return n, err
}

// eachKey calls fn with the reference to each private key of the store.
func eachKey(ctx context.Context, r store.Reader, fn func(store.KeyRef)) error {
	rows, err := r.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		cas, err := r.CAs(ctx, row.Name)
		if err != nil {
			return err
		}
		for _, one := range cas {
			fn(one.Key)
		}
		signoffs, err := r.Signoffs(ctx, row.Name)
		if err != nil {
			return err
		}
		for _, one := range signoffs {
			fn(one.Key)
		}
	}
	switch record, err := logkey.Read(ctx, r); {
	case err == nil:
		fn(store.KeyRef(record.KeyRef()))
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return nil
}

// Load implements store.Tx. What is in the clear is sealed; what was sealed in a backup gets a KEK that the inputs of here open.
func (t *Tx) Load(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	in := &intake{tx: t, rows: rows}
	return t.Tx.Load(ctx, func(yield func(store.Row, error) bool) { in.run(ctx, yield) })
}

// An intake holds back the rows with private keys until their KEKs, which come behind them, are known.
type intake struct {
	tx   *Tx
	rows iter.Seq2[store.Row, error]

	held []store.Row // CAs and sign-offs
	keks []store.KEK
	done bool
}

func (in *intake) run(ctx context.Context, yield func(store.Row, error) bool) {
	for row, err := range in.rows {
		if err != nil {
			yield(nil, err)
			return
		}
		switch v := row.(type) {
		case store.Authority:
			if !yield(row, nil) {
				return
			}
			continue
		case store.CA, store.Signoff:
			in.held = append(in.held, row)
			continue
		case store.KEK:
			in.keks = append(in.keks, v)
			continue
		}
		if !in.settle(ctx, yield) || !yield(row, nil) {
			return
		}
	}
	in.settle(ctx, yield)
}

// settle gives away what was held back, sealed.
func (in *intake) settle(ctx context.Context, yield func(store.Row, error) bool) bool {
	if in.done {
		return true
	}
	in.done = true
	rows, err := in.sealed(ctx)
	if err != nil {
		yield(nil, err)
		return false
	}
	for _, row := range rows {
		if !yield(row, nil) {
			return false
		}
	}
	return true
}
