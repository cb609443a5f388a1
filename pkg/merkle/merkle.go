// Package merkle holds what makes a log one that nobody can rewrite unnoticed: its leaves, the tree over them, proofs,
// and checkpoints, which are signed statements of how long the log is and what it holds. It reads and writes nothing.
//
// The tree is that of RFC 6962, section 2.1. Tiles are those of C2SP tlog-tiles, checkpoints those of C2SP
// tlog-checkpoint. docs/audit-log.md describes all of it for those who verify without this package.
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// HashSize is the size of a Hash in bytes.
const HashSize = tlog.HashSize

// MaxSize bounds the size of a tree that is talked of. It is more leaves than anybody writes, few enough for arithmetic
// in 64 bits not to overflow, and a number that is exact in every JSON parser.
const MaxSize = 1 << 48

// A Hash is that of a leaf, or of a part of the tree.
type Hash = tlog.Hash

var (
	// ErrProof means that a proof does not prove what it was given for.
	ErrProof = errors.New("merkle: the proof is not valid")
	// ErrMalformed means that a leaf, a checkpoint, a frontier or a tile is not of its form.
	ErrMalformed = errors.New("merkle: malformed")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// HashLeaf is the hash of a leaf with this data.
func HashLeaf(data []byte) Hash { return tlog.RecordHash(data) }

// EmptyRoot is the root of the tree without leaves.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

func checkSize(size int64) error {
	if size < 0 || size > MaxSize {
		return malformed("%d is not the size of a tree", size)
	}
	return nil
}
