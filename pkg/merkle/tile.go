package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// TileHeight is how many levels of the tree a tile spans.
	TileHeight = 8
	// TileWidth is how many hashes a complete tile has.
	TileWidth = 1 << TileHeight
)

// A Tile names a tile: TileWidth consecutive hashes of subtrees with TileWidth^Level leaves each, the first of which is the
// one with the number Number*TileWidth. What is above those hashes follows from them.
type Tile struct {
	Level  int
	Number int64
}

// Width is how many of its hashes a tree of a size has.
func (t Tile) Width(size int64) int {
	if t.Level < 0 || t.Level > 7 || t.Number < 0 || t.Number > MaxSize {
		return 0
	}
	n := size>>(t.Level*TileHeight) - t.Number*TileWidth
	return int(max(0, min(n, TileWidth)))
}

// ReadTile takes a tile apart.
func ReadTile(data []byte) ([]Hash, error) {
	if len(data) > TileWidth*HashSize {
		return nil, malformed("a tile of %d bytes", len(data))
	}
	return readHashes(data)
}

// JoinTile is the opposite of ReadTile.
func JoinTile(hashes []Hash) []byte { return joinHashes(hashes) }

// A TileReader returns the hashes that there are of a tile, joined.
type TileReader func(Tile) ([]byte, error)

// ReadHashes returns the hashes of subtrees, by their indexes in the order of tlog.StoredHashIndex, out of tiles. Each tile is
// read once. It makes of a TileReader a tlog.HashReader.
func (read TileReader) ReadHashes(indexes []int64) ([]Hash, error) {
	known := make(map[Tile][]byte)
	hashes := make([]Hash, 0, len(indexes))
	for _, index := range indexes {
		if index < 0 || index > 2*MaxSize {
			return nil, malformed("%d is not the index of a hash", index)
		}
		at := tlog.TileForIndex(TileHeight, index)
		name := Tile{at.L, at.N}
		data, there := known[name]
		if !there {
			var err error
			if data, err = read(name); err != nil {
				return nil, err
			}
			known[name] = data
		}
		width := at.W * HashSize
		if len(data) < width {
			return nil, fmt.Errorf("merkle: tile %d of level %d has %d hashes, of which %d are needed", at.N, at.L, len(data)/HashSize, at.W)
		}
		h, err := tlog.HashFromTile(at, data[:width], index)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}
