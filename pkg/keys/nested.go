package keys

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// The KEK of the daemon as a whole is encrypted by a Wrap, and those of authorities under it. So what opens them is changed in one row, and a
// daemon can begin an authority without what it was opened with. That of a root may be under a passphrase of its own besides.
const (
	wrapDaemon     = "daemon"
	WrapPassphrase = "passphrase" // of a root: the daemon's KEK alone does not open it
)

// passphraseParams say how the passphrase of a root is made to cost.
type passphraseParams struct {
	Version  int     `json:"v"`
	Salt     []byte  `json:"salt"`
	Argon2id *Argon2 `json:"argon2id"`
}

func (p passphraseParams) derive(daemonKEK, passphrase []byte) ([]byte, error) {
	slow := p.Argon2id.derive(passphrase)
	inputs := append(append([]byte{}, daemonKEK...), slow...)
	clear(slow)
	defer clear(inputs)
	return hkdf.Key(sha256.New, inputs, p.Salt, "cauase key of a root 1", kekSize)
}

// wrapOwn encrypts a KEK under the daemon's and a passphrase.
func wrapOwn(daemonKEK, passphrase []byte, authority string, kek []byte) (Wrapped, error) {
	p := passphraseParams{Version: 1, Salt: make([]byte, 32)}
	if _, err := rand.Read(p.Salt); err != nil {
		return Wrapped{}, err
	}
	var err error
	if p.Argon2id, err = newArgon2(); err != nil {
		return Wrapped{}, err
	}
	key, err := p.derive(daemonKEK, passphrase)
	if err != nil {
		return Wrapped{}, err
	}
	defer clear(key)
	params, err := json.Marshal(p)
	if err != nil {
		return Wrapped{}, err
	}
	return WrapWith(WrapPassphrase, key, authority, params, kek)
}

func unwrapOwn(daemonKEK, passphrase []byte, authority string, w Wrapped) ([]byte, error) {
	var p passphraseParams
	if err := parseParams(w.Params, &p); err != nil {
		return nil, err
	}
	if p.Version != 1 || p.Argon2id == nil || len(p.Salt) < minSalt || len(p.Salt) > maxSalt {
		return nil, fmt.Errorf("%w: its parameters are not known here", ErrUnwrap)
	}
	if err := p.Argon2id.check(); err != nil {
		return nil, err
	}
	key, err := p.derive(daemonKEK, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return openKEK(key, w, authority)
}
