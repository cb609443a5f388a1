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
	"time"

	"cauase/pkg/pki"
)

// A Ref says where a private key is: in whose custody, and how to find it there. The zero Ref refers to no key.
type Ref struct {
	Custody string // names the implementation
	Ref     []byte // opaque to everybody but that implementation
}

// A Purpose says which key is meant: whose, of which generation, and what it is called in public. A custody may bind a key to it, so
// that a reference that is moved to another row leads nowhere.
type Purpose struct {
	Authority string // of which the key is; empty: of the daemon as a whole

	// Generation is when the row that holds the reference was made, its created_at, to the microsecond. That is the one thing which is
	// known of a generation before its key is made and stays as it is in copies and backups.
	Generation time.Time

	KeyID []byte // pki.KeyID of the public key; Generate finds it out by itself

	// Place is where an operator wants the key to be made, such as a PKCS #11 URI; empty: where the custody makes keys. Only Generate asks.
	Place string
}

// Custody generates and keeps private keys. Its methods may take as long as a device needs, but for Ready.
type Custody interface {
	// Generate makes a key. A caller that does not keep ref has to erase the key.
	Generate(ctx context.Context, purpose Purpose, keyType pki.KeyType) (ref Ref, signer crypto.Signer, err error)

	// Open returns the key that ref refers to. The signer is safe for concurrent use, and may outlive ctx.
	Open(ctx context.Context, purpose Purpose, ref Ref) (crypto.Signer, error)

	// Rebind returns a reference to the same key for another purpose: that of a sign-off becomes that of a generation.
	Rebind(ctx context.Context, ref Ref, from, to Purpose) (Ref, error)

	// Erase destroys a key. It is no error if the key is already gone.
	Erase(ctx context.Context, ref Ref) error

	// Ready says why no key of the authority can be used now, ErrLocked, and nil if nothing is known to be in the way. It answers at once.
	Ready(authority string) error
}

var (
	// ErrUnusable means that a reference leads to no key.
	ErrUnusable = errors.New("private key cannot be used")
	// ErrElsewhere means that a key is where this process does not reach, as it was built or configured. Nothing is wrong with the key.
	ErrElsewhere = errors.New("private key is out of reach")
	// ErrLocked means that what opens the keys is not there yet: a secret file, a passphrase, a device. Nothing is wrong with them.
	ErrLocked = errors.New("the private keys are locked")
	// ErrPassphrase is ErrLocked where all that is missing is a passphrase.
	ErrPassphrase = fmt.Errorf("%w: their passphrase is needed", ErrLocked)
	// ErrToken is ErrLocked where they are on a token that cannot be used now.
	ErrToken = fmt.Errorf("%w: the token cannot be used", ErrLocked)
)

// RowCustody is the name of Row.
const RowCustody = "row"

// Row is the custody of keys that are kept in the database: the reference is the key, PKCS#8 DER. It
// is as safe as the database and its backups.
type Row struct{}

// Generate makes a key in memory.
func (Row) Generate(_ context.Context, _ Purpose, keyType pki.KeyType) (Ref, crypto.Signer, error) {
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
func (Row) Open(_ context.Context, _ Purpose, ref Ref) (crypto.Signer, error) {
	if ref.Custody != RowCustody {
		return nil, fmt.Errorf("%w: it is in the custody of %q", ErrUnusable, pki.EscapeText(ref.Custody))
	}
	return parseKey(ref.Ref)
}

// Rebind returns ref: it is bound to nothing.
func (Row) Rebind(_ context.Context, ref Ref, _, _ Purpose) (Ref, error) { return ref, nil }

// Erase does nothing: the key is gone when its reference is.
func (Row) Erase(context.Context, Ref) error { return nil }

// Ready returns nil: nothing has to be opened first.
func (Row) Ready(string) error { return nil }
