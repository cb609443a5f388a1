package merkle

import (
	"bytes"
	"testing"
)

// hashesOf makes hashes of octets, as many as there are.
func hashesOf(b []byte) (list []Hash) {
	for len(b) >= HashSize {
		list, b = append(list, Hash(b[:HashSize])), b[HashSize:]
	}
	return list
}

// A proof that was not made for it proves nothing: neither of a tree nor of a leaf that is not there.
func FuzzProof(f *testing.F) {
	tr := grow(600, octets)
	consistency, err := ProveConsistency(300, 600, tr.reader())
	if err != nil {
		f.Fatal(err)
	}
	inclusion, err := ProveInclusion(300, 600, tr.reader())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(300), int64(600), JoinTile(consistency))
	f.Add(int64(300), int64(600), JoinTile(inclusion))
	f.Add(int64(1)<<62+1, int64(1)<<62+2, []byte{})
	f.Add(int64(-1), int64(0), make([]byte, 64))
	f.Fuzz(func(t *testing.T, n, size int64, data []byte) {
		proof := hashesOf(data)
		var nothing Hash
		if CheckInclusion(n, HashLeaf([]byte("never")), size, tr.roots[min(600, max(0, size))], proof) == nil {
			t.Errorf("a leaf that is not there is proved to be leaf %d of %d", n, size)
		}
		if CheckConsistency(n, nothing, size, tr.roots[min(600, max(0, size))], proof) == nil {
			t.Errorf("another tree of %d is proved to be the beginning of that of %d", n, size)
		}
		if size <= 600 && n >= 0 && n < size {
			if CheckInclusion(n, tr.leaves[n], size, tr.roots[size], proof) == nil {
				want, err := ProveInclusion(n, size, tr.reader())
				if err != nil || !bytes.Equal(JoinTile(want), JoinTile(proof)) {
					t.Errorf("two proofs that leaf %d is in %d", n, size)
				}
			}
		}
	})
}

// Whatever tiles hold, reading hashes ends, with as many as were asked for or an error.
func FuzzTiles(f *testing.F) {
	f.Add(int64(0), int64(1), make([]byte, 64))
	f.Add(int64(3), int64(700), bytes.Repeat([]byte{1}, TileWidth*HashSize))
	f.Add(int64(1)<<49, int64(-1), []byte{1})
	f.Fuzz(func(t *testing.T, a, b int64, data []byte) {
		read := TileReader(func(at Tile) ([]byte, error) {
			if at.Level < 0 || at.Level > 7 || at.Number < 0 {
				t.Errorf("asked for %+v", at)
			}
			return data, nil
		})
		if hashes, err := read.ReadHashes([]int64{a, b}); err == nil && len(hashes) != 2 {
			t.Errorf("%d hashes", len(hashes))
		}
		if hashes, err := ReadTile(data); err == nil && !bytes.Equal(JoinTile(hashes), data) {
			t.Error("a tile is not what it was made of")
		}
		if fr, err := ReadFrontier(a, data); err == nil && (!bytes.Equal(fr.Edge(), data) || fr.Size() != a) {
			t.Error("a frontier is not what it was made of")
		}
		_, _ = ProveInclusion(a, b, read)
		_, _ = ProveConsistency(a, b, read)
	})
}
