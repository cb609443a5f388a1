package merkle

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// A tree keeps what a store keeps: hashes of leaves, tiles, and the frontier.
type tree struct {
	Frontier
	leaves []Hash
	tiles  map[Tile][]Hash
	roots  []Hash // by size
}

func grow(n int, data func(int) []byte) *tree {
	t := &tree{tiles: make(map[Tile][]Hash), roots: []Hash{EmptyRoot()}}
	for i := range n {
		t.add(HashLeaf(data(i)))
	}
	return t
}

func (t *tree) add(h Hash) {
	t.leaves = append(t.leaves, h)
	t.Append(h, func(level int, n int64, h Hash) {
		at := Tile{level, n / TileWidth}
		if int64(len(t.tiles[at])) != n%TileWidth {
			panic("hashes of a tile come out of order")
		}
		t.tiles[at] = append(t.tiles[at], h)
	})
	t.roots = append(t.roots, t.Root())
}

func (t *tree) reader() HashReader {
	return TileReader(func(at Tile) ([]byte, error) {
		if at.Level > 0 {
			return JoinTile(t.tiles[at]), nil
		}
		from := min(int(at.Number)*TileWidth, len(t.leaves))
		return JoinTile(t.leaves[from:min(from+TileWidth, len(t.leaves))]), nil
	})
}

// The tree that implementations of RFC 6962 are tested with.
var (
	referenceLeaves = []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	referenceRoots  = []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
)

