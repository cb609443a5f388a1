package store

import (
	"time"

	"cauase/pkg/merkle"
)

// A Log is the head of the Merkle tree over the audit log. There is one, whose ID is 1.
type Log struct {
	ID     int64
	Origin string // of checkpoints, random
	Secret []byte // of which the salts of leaves are made
	Size   int64  // how many leaves there are
	Seq    int64  // of the last entry
	Edge   []byte // the hashes of the complete subtrees that make up the tree, largest first
	Epoch  int64  // 1 at first; one more after each restore
	Epochs string // JSON: where each began
}

// An Epoch is one in Epochs: from this size on, other leaves may follow than there were before a restore.
type Epoch struct {
	Epoch int64       `json:"epoch"`
	Size  int64       `json:"size"`
	Root  merkle.Hash `json:"root"`
	Time  int64       `json:"time"` // seconds since 1970
}

// A LogTile holds the hashes of one level of the tree that belong together: 256 of them.
type LogTile struct {
	Level  int // 0: leaves
	Number int64
	Hashes []byte
}

// A Checkpoint is a signed head of the tree.
type Checkpoint struct {
	Size   int64
	Time   time.Time
	Root   []byte
	Epoch  int64
	Signed []byte // the note
}

func (Log) row()        {}
func (LogTile) row()    {}
func (Checkpoint) row() {}
