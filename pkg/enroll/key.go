package enroll

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// keyType is the type of the key that takes the place of old.
func (e *Engine) keyType(old crypto.PublicKey) (pki.KeyType, error) {
	if e.KeyType != "" {
		return e.KeyType, nil
	}
	keyType, err := pki.LikeKeyType(old)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyType, err)
	}
	return keyType, nil
}

// ErrKeyType says that no new key of the old one's type can be made.
var ErrKeyType = errors.New("the type of the new key has to be chosen")

// stage returns the key to ask with, which is on disk: the one of an attempt of which nobody
// knows the end, or a new one. current is the key in place, nil for none.
func (e *Engine) stage(keyType pki.KeyType, current crypto.Signer) (key crypto.Signer, err error) {
	err = exclusively(e.Paths, func() (err error) {
		if key, err = pemfile.StagedKey(e.Paths); err == nil {
			found, typeErr := pki.LikeKeyType(key.Public())
			if typeErr == nil && found == keyType && (current == nil || !pki.SameKey(key.Public(), current.Public())) {
				return nil
			}
		}
		if key, err = keyType.Generate(); err != nil {
			return err
		}
		return pemfile.StageKey(e.Paths, key)
	})
	return key, err
}

// unstage removes the staged key if it is this one.
func (e *Engine) unstage(key crypto.Signer) error {
	return exclusively(e.Paths, func() error {
		staged, err := pemfile.StagedKey(e.Paths)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !pki.SameKey(staged.Public(), key.Public()) {
			return nil
		}
		if err != nil {
			return err
		}
		return pemfile.DropStagedKey(e.Paths)
	})
}

// Restart forgets the staged key, for an attempt that is to have nothing of those before.
func (e *Engine) Restart() error {
	return exclusively(e.Paths, func() error { return pemfile.DropStagedKey(e.Paths) })
}
