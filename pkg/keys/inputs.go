package keys

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// WrapInputs is the name of Inputs.
const WrapInputs = "inputs"

// An Argon2 is how much work a passphrase is made to cost, and the salt. It is kept beside what it protects, so that defaults can change.
type Argon2 struct {
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory_kib"`
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"`
}

// Bounds of what is believed of a row: less would be no protection, and more would let whoever can write the row stop the daemon.
const (
	minArgonTime, maxArgonTime       = 1, 20
	minArgonMemory, maxArgonMemory   = 19 << 10, 1 << 20 // KiB
	minArgonThreads, maxArgonThreads = 1, 16
	minSalt, maxSalt                 = 16, 64
	maxParams                        = 64 << 10
)

// newArgon2 is the second recommendation of RFC 9106: 64 MiB.
func newArgon2() (*Argon2, error) {
	a := &Argon2{Time: 3, Memory: 64 << 10, Threads: 4, Salt: make([]byte, 16)}
	if cheap {
		a.Time, a.Memory = minArgonTime, minArgonMemory
	}
	_, err := rand.Read(a.Salt)
	return a, err
}

// cheap has passphrases cost little. Tests set it that use many.
var cheap bool

// CheapPassphrases has those that are set from now on cost little, for tests.
func CheapPassphrases() { cheap = true }

func (a *Argon2) check() error {
	switch {
	case a.Time < minArgonTime || a.Time > maxArgonTime, a.Memory < minArgonMemory || a.Memory > maxArgonMemory,
		a.Threads < minArgonThreads || a.Threads > maxArgonThreads, len(a.Salt) < minSalt || len(a.Salt) > maxSalt:
		return fmt.Errorf("%w: what it says about Argon2 is out of bounds", ErrUnwrap)
	}
	return nil
}

func (a *Argon2) derive(passphrase []byte) []byte {
	return argon2.IDKey(passphrase, a.Salt, a.Time, a.Memory, a.Threads, 32)
}

// inputsParams say what inputs a KEK is wrapped with.
type inputsParams struct {
	Version  int     `json:"v"`
	Secret   string  `json:"secret"` // Secret.ID
	Salt     []byte  `json:"salt"`
	Argon2id *Argon2 `json:"argon2id,omitempty"` // nil: there is no passphrase
}

func parseInputs(w Wrapped) (p inputsParams, err error) {
	if err := parseParams(w.Params, &p); err != nil {
		return p, err
	}
	if p.Version != 1 || len(p.Salt) < minSalt || len(p.Salt) > maxSalt {
		return p, fmt.Errorf("%w: its parameters are not known here", ErrUnwrap)
	}
	if p.Argon2id != nil {
		return p, p.Argon2id.check()
	}
	return p, nil
}

func parseParams(text []byte, into any) error {
	if len(text) > maxParams {
		return fmt.Errorf("%w: its parameters are too long", ErrUnwrap)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: its parameters cannot be read", ErrUnwrap)
	}
	return nil
}

// NeedsPassphrase reports whether a KEK is opened with a passphrase beside the secret file, and returns the id of that.
func NeedsPassphrase(w Wrapped) (secretID string, passphrase bool, err error) {
	p, err := parseInputs(w)
	return p.Secret, p.Argon2id != nil, err
}

// Inputs is the wrap by a secret file and, unless that is nil, a passphrase. What is derived from both by HKDF encrypts the KEK, so that each
// is worth nothing without the other.
type Inputs struct {
	// Secret returns the secret with this id, or, if that is empty, the one to wrap with.
	Secret func(id string) (*Secret, error)
	// Passphrase returns the passphrase, nil if there is none, and ErrLocked if it is not there.
	Passphrase func() ([]byte, error)
}

// Name returns "inputs".
func (Inputs) Name() string { return WrapInputs }

// Wrap encrypts with the inputs that there are.
func (in Inputs) Wrap(_ context.Context, authority string, kek []byte) (Wrapped, error) {
	secret, err := in.Secret("")
	if err != nil {
		return Wrapped{}, err
	}
	passphrase, err := in.Passphrase()
	if err != nil {
		return Wrapped{}, err
	}
	p := inputsParams{Version: 1, Secret: secret.ID(), Salt: make([]byte, 32)}
	if _, err := rand.Read(p.Salt); err != nil {
		return Wrapped{}, err
	}
	if passphrase != nil {
		if p.Argon2id, err = newArgon2(); err != nil {
			return Wrapped{}, err
		}
	}
	key, err := p.derive(secret, passphrase)
	if err != nil {
		return Wrapped{}, err
	}
	defer clear(key)
	params, err := json.Marshal(p)
	if err != nil {
		return Wrapped{}, err
	}
	sealed, err := seal(key, kek, aboutKEK(WrapInputs, authority, params))
	return Wrapped{Wrap: WrapInputs, Params: params, Key: sealed}, err
}

// Unwrap derives the key that the parameters ask for.
func (in Inputs) Unwrap(_ context.Context, authority string, w Wrapped) ([]byte, error) {
	p, err := parseInputs(w)
	if err != nil {
		return nil, err
	}
	secret, err := in.Secret(p.Secret)
	if err != nil {
		return nil, err
	}
	if secret.ID() != p.Secret {
		return nil, fmt.Errorf("%w: the key secret is another one (%s) than that which the keys are sealed with (%s)", ErrLocked, secret.ID(), p.Secret)
	}
	var passphrase []byte
	if p.Argon2id != nil {
		if passphrase, err = in.Passphrase(); err != nil {
			return nil, err
		}
		if passphrase == nil {
			return nil, ErrPassphrase
		}
	}
	key, err := p.derive(secret, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return openKEK(key, w, authority)
}

// derive combines the inputs. Whether there is a passphrase is part of what is derived.
func (p inputsParams) derive(secret *Secret, passphrase []byte) ([]byte, error) {
	info, inputs := "cauase key inputs 1, secret", bytes.Clone(secret[:])
	if p.Argon2id != nil {
		info += " and passphrase"
		slow := p.Argon2id.derive(passphrase)
		inputs = append(inputs, slow...)
		clear(slow)
	}
	defer clear(inputs)
	return hkdf.Key(sha256.New, inputs, p.Salt, info, kekSize)
}

// aboutKEK is the associated data of a KEK.
func aboutKEK(wrap, authority string, params []byte) []byte {
	return parts("cauase wrapped KEK 1", []byte(wrap), []byte(authority), params)
}

// openKEK decrypts a KEK with a key that a wrap has.
func openKEK(key []byte, w Wrapped, authority string) ([]byte, error) {
	kek, err := unseal(key, w.Key, aboutKEK(w.Wrap, authority, w.Params))
	if err != nil || len(kek) != kekSize {
		return nil, ErrUnwrap
	}
	return kek, nil
}

// WrapWith encrypts a KEK by a key of 32 bytes that is kept somewhere else.
func WrapWith(name string, key []byte, authority string, params, kek []byte) (Wrapped, error) {
	sealed, err := seal(key, kek, aboutKEK(name, authority, params))
	return Wrapped{Wrap: name, Params: params, Key: sealed}, err
}

// UnwrapWith opens what WrapWith has made.
func UnwrapWith(key []byte, authority string, w Wrapped) ([]byte, error) {
	return openKEK(key, w, authority)
}
