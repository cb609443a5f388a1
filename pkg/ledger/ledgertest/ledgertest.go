// Package ledgertest holds logs in memory for the tests of other packages, and what an attacker makes of them.
package ledgertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"cauase/pkg/ledger"
	"cauase/pkg/merkle"
	"cauase/pkg/witness"
)

// A Log is a ledger.Source in memory. Whoever has it can do with it as they like.
type Log struct {
	mu     sync.Mutex
	key    ed25519.PrivateKey
	origin string
	leaves [][]byte
	hashes []tlog.Hash // in the order of tlog.StoredHashIndex
	epochs []witness.Epoch
	signed []byte
}

// New returns an empty log, with a key that follows from its name.
func New(name string) *Log {
	seed := sha256.Sum256([]byte(name))
	l := &Log{key: ed25519.NewKeyFromSeed(seed[:]), origin: merkle.OriginPrefix + "0123456789abcdef"}
	l.epochs = []witness.Epoch{{Epoch: 1, Root: merkle.EmptyRoot(), Time: 1}}
	return l
}

// Clone returns a copy that goes its own way.
func (l *Log) Clone() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Log{key: l.key, origin: l.origin, signed: l.signed}
	c.leaves, c.hashes, c.epochs = append(c.leaves, l.leaves...), append(c.hashes, l.hashes...), append(c.epochs, l.epochs...)
	return c
}

// Replace has the log be another one from now on, as when somebody puts a file in place of a database.
func (l *Log) Replace(by *Log) {
	c := by.Clone()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.key, l.origin, l.leaves, l.hashes, l.epochs, l.signed = c.key, c.origin, c.leaves, c.hashes, c.epochs, c.signed
}

// Key is the public key.
func (l *Log) Key(context.Context) (merkle.Key, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.public(), nil
}

func (l *Log) public() merkle.Key {
	return merkle.Key{Origin: l.origin, Public: l.key.Public().(ed25519.PublicKey)}
}

// SetKey has another key sign from now on.
func (l *Log) SetKey(name string) {
	seed := sha256.Sum256([]byte(name))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.key = ed25519.NewKeyFromSeed(seed[:])
	l.sign(time.Unix(1, 0))
}

// SetOrigin makes it another log.
func (l *Log) SetOrigin(origin string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.origin = origin
	l.sign(time.Unix(1, 0))
}

// Append appends an entry, of the issuance of a certificate if der is given, and signs a checkpoint.
func (l *Log) Append(at time.Time, authority, action string, der []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	leaf := merkle.Leaf{Index: int64(len(l.leaves)), Time: at, Authority: authority, Action: action, Result: "ok"}
	if der != nil {
		digest := sha256.Sum256(der)
		leaf.ObjectDigest = digest[:]
	}
	l.add(leaf.Append(nil))
	l.sign(at)
}

// Rewrite changes one entry and computes all anew that follows from it: hashes, root and checkpoint, with the log's own key.
func (l *Log) Rewrite(index int64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	leaves := l.leaves
	l.leaves, l.hashes = nil, nil
	for i, data := range leaves {
		if int64(i) == index {
			leaf, err := merkle.ParseLeaf(data)
			if err != nil {
				panic(err)
			}
			leaf.Result, leaf.ObjectDigest = "refused", nil
			data = leaf.Append(nil)
		}
		l.add(data)
	}
	l.sign(at)
}

// Restore goes back to a size. It is declared unless the time is zero, with a new epoch.
func (l *Log) Restore(size int64, declared time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaves, l.hashes = l.leaves[:size], l.hashes[:tlog.StoredHashCount(size)]
	for len(l.epochs) > 1 && l.epochs[len(l.epochs)-1].Size > size {
		l.epochs = l.epochs[:len(l.epochs)-1]
	}
	at := declared
	if at.IsZero() {
		at = time.Unix(1, 0)
	} else {
		l.epochs = append(l.epochs, witness.Epoch{Epoch: l.epochs[len(l.epochs)-1].Epoch + 1, Size: size, Root: l.root(size), Time: at.Unix()})
	}
	l.sign(at)
}

func (l *Log) add(data []byte) {
	hashes, err := tlog.StoredHashes(int64(len(l.leaves)), data, reader{l})
	if err != nil {
		panic(err)
	}
	l.leaves, l.hashes = append(l.leaves, data), append(l.hashes, hashes...)
}

func (l *Log) root(size int64) merkle.Hash {
	if size == 0 {
		return merkle.EmptyRoot()
	}
	root, err := tlog.TreeHash(size, reader{l})
	if err != nil {
		panic(err)
	}
	return root
}

func (l *Log) sign(at time.Time) {
	size := int64(len(l.leaves))
	signed, err := merkle.SignCheckpoint(merkle.Checkpoint{
		Origin: l.origin, Size: size, Root: l.root(size), Time: at, Epoch: l.epochs[len(l.epochs)-1].Epoch,
	}, l.key)
	if err != nil {
		panic(err)
	}
	l.signed = signed
}

// Size is the number of entries.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.leaves))
}

// Signed is the newest checkpoint.
func (l *Log) Signed() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.signed
}

// Head is what a host learns that asks about a checkpoint of a size.
func (l *Log) Head(from int64) witness.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := merkle.OpenCheckpoint(l.signed, l.public())
	if err != nil {
		panic(err)
	}
	h := witness.Head{Checkpoint: c, Signed: string(l.signed), Key: l.public(), Epochs: append([]witness.Epoch(nil), l.epochs...), From: from}
	if from > 0 && from <= c.Size {
		if h.Consistency, err = merkle.ProveConsistency(from, c.Size, reader{l}); err != nil {
			panic(err)
		}
	}
	return h
}

// Read is that of a ledger.Source.
func (l *Log) Read(_ context.Context, fn func(ledger.Reader) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fn(reader{l})
}

type reader struct{ l *Log }

func (r reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, i := range indexes {
		hashes = append(hashes, r.l.hashes[i])
	}
	return hashes, nil
}

func (r reader) State() (ledger.State, error) {
	return ledger.State{
		Origin: r.l.origin, Size: int64(len(r.l.leaves)), Epoch: r.l.epochs[len(r.l.epochs)-1].Epoch,
		Epochs: r.l.epochs, Checkpoint: r.l.signed,
	}, nil
}

func (r reader) Leaf(digest []byte) ([]byte, error) {
	for _, data := range r.l.leaves {
		if leaf, err := merkle.ParseLeaf(data); err == nil && len(digest) > 0 && string(leaf.ObjectDigest) == string(digest) {
			return data, nil
		}
	}
	return nil, ledger.ErrNotLogged
}
