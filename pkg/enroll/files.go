package enroll

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"cauase/pkg/client"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// Files is what the files of a pair hold at one moment.
type Files struct {
	Pair pemfile.Pair
	Err  error // of pemfile.ReadPair

	RawKey []byte // of the file with the key, nil if it cannot be read
	RawCrt []byte // of the file with the certificate, nil where that is the same

	// KeyFile is which file RawKey was read from, and whose: it belongs to nobody else. Nil if it
	// cannot be read.
	KeyFile *folder.Info
}

// Look reads the files of a pair.
func Look(paths pemfile.PairPaths) Files {
	pair, key, crt, err := pemfile.LoadPair(paths)
	return Files{Pair: pair, Err: err, RawKey: key.Data, RawCrt: crt.Data, KeyFile: key.Info}
}

// same reports whether the files still hold what they did, and the key is still in the same hands.
func (f Files) same(other Files) bool {
	return bytes.Equal(f.RawKey, other.RawKey) && bytes.Equal(f.RawCrt, other.RawCrt) && sameHands(f.KeyFile, other.KeyFile)
}

// sameHands reports whether two descriptions are of one file, which the same users can read.
func sameHands(a, b *folder.Info) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Same(b) && a.UID() == b.UID() && a.GID() == b.GID() && a.Mode() == b.Mode()
}

// empty reports whether nothing is there that could be lost.
func (f Files) empty() bool {
	return len(bytes.TrimSpace(f.RawKey)) == 0 && len(bytes.TrimSpace(f.RawCrt)) == 0
}

// Recover completes or undoes what an attempt that was interrupted has left, and reports whether
// the pair has changed; see [pemfile.RecoverPair]. A staged key that has got into its place is
// removed. One that has not is kept for the next attempt: its certificate may have been issued.
func (e *Engine) Recover() (mended bool, err error) {
	err = exclusively(e.Paths, func() (err error) {
		if e.CSR != "" {
			e.csrAttributes().SweepAll(e.CSR)
		}
		mended, err = pemfile.RecoverPair(e.Paths)
		return join(err, e.unstagePlaced())
	})
	return mended, err
}

// unstagePlaced removes a staged key that is in its place.
func (e *Engine) unstagePlaced() error {
	staged, err := pemfile.StagedKey(e.Paths)
	if errors.Is(err, fs.ErrNotExist) {
		return pemfile.DropStagedKey(e.Paths) // of which the certificate may be left
	}
	if err != nil {
		return nil //nolint:nilerr // the next attempt replaces it
	}
	current, err := e.Paths.Attributes.ReadKey(e.Paths.KeyPath())
	if err != nil || !pki.SameKey(staged.Public(), current.Public()) {
		return nil //nolint:nilerr // it may be the only one there is
	}
	if err := pemfile.DropStagedKey(e.Paths); err != nil {
		return fmt.Errorf("cannot remove a key that is in its place by now: %w", err)
	}
	return nil
}

// What Install and Adopt can change, in the words in which hooks hear of it.
const (
	changedCrt = "crt"
	changedKey = "key"
)

// Install puts what was issued in place, unless the files have changed since the attempt began.
// A key that is new changes together with its certificate or not at all. It returns what has
// changed, of "crt" and "key".
func (e *Engine) Install(i *Issue) (changed []string, err error) {
	err = exclusively(e.Paths, func() (err error) {
		if !Look(e.Paths).same(i.Before) {
			return ErrOvertaken
		}
		changed, err = e.put(i.Pair, i.Staged)
		return err
	})
	return changed, err
}

// Adopt stores a certificate that has been verified beside whichever key it is for: the one in
// place, the staged one, which then takes its place, or none that is here, if no other is. It
// returns what has changed, of "crt" and "key".
func (e *Engine) Adopt(issued client.Issued) (changed []string, err error) {
	err = exclusively(e.Paths, func() (err error) {
		key, failed := pemfile.StagedKey(e.Paths)
		staged := failed == nil && pki.SameKey(key.Public(), issued.Certificate.PublicKey)
		changed, err = e.put(pairOf(key, issued), staged)
		return err
	})
	return changed, err
}

func (e *Engine) put(pair pemfile.Pair, staged bool) ([]string, error) {
	if !staged {
		changed, err := pemfile.AddCertificate(e.Paths, pair.Crt, pair.Chain...)
		if !changed {
			return nil, err
		}
		return []string{changedCrt}, err
	}
	changed, err := pemfile.WritePair(e.Paths, pair)
	if err != nil {
		return nil, err
	}
	// The pair is whole: a key that cannot be removed is one for Recover.
	_ = e.unstagePlaced()
	if !changed {
		return nil, nil
	}
	return []string{changedCrt, changedKey}, nil
}

// join is errors.Join, except that one error stays itself: it is shown to people in one line.
func join(a, b error) error {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	return errors.Join(a, b)
}
