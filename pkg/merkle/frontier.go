package merkle

import (
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Frontier is all that is needed of a tree to append to it: its size, and the hashes of the complete subtrees at its right edge.
// The zero Frontier is that of the empty tree.
type Frontier struct {
	size   int64
	hashes []Hash // largest subtree first
}

// ReadFrontier reads what Edge has written.
func ReadFrontier(size int64, edge []byte) (Frontier, error) {
	if err := checkSize(size); err != nil {
		return Frontier{}, err
	}
	if n := bits.OnesCount64(uint64(size)); len(edge) != n*HashSize {
		return Frontier{}, malformed("the frontier of a tree of size %d has %d hashes of %d bytes, not %d bytes", size, n, HashSize, len(edge))
	}
	hashes, err := readHashes(edge)
	return Frontier{size, hashes}, err
}

// readHashes takes a sequence of hashes apart.
func readHashes(b []byte) ([]Hash, error) {
	if len(b)%HashSize != 0 {
		return nil, malformed("%d bytes are not a sequence of hashes", len(b))
	}
	hashes := make([]Hash, 0, len(b)/HashSize)
	for h := range slices.Chunk(b, HashSize) {
		hashes = append(hashes, Hash(h))
	}
	return hashes, nil
}

// joinHashes is the opposite of readHashes.
func joinHashes(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// Size is the number of leaves.
func (f *Frontier) Size() int64 { return f.size }

// Edge is the sequence of hashes.
func (f *Frontier) Edge() []byte { return joinHashes(f.hashes) }

// Root is the root of the tree.
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return EmptyRoot()
	}
	root := f.hashes[len(f.hashes)-1]
	for _, h := range slices.Backward(f.hashes[:len(f.hashes)-1]) {
		root = tlog.NodeHash(h, root)
	}
	return root
}

// FrontierAt is the frontier that a tree had when it was of a size.
func FrontierAt(size int64, r HashReader) (Frontier, error) {
	if err := checkSize(size); err != nil {
		return Frontier{}, err
	}
	var indexes []int64
	start := int64(0)
	for level := bits.Len64(uint64(size)) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, start>>level))
			start += 1 << level
		}
	}
	hashes, err := r.ReadHashes(indexes)
	return Frontier{size, hashes}, err
}

// Append appends a leaf with this hash. If node is not nil it is called with each subtree that becomes complete and is a
// hash of a tile above the lowest: the level of the tile, and the number of the hash among those of that level.
func (f *Frontier) Append(leaf Hash, node func(level int, n int64, h Hash)) {
	f.AppendAs(leaf, func(level int, n int64, h Hash) Hash {
		if node != nil {
			node(level, n, h)
		}
		return h
	})
}

// AppendAs is Append, but goes on with what node returns in place of each such hash.
func (f *Frontier) AppendAs(leaf Hash, node func(level int, n int64, h Hash) Hash) {
	h, level := leaf, 0
	for n := f.size; n&1 == 1; n >>= 1 { // each trailing 1 is a subtree as large as the one that ends here
		last := len(f.hashes) - 1
		h, f.hashes = tlog.NodeHash(f.hashes[last], h), f.hashes[:last]
		level++
		if level%TileHeight == 0 {
			h = node(level/TileHeight, n>>1, h)
		}
	}
	f.hashes = append(f.hashes, h)
	f.size++
}

// Clone returns a copy that can be appended to by itself.
func (f *Frontier) Clone() Frontier { return Frontier{f.size, slices.Clone(f.hashes)} }
