package keys

import (
	"context"
	"errors"
)

// A Wrapped is a key-encryption key (KEK) as it is kept: encrypted, by a Wrap.
type Wrapped struct {
	Wrap   string // Wrap.Name of the one that has encrypted it
	Params []byte // JSON, not secret: what that one has to know beside its inputs
	Key    []byte
}

// A Wrap encrypts the KEKs of authorities, and opens them again, by means that the database does not have.
type Wrap interface {
	// Name says which wrap it is, in rows: "inputs", "pkcs11", "quorum".
	Name() string

	// Wrap encrypts the KEK of an authority; "" is the daemon as a whole.
	Wrap(ctx context.Context, authority string, kek []byte) (Wrapped, error)

	// Unwrap returns the KEK, which is the caller's to clear. It fails with ErrLocked if what it takes is not there, and with ErrUnwrap
	// if that is not what the KEK was encrypted with, or the KEK is damaged.
	Unwrap(ctx context.Context, authority string, w Wrapped) ([]byte, error)
}

// ErrUnwrap is the one answer to a wrong passphrase and to a damaged row, so that nobody learns which of them it is.
var ErrUnwrap = errors.New("the key-encryption key cannot be opened: the passphrase is wrong, or the row is damaged")