func TestReferenceTree(t *testing.T) {
	tr := grow(len(referenceLeaves), func(i int) []byte {
		b, err := hex.DecodeString(referenceLeaves[i])
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	for size, want := range referenceRoots {
		if got := hex.EncodeToString(tr.roots[size][:]); got != want {
			t.Errorf("root of %d leaves: %s, not %s", size, got, want)
		}
	}
}

// octets are the data of leaves that nobody confuses.
func octets(i int) []byte { return []byte{byte(i), byte(i >> 8), byte(i >> 16), 'x'} }

func raw(hashes []Hash) (list [][]byte) {
	for _, h := range hashes {
		list = append(list, h[:])
	}
	return list
}

// sizes are those at which something changes, and some others.
func sizes(most int64) (list []int64) {
	for _, n := range []int64{1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 65792, 70000} {
		if n <= most {
			list = append(list, n)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		list = append(list, 1+r.Int64N(most))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// An implementation that shares nothing with ours comes to the same roots, and accepts our proofs; ours accepts no others.
func TestAgainstIndependentImplementation(t *testing.T) {
	const size = 70_000
	tr := grow(size, octets)
	independent := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	roots := make([]Hash, size+1)
	for i := range size {
		if err := independent.Append(rfc6962.DefaultHasher.HashLeaf(octets(i)), nil); err != nil {
			t.Fatal(err)
		}
		root, err := independent.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		roots[i+1] = Hash(root)
		if roots[i+1] != tr.roots[i+1] {
			t.Fatalf("root of %d leaves", i+1)
		}
	}
	for _, size2 := range sizes(size) {
		for _, size1 := range sizes(size2) {
			p, err := ProveConsistency(size1, size2, tr.reader())
			if err != nil {
				t.Fatal(size1, size2, err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(size1), uint64(size2), raw(p), roots[size1][:], roots[size2][:]); err != nil {
				t.Errorf("consistency of %d with %d: %v", size1, size2, err)
			}
			if err := CheckConsistency(size1, roots[size1], size2, roots[size2], p); err != nil {
				t.Errorf("consistency of %d with %d: %v", size1, size2, err)
			}
			leaf := size1 - 1
			q, err := ProveInclusion(leaf, size2, tr.reader())
			if err != nil {
				t.Fatal(leaf, size2, err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(leaf), uint64(size2), tr.leaves[leaf][:], raw(q), roots[size2][:]); err != nil {
				t.Errorf("inclusion of %d in %d: %v", leaf, size2, err)
			}
			if err := CheckInclusion(leaf, tr.leaves[leaf], size2, roots[size2], q); err != nil {
				t.Errorf("inclusion of %d in %d: %v", leaf, size2, err)
			}
		}
	}
}

// Whatever is changed of what a proof is about, it proves nothing any more.
func TestChangedProofs(t *testing.T) {
	const size1, size2, leaf = 300, 777, 123
	tr := grow(1000, octets)
	consistency, err := ProveConsistency(size1, size2, tr.reader())
	if err != nil {
		t.Fatal(err)
	}
	inclusion, err := ProveInclusion(leaf, size2, tr.reader())
	if err != nil {
		t.Fatal(err)
	}
	root1, root2, hash := tr.roots[size1], tr.roots[size2], tr.leaves[leaf]
	other := func(h Hash) Hash { h[7] ^= 1; return h }
	reject := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", what, err)
		}
	}
	reject("another root before", CheckConsistency(size1, other(root1), size2, root2, consistency))
	reject("another root after", CheckConsistency(size1, root1, size2, other(root2), consistency))
	reject("another size before", CheckConsistency(size1+1, root1, size2, root2, consistency))
	reject("another size after", CheckConsistency(size1, root1, size2*2, root2, consistency))
	reject("the other way round", CheckConsistency(size2, root2, size1, root1, consistency))
	reject("sizes that overflow", CheckConsistency(1<<62, root1, 1<<62+1, root2, consistency))
	reject("another leaf", CheckInclusion(leaf, other(hash), size2, root2, inclusion))
	reject("a leaf elsewhere", CheckInclusion(leaf+1, hash, size2, root2, inclusion))
	reject("a leaf that is not there", CheckInclusion(size2, hash, size2, root2, inclusion))
	reject("a negative leaf", CheckInclusion(-1, hash, size2, root2, inclusion))
	reject("another root of all", CheckInclusion(leaf, hash, size2, other(root2), inclusion))
	reject("a size that overflows", CheckInclusion(leaf, hash, 1<<62+1, root2, inclusion))
	for i := range consistency {
		p := slices.Clone(consistency)
		p[i] = other(p[i])
		reject("another hash", CheckConsistency(size1, root1, size2, root2, p))
		reject("a hash less", CheckConsistency(size1, root1, size2, root2, slices.Delete(slices.Clone(consistency), i, i+1)))
		reject("a hash more", CheckConsistency(size1, root1, size2, root2, slices.Insert(slices.Clone(consistency), i, hash)))
	}
	for i := range inclusion {
		p := slices.Clone(inclusion)
		p[i] = other(p[i])
		reject("another hash", CheckInclusion(leaf, hash, size2, root2, p))
		reject("a hash less", CheckInclusion(leaf, hash, size2, root2, slices.Delete(slices.Clone(inclusion), i, i+1)))
		reject("a hash more", CheckInclusion(leaf, hash, size2, root2, slices.Insert(slices.Clone(inclusion), i, hash)))
	}
	// A node is no leaf.
	node := tlog.NodeHash(tr.leaves[0], tr.leaves[1])
	if HashLeaf(append(append([]byte{}, tr.leaves[0][:]...), tr.leaves[1][:]...)) == node {
		t.Error("a leaf has the hash of a node")
	}
}

// The empty tree is the beginning of every tree, and of nothing else.
func TestEmptyTree(t *testing.T) {
	tr := grow(5, octets)
	p, err := ProveConsistency(0, 5, tr.reader())
	if err != nil || len(p) > 0 {
		t.Fatal(p, err)
	}
	if err := CheckConsistency(0, EmptyRoot(), 5, tr.roots[5], nil); err != nil {
		t.Error(err)
	}
	if err := CheckConsistency(0, EmptyRoot(), 0, EmptyRoot(), nil); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		CheckConsistency(0, Hash{}, 5, tr.roots[5], nil),
		CheckConsistency(0, EmptyRoot(), 0, tr.roots[1], nil),
		CheckConsistency(0, EmptyRoot(), 5, tr.roots[5], []Hash{{}}),
		CheckConsistency(5, tr.roots[5], 5, tr.roots[4], nil),
		CheckInclusion(0, Hash{}, 0, EmptyRoot(), nil),
	} {
		if !errors.Is(err, ErrProof) {
			t.Error(err)
		}
	}
	if _, err := ProveInclusion(0, 0, tr.reader()); err == nil {
		t.Error("a leaf of the empty tree")
	}
}

// A frontier that was written and read again goes on as if it had not been.
func TestFrontierAgain(t *testing.T) {
	tr := grow(700, octets)
	var f Frontier
	for i, h := range tr.leaves {
		f.Append(h, nil)
		again, err := ReadFrontier(f.Size(), f.Edge())
		if err != nil {
			t.Fatal(err)
		}
		if again.Root() != tr.roots[i+1] {
			t.Fatalf("root of %d leaves", i+1)
		}
		before := f.Clone()
		again.Append(Hash{}, nil)
		if f.Root() != before.Root() {
			t.Fatal("a frontier shares hashes with one that was read")
		}
		if i%3 == 0 {
			other := f.Clone()
			other.Append(Hash{1}, nil)
			other.Append(Hash{2}, nil)
		}
		f = before
	}
	for _, bad := range []struct {
		size int64
		edge int
	}{{3, 32}, {3, 63}, {0, 32}, {-1, 0}, {1 << 62, 32}, {4, 64}} {
		if _, err := ReadFrontier(bad.size, make([]byte, bad.edge)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestTileWidth(t *testing.T) {
	for _, c := range []struct {
		at   Tile
		size int64
		want int
	}{
		{Tile{0, 0}, 0, 0}, {Tile{0, 0}, 1, 1}, {Tile{0, 0}, 256, 256}, {Tile{0, 0}, 257, 256}, {Tile{0, 1}, 257, 1},
		{Tile{1, 0}, 255, 0}, {Tile{1, 0}, 256, 1}, {Tile{1, 0}, 65536, 256}, {Tile{2, 0}, 65536, 1}, {Tile{2, 0}, 65535, 0},
		{Tile{-1, 0}, 9, 0}, {Tile{0, -1}, 9, 0}, {Tile{9, 0}, MaxSize, 0}, {Tile{0, 1 << 62}, MaxSize, 0},
	} {
		if got := c.at.Width(c.size); got != c.want {
			t.Errorf("%+v of %d: %d", c.at, c.size, got)
		}
	}
}

// What is missing of a tile is an error, not a proof of something else.
func TestTilesDamaged(t *testing.T) {
	tr := grow(600, octets)
	for name, read := range map[string]TileReader{
		"short":   func(Tile) ([]byte, error) { return make([]byte, 32), nil },
		"nothing": func(Tile) ([]byte, error) { return nil, nil },
		"failing": func(Tile) ([]byte, error) { return nil, errors.New("no disk") },
	} {
		if _, err := ProveInclusion(300, 600, read); err == nil {
			t.Error(name)
		}
	}
	if _, err := tr.reader().ReadHashes([]int64{-1}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if _, err := tr.reader().ReadHashes([]int64{1 << 62}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	var f Frontier
	h := HashLeaf(nil)
	b.ReportAllocs()
	for b.Loop() {
		f.Append(h, nil)
	}
}
