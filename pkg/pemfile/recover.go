package pemfile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"cauase/pkg/folder"
)

// A recovery is at work on what a crash has left of a pair in two files.
type recovery struct {
	paths    PairPaths
	key, crt place
}

// A place is a name in a folder that is open.
type place struct {
	in   *folder.Folder
	name string
}

// RecoverPair completes or undoes what a crash in [WritePair] with two files may have
// left. A new pair that is on disk in full, in place or beside it, is put in place:
// its certificate has been issued, and the key of it must not get lost. Failing that, the
// old pair is. It reports whether it changed anything. Other leftovers of WritePair are
// removed, unless the pair does not match and cannot be mended.
//
// Nobody else may be writing the same pair meanwhile.
func RecoverPair(paths PairPaths) (mended bool, err error) {
	r := recovery{paths: paths}
	if r.key, err = paths.Attributes.replaced(paths.KeyPath()); err != nil {
		return false, err
	}
	defer r.key.in.Close()
	paths.Attributes.sweep(r.key.in, stagedName(r.key.name))
	paths.Attributes.sweep(r.key.in, stagedCrtName(r.key.name))
	if paths.Combined() {
		paths.Attributes.sweep(r.key.in, r.key.name)
		return false, nil
	}
	if r.crt, err = paths.Attributes.replaced(paths.Crt); err != nil {
		return false, err
	}
	defer r.crt.in.Close()
	if mended, err = r.run(); err != nil {
		return false, err
	}
	paths.Attributes.sweep(r.key.in, r.key.name)
	paths.Attributes.sweep(r.crt.in, r.crt.name)
	return mended, nil
}

// replaced returns where the file is that is replaced when path is written, which is where leftovers are.
func (a Attributes) replaced(path string) (place, error) {
	if a.Follow {
		if in, name, err := a.Access().Target(path); !errors.Is(err, fs.ErrNotExist) {
			return place{in, name}, err
		}
	}
	in, name, err := a.Access().Parent(path)
	return place{in, name}, err
}

func (r *recovery) run() (mended bool, err error) {
	pair, err := r.read(r.key.name, r.crt.name)
	switch {
	case err == nil && pair.Crt != nil, errors.Is(err, fs.ErrNotExist):
		return r.complete(pair.Crt)
	case err == nil:
		return r.mend() == nil, nil
	case errors.Is(err, ErrMismatch):
		err = r.mend()
		return err == nil, err
	case errors.Is(err, ErrSymlink):
		return false, nil // what is behind it is not replaced
	}
	return false, err
}

// read reads a pair from two names in the folders of the pair.
func (r *recovery) read(key, crt string) (Pair, error) {
	keyFile, keyErr := r.paths.Attributes.readIn(r.key.in, key)
	crtFile, crtErr := r.paths.Attributes.readIn(r.crt.in, crt)
	return assemble(PairPaths{Key: r.key.in.Join(key), Crt: r.crt.in.Join(crt), Attributes: r.paths.Attributes}, keyFile, keyErr, crtFile, crtErr)
}

// matches reads a pair that has to be whole.
func (r *recovery) matches(key, crt string) (Pair, bool) {
	pair, err := r.read(key, crt)
	return pair, err == nil && pair.Crt != nil
}

func (r *recovery) place(p place, from string) error {
	r.paths.Attributes.step("recover " + p.in.Join(p.name))
	if err := p.in.Rename(from, p.name); err != nil {
		return err
	}
	return syncNames(p.in)
}

// complete puts a pair in place whose halves were both written and not yet renamed, if
// it is newer than current; nil stands for no current certificate.
func (r *recovery) complete(current *x509.Certificate) (bool, error) {
	for _, crt := range r.paths.Attributes.leftovers(r.crt.in, r.crt.name, suffixNew) {
		for _, key := range r.paths.Attributes.leftovers(r.key.in, r.key.name, suffixNew) {
			pair, whole := r.matches(key, crt)
			if !whole || current != nil && pair.Crt.NotBefore.Before(current.NotBefore) {
				continue
			}
			// From here on a crash leaves what mend completes.
			if err := r.place(r.key, key); err != nil {
				return false, err
			}
			return true, r.place(r.crt, crt)
		}
	}
	return false, nil
}

func (r *recovery) mend() error {
	for _, crt := range r.paths.Attributes.leftovers(r.crt.in, r.crt.name, suffixNew) {
		if _, whole := r.matches(r.key.name, crt); whole {
			return r.place(r.crt, crt)
		}
	}
	for _, key := range r.paths.Attributes.leftovers(r.key.in, r.key.name, suffixOld) {
		if _, whole := r.matches(key, r.crt.name); whole {
			return r.place(r.key, key)
		}
	}
	return fmt.Errorf("%s and %s: %w, and nothing beside them mends it", r.paths.Key, r.paths.Crt, ErrMismatch)
}
