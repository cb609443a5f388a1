package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A HashReader returns hashes of subtrees by their indexes in the order of tlog.StoredHashIndex. A TileReader is one.
type HashReader = tlog.HashReader

// ProveConsistency returns the proof that the tree of size2 begins with that of size1.
func ProveConsistency(size1, size2 int64, r HashReader) ([]Hash, error) {
	if err := ordered(size1, size2); err != nil || size1 == 0 {
		return nil, err
	}
	return tlog.ProveTree(size2, size1, r)
}

// CheckConsistency returns nil if proof proves that the tree of size2 begins with that of size1, ErrProof if not.
func CheckConsistency(size1 int64, root1 Hash, size2 int64, root2 Hash, proof []Hash) error {
	if err := ordered(size1, size2); err != nil {
		return err
	}
	if size1 == 0 {
		if len(proof) > 0 || root1 != EmptyRoot() || size2 == 0 && root2 != EmptyRoot() {
			return ErrProof
		}
		return nil
	}
	if tlog.CheckTree(proof, size2, root2, size1, root1) != nil {
		return ErrProof
	}
	return nil
}

// ProveInclusion returns the proof that a leaf is part of the tree of a size.
func ProveInclusion(leaf, size int64, r HashReader) ([]Hash, error) {
	if err := within(leaf, size); err != nil {
		return nil, err
	}
	return tlog.ProveRecord(size, leaf, r)
}

// CheckInclusion returns nil if proof proves that the leaf with that number has that hash in the tree of a size, ErrProof
// if not.
func CheckInclusion(leaf int64, hash Hash, size int64, root Hash, proof []Hash) error {
	if err := within(leaf, size); err != nil {
		return err
	}
	if tlog.CheckRecord(proof, size, root, leaf, hash) != nil {
		return ErrProof
	}
	return nil
}

func ordered(size1, size2 int64) error {
	if size1 < 0 || size2 > MaxSize || size1 > size2 {
		return fmt.Errorf("%w: no tree of size %d begins with one of size %d", ErrProof, size2, size1)
	}
	return nil
}

func within(leaf, size int64) error {
	if leaf < 0 || size > MaxSize || leaf >= size {
		return fmt.Errorf("%w: no tree of size %d has a leaf %d", ErrProof, size, leaf)
	}
	return nil
}
