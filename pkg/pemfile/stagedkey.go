package pemfile

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"cauase/pkg/folder"
	"cauase/pkg/pki"
)

// suffixNextKey ends the name of a key that a certificate has been, or is about to be,
// asked for, and of that certificate.
const suffixNextKey = ".next"

// stagedName is the name of the key that is staged for a file.
func stagedName(key string) string { return siblingPrefix(key) + "key" + suffixNextKey }

func (p PairPaths) nextKey() string {
	path := p.KeyPath()
	return filepath.Join(filepath.Dir(path), stagedName(filepath.Base(path)))
}

// StageKey puts a new key on disk, beside the pair it will be part of. It is kept there
// until [DropStagedKey]: a certificate is asked for only with a key that no crash can lose.
func StageKey(paths PairPaths, key crypto.Signer) error {
	content, err := paths.Attributes.EncodeKey(key)
	if err != nil {
		return err
	}
	_, err = Write(File{Path: paths.nextKey(), Content: content, Secret: true, Attributes: paths.beside()})
	return err
}

// beside are the attributes of what is kept beside a pair: it is nobody else's, and never a link.
func (p PairPaths) beside() Attributes {
	return Attributes{Mode: 0o600, Lock: p.Attributes.Lock, Follow: p.Attributes.Follow, Guard: p.Attributes.Guard, Own: p.Attributes.Own, Step: p.Attributes.Step}
}

// StagedKey returns the key that StageKey stored, or fs.ErrNotExist.
func StagedKey(paths PairPaths) (crypto.Signer, error) {
	return paths.beside().ReadKey(paths.nextKey())
}

// PlaceStagedKey makes the staged key the key of a pair that has none, and no certificate yet.
// A key that is there already is never replaced: that is fs.ErrExist.
func PlaceStagedKey(paths PairPaths) error {
	key, err := StagedKey(paths)
	if err != nil {
		return err
	}
	switch there, err := paths.Attributes.ReadKey(paths.KeyPath()); {
	case err == nil && pki.SameKey(there.Public(), key.Public()):
		return DropStagedKey(paths)
	case err == nil:
		return fmt.Errorf("%s holds a private key: %w", paths.KeyPath(), fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	content, err := paths.Attributes.EncodeKey(key)
	if err != nil {
		return err
	}
	if _, err := Write(File{Path: paths.KeyPath(), Content: content, Secret: true, Attributes: paths.Attributes}); err != nil {
		return err
	}
	return DropStagedKey(paths)
}

// stagedCrtName is the name of the certificate that was issued for the staged key of a file.
func stagedCrtName(key string) string { return siblingPrefix(key) + "crt" + suffixNextKey }

func (p PairPaths) nextCrt() string {
	path := p.KeyPath()
	return filepath.Join(filepath.Dir(path), stagedCrtName(filepath.Base(path)))
}

// StageCertificate keeps a certificate that was issued for the staged key, with its chain, beside that: if it cannot be
// put in place now, it can later.
func StageCertificate(paths PairPaths, pair Pair) error {
	_, err := Write(File{Path: paths.nextCrt(), Content: pair.PEM(), Attributes: paths.beside()})
	return err
}

// StagedCertificate returns what StageCertificate stored, or fs.ErrNotExist.
func StagedCertificate(paths PairPaths) (crt *x509.Certificate, chain []*x509.Certificate, err error) {
	content, err := paths.beside().Read(paths.nextCrt())
	if err != nil {
		return nil, nil, err
	}
	crts, err := CertificatesOf(paths.nextCrt(), content.Data)
	if err != nil || len(crts) == 0 {
		return nil, nil, cmp.Or(err, fs.ErrNotExist)
	}
	return crts[0], crts[1:], nil
}

// DropStagedKey removes what StageKey and StageCertificate stored, if anything.
func DropStagedKey(paths PairPaths) error {
	for _, path := range []string{paths.nextCrt(), paths.nextKey()} {
		in, name, err := paths.beside().Access().Parent(path)
		if err != nil {
			return err
		}
		if _, err = in.Stat(name); err == nil {
			paths.Attributes.step("remove " + path)
			err = in.Remove(name)
		}
		in.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Remove removes a file, or a link to one, as far as Guard and Follow let it.
func (a Attributes) Remove(path string) error {
	a.step("remove " + path)
	return a.remove(path)
}

func (a Attributes) remove(path string) error {
	in, name, err := a.Access().Parent(path)
	if err != nil {
		return err
	}
	defer in.Close()
	return in.Remove(name)
}

// Sweep removes what writers of path that crashed have left beside it before a time. It
// is not for the files of a pair, see [RecoverPair].
func (a Attributes) Sweep(path string, before time.Time) {
	in, name, err := a.Access().Parent(path)
	if err != nil {
		return
	}
	defer in.Close()
	for _, left := range a.leftovers(in, name, suffixNew, suffixOld) {
		removeBefore(in, left, before)
	}
}

func removeBefore(in *folder.Folder, name string, before time.Time) {
	if info, err := in.Stat(name); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
		_ = in.Remove(name)
	}
}

// SweepAll is Sweep for any time. Nobody else may be writing path meanwhile.
func (a Attributes) SweepAll(path string) {
	if in, name, err := a.Access().Parent(path); err == nil {
		a.sweep(in, name)
		in.Close()
	}
}

// Sweep removes what crashes have left of files in the store before a time. Younger files
// may be those of another process that is writing to the same store.
func (s Store) Sweep(before time.Time) {
	s.Attributes.Sweep(s.Path, before)
	in, err := s.Attributes.Access().Open(s.Path)
	if err != nil {
		return
	}
	defer in.Close()
	names, err := in.Names(maxEntries, func(name string) bool {
		ext := filepath.Ext(name)
		return (ext == suffixNew || ext == suffixOld) && isLeftover(name, s.kind.suffix)
	})
	if err != nil {
		return
	}
	for _, name := range names {
		removeBefore(in, name, before)
	}
}

// isLeftover recognises the temporary name of a file with the managed ending.
func isLeftover(name, suffix string) bool {
	ext := filepath.Ext(name)
	rest := name[:len(name)-len(ext)] // .ID.ca.pem.RANDOM
	random := filepath.Ext(rest)
	return len(name) > 0 && name[0] == '.' && len(random) == 17 && filepath.Ext(rest[:len(rest)-17]) == filepath.Ext(suffix)
}
