package pemfile

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cauase/pkg/pki"
)

// suffixNextKey ends the name of a key that a certificate has been, or is about to be,
// asked for.
const suffixNextKey = ".next"

func (p PairPaths) nextKey() string {
	path := p.KeyPath()
	return filepath.Join(filepath.Dir(path), siblingPrefix(path)+"key"+suffixNextKey)
}

// StageKey puts a new key on disk, beside the pair it will be part of. It is kept there
// until [DropStagedKey]: a certificate is asked for only with a key that no crash can lose.
func StageKey(paths PairPaths, key crypto.Signer) error {
	content, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		return err
	}
	_, err = Write(File{Path: paths.nextKey(), Content: content, Secret: true, Attributes: Attributes{Mode: 0o600, Step: paths.Attributes.Step}})
	return err
}

// StagedKey returns the key that StageKey stored, or fs.ErrNotExist.
func StagedKey(paths PairPaths) (crypto.Signer, error) { return ReadKey(paths.nextKey()) }

// PlaceStagedKey makes the staged key the key of a pair that has none, and no certificate yet.
// A key that is there already is never replaced: that is fs.ErrExist.
func PlaceStagedKey(paths PairPaths) error {
	key, err := StagedKey(paths)
	if err != nil {
		return err
	}
	switch there, err := ReadKey(paths.KeyPath()); {
	case err == nil && pki.SameKey(there.Public(), key.Public()):
		return DropStagedKey(paths)
	case err == nil:
		return fmt.Errorf("%s holds a private key: %w", paths.KeyPath(), fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	content, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		return err
	}
	if _, err := Write(File{Path: paths.KeyPath(), Content: content, Secret: true, Attributes: paths.Attributes}); err != nil {
		return err
	}
	return DropStagedKey(paths)
}

// DropStagedKey removes what StageKey stored, if anything.
func DropStagedKey(paths PairPaths) error {
	paths.Attributes.step("remove " + paths.nextKey())
	err := os.Remove(paths.nextKey())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sweep removes what writers of path that crashed have left beside it before a time. It
// is not for the files of a pair, see [RecoverPair].
func Sweep(path string, before time.Time) {
	for _, name := range leftovers(path, suffixNew, suffixOld) {
		if info, err := os.Lstat(name); err == nil && info.ModTime().Before(before) {
			_ = os.Remove(name)
		}
	}
}

// SweepAll is Sweep for any time. Nobody else may be writing path meanwhile.
func SweepAll(path string) { sweep(path) }

// Sweep removes what crashes have left of files in the store before a time. Younger files
// may be those of another process that is writing to the same store.
func (s Store) Sweep(before time.Time) {
	Sweep(s.Path, before)
	entries, err := os.ReadDir(s.Path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == suffixNew || filepath.Ext(e.Name()) == suffixOld {
			path := filepath.Join(s.Path, e.Name())
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) && isLeftover(e.Name(), s.kind.suffix) {
				_ = os.Remove(path)
			}
		}
	}
}

// isLeftover recognises the temporary name of a file with the managed ending.
func isLeftover(name, suffix string) bool {
	ext := filepath.Ext(name)
	rest := name[:len(name)-len(ext)] // .ID.ca.pem.RANDOM
	random := filepath.Ext(rest)
	return len(name) > 0 && name[0] == '.' && len(random) == 17 && filepath.Ext(rest[:len(rest)-17]) == filepath.Ext(suffix)
}
