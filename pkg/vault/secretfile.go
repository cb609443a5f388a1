package vault

import (
	"errors"
	"io/fs"

	"cauase/pkg/keys"
)

// SecretFile is the wrap by the secret file at path, which is made when it is needed to wrap with and not there, and by a passphrase, nil if
// there is none.
func SecretFile(path string, passphrase func() ([]byte, error)) keys.Wrap {
	return keys.Inputs{
		Secret: func(id string) (*keys.Secret, error) {
			if id != "" {
				return keys.FindSecret(path, id)
			}
			s, err := keys.ReadSecret(path)
			if !errors.Is(err, fs.ErrNotExist) {
				return s, err
			}
			if s, err = keys.NewSecret(); err != nil {
				return nil, err
			}
			return s, s.Write(path)
		},
		Passphrase: passphrase,
	}
}
