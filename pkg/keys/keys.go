// Package keys keeps the private keys of CAs: it generates them, opens them by a reference that is
// kept in the row of the CA, and erases them. Where a key is, and whether this process ever sees it, is
// up to each implementation.
package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

// A Ref says where a private key is: in whose custody, and how to find it there. The zero Ref refers to no key.
type Ref struct {
	Custody string // names the implementation
	Ref     []byte // opaque to everybody but that implementation
}

// Custody generates and keeps private keys. Its methods may take as long as a device needs.
type Custody interface {
	// Generate makes a key. A caller that does not keep ref has to erase the key.
	Generate(ctx context.Context, keyType pki.KeyType) (ref Ref, signer crypto.Signer, err error)

	// Open returns the key that ref refers to. The signer is safe for concurrent use, and may outlive ctx.
	Open(ctx context.Context, ref Ref) (crypto.Signer, error)

	// Erase destroys a key. It is no error if the key is already gone.
	Erase(ctx context.Context, ref Ref) error
}

// ErrUnusable means that a reference leads to no key.
var ErrUnusable = errors.New("private key cannot be used")

// RowCustody is the name of Row.
const RowCustody = "row"

// Row is the custody of keys that are kept in the database: the reference is the key, PKCS#8 DER. It
// is as safe as the database and its backups.
type Row struct{}

// Generate makes a key in memory.
func (Row) Generate(_ context.Context, keyType pki.KeyType) (Ref, crypto.Signer, error) {
	key, err := keyType.Generate()
	if err != nil {
		return Ref{}, nil, err
	}
	ref, err := RowRef(key)
	return ref, key, err
}

// RowRef returns a reference that contains the key.
func RowRef(key crypto.PrivateKey) (Ref, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Ref{}, err
	}
	return Ref{Custody: RowCustody, Ref: der}, nil
}

// Open parses the key. Its errors do not say what is wrong with a key, as that is secret.
func (Row) Open(_ context.Context, ref Ref) (crypto.Signer, error) {
	if ref.Custody != RowCustody {
		return nil, fmt.Errorf("%w: it is in the custody of %q", ErrUnusable, pki.EscapeText(ref.Custody))
	}
	key, err := x509.ParsePKCS8PrivateKey(ref.Ref)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be parsed", ErrUnusable)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: it is not of a kind that signs", ErrUnusable)
	}
	return signer, nil
}

// Erase does nothing: the key is gone when its reference is.
func (Row) Erase(context.Context, Ref) error { return nil }
