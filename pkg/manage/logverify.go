package manage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"cauase/pkg/audit"
	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// A LogFault is one thing that is wrong with the audit log.
type LogFault struct {
	Kind LogFaultKind `json:"kind"`
	// The entries that it is about: their numbers as far as there are such entries, 0 otherwise, and their leaves, both inclusive.
	Seq  int64 `json:"seq,omitempty"`
	Last int64 `json:"last_seq,omitempty"`
	Leaf int64 `json:"leaf"`
	To   int64 `json:"last_leaf"`

	Problem string `json:"problem"`
}

// A LogFaultKind says what kind of thing it is.
type LogFaultKind string

// The kinds of faults.
const (
	LogDeleted    LogFaultKind = "deleted"    // entries are missing
	LogChanged    LogFaultKind = "changed"    // an entry is not what its hash was made of
	LogRehashed   LogFaultKind = "rehashed"   // the hash of an entry is not that which the tree has
	LogMoved      LogFaultKind = "moved"      // an entry stands elsewhere in the order
	LogInserted   LogFaultKind = "inserted"   // an entry has no place in the tree
	LogTile       LogFaultKind = "tile"       // the hashes of the tree contradict each other
	LogHead       LogFaultKind = "head"       // the head of the tree is not that of its leaves
	LogCheckpoint LogFaultKind = "checkpoint" // a checkpoint is not that of the tree, or not signed by its key
)

// A VerifiedLog is what was found to be so of the audit log.
type VerifiedLog struct {
	Origin  string      `json:"origin"`
	Key     string      `json:"key,omitempty"` // by which checkpoints were verified
	From    int64       `json:"from"`          // what was before is taken for granted
	Size    int64       `json:"size"`
	Root    merkle.Hash `json:"root"`
	Epoch   int64       `json:"epoch"`
	Entries int64       `json:"entries"` // that were looked at
	Pruned  int64       `json:"pruned"`  // leaves whose entries were deleted for their age, as a later entry says
	Waiting int64       `json:"waiting"` // entries of daemons of before that are not in the tree yet

	Checkpoints int64     `json:"checkpoints"` // that were verified
	Signed      int64     `json:"signed"`      // size of the newest one: what comes later is not signed yet
	SignedAt    time.Time `json:"signed_at,omitzero"`
	Faults      int64     `json:"faults"`
}

// LogOptions say how the audit log is verified.
type LogOptions struct {
	From    int64       // only from this size on
	Against []byte      // a signed checkpoint that somebody has kept; nil: none
	Key     *merkle.Key // by which checkpoints are verified; nil: the one on record
}

// VerifyLog recomputes the tree over the audit log, from the entries up to the root, and compares all there is of it: hashes of entries, tiles,
// the head, checkpoints. It calls found with each fault. Its error means that it could not be completed.
func VerifyLog(ctx context.Context, r store.Reader, opt LogOptions, found func(LogFault), progress Progress) (VerifiedLog, error) {
	v := &logVerifier{r: r, opt: opt, report: found, progress: progress, upper: map[merkle.Tile][]merkle.Hash{}}
	err := v.run(ctx)
	return v.result, err
}

// A logVerifier is one VerifyLog in progress.
type logVerifier struct {
	r        store.Reader
	opt      LogOptions
	report   func(LogFault)
	progress Progress
	result   VerifiedLog

	head     store.Log
	frontier merkle.Frontier // of the leaves so far
	blind    bool            // the hash of one of them is not known
	lastSeq  int64           // of the entry that was looked at last
	edge     []merkle.Hash   // of the leaves that are in no complete tile

	tile  []merkle.Hash // of the leaf that is next, if it is complete
	tileN int64         // whose number it is, -1: none
	upper map[merkle.Tile][]merkle.Hash

	missing []LogFault // ranges of leaves that have not been met
	pruned  int64      // up to which leaf entries were pruned, as an entry says

	checkpoints []store.Checkpoint // the next ones
	after       store.Checkpoint
	key         *merkle.Key
	kept        *merkle.Checkpoint // the one to compare with
	good        int64              // size of the last tree of which a checkpoint is right
	goodSeq     int64
	wrong       bool // a checkpoint was not, and that is reported
}

func (v *logVerifier) fault(kind LogFaultKind, seq, last, leaf, to int64, format string, args ...any) {
	v.result.Faults++
	v.report(LogFault{kind, seq, last, leaf, to, fmt.Sprintf(format, args...)})
}

func (v *logVerifier) run(ctx context.Context) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	after, err := v.seqBefore(ctx, v.opt.From)
	if err != nil {
		return err
	}
	err = v.r.Audit(ctx, audit.Filter{AfterSeq: after}, func(e audit.Entry) error {
		v.result.Entries++
		v.progress("verify", "audit", v.result.Entries)
		return v.entry(ctx, e)
	})
	if err != nil {
		return err
	}
	return v.end(ctx)
}

// begin reads the head, the key, and the tree that is taken for granted.
func (v *logVerifier) begin(ctx context.Context) (err error) {
	if v.progress == nil {
		v.progress = func(string, string, int64) {}
	}
	if v.head, err = v.r.Log(ctx); errors.Is(err, store.ErrNotFound) {
		v.fault(LogHead, 0, 0, 0, 0, "the head of the log is gone")
		return errors.New("the audit log has no head")
	} else if err != nil {
		return err
	}
	v.result.Origin, v.result.Epoch, v.result.Size, v.result.From = v.head.Origin, v.head.Epoch, v.head.Size, v.opt.From
	if v.opt.From > v.head.Size {
		return fmt.Errorf("the log has %d entries: it cannot be verified from %d on", v.head.Size, v.opt.From)
	}
	if err := v.keys(ctx); err != nil {
		return err
	}
	hashes := hashReader(func(indexes []int64) ([]merkle.Hash, error) { return v.r.LogHashes(ctx, indexes) })
	if v.frontier, err = merkle.FrontierAt(v.opt.From, hashes); err != nil {
		return fmt.Errorf("the tree of size %d: %w", v.opt.From, err)
	}
	v.tileN, v.good = -1, v.opt.From
	v.after = store.Checkpoint{Size: v.opt.From}
	start := v.head.Size / merkle.TileWidth * merkle.TileWidth
	var indexes []int64
	for leaf := start; leaf < v.head.Size; leaf++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, leaf))
	}
	if v.edge, err = v.r.LogHashes(ctx, indexes); err != nil {
		return err
	}
	return v.reached(ctx)
}

// keys reads the public key, and the checkpoint to compare with.
func (v *logVerifier) keys(ctx context.Context) error {
	v.key = v.opt.Key
	if v.key == nil {
		key, err := logkey.Public(ctx, v.r)
		switch {
		case err == nil:
			v.key = &key
		case !errors.Is(err, store.ErrNotFound):
			v.fault(LogCheckpoint, 0, 0, 0, 0, "the key of the log cannot be read: %v", err)
		}
	}
	if v.key != nil {
		v.result.Key = v.key.String()
	}
	if v.opt.Against == nil {
		return nil
	}
	if v.key == nil {
		return errors.New("there is no key of the log by which the checkpoint could be verified")
	}
	kept, err := merkle.OpenCheckpoint(v.opt.Against, *v.key)
	if err != nil {
		return fmt.Errorf("the checkpoint to compare with: %w", err)
	}
	if kept.Size < v.opt.From {
		return fmt.Errorf("the checkpoint to compare with is of size %d: it cannot be compared from %d on", kept.Size, v.opt.From)
	}
	v.kept = &kept
	return nil
}

type hashReader func([]int64) ([]merkle.Hash, error)

func (f hashReader) ReadHashes(indexes []int64) ([]merkle.Hash, error) { return f(indexes) }

// seqBefore finds the entry before the one that is a leaf, in a log in order.
func (v *logVerifier) seqBefore(ctx context.Context, leaf int64) (int64, error) {
	low, high := int64(0), v.head.Seq // the first entry behind low has a smaller leaf
	for leaf > 0 && low < high {
		mid := low + (high-low)/2
		found, at := false, audit.Entry{}
		err := v.r.Audit(ctx, audit.Filter{AfterSeq: mid, Limit: 1}, func(e audit.Entry) error { found, at = true, e; return nil })
		if err != nil {
			return 0, err
		}
		if found && at.Leaf < leaf && at.Seq <= v.head.Seq {
			low = at.Seq
		} else {
			high = mid
		}
	}
	return low, nil
}

// entry takes the next one in the order of numbers.
func (v *logVerifier) entry(ctx context.Context, e audit.Entry) error {
	next := v.frontier.Size()
	switch {
	case e.Hash == nil && e.Seq > v.head.Seq:
		v.result.Waiting++
		return nil
	case e.Hash == nil:
		v.fault(LogInserted, e.Seq, e.Seq, 0, 0, "entry %d has no hash, and stands among entries that are in the tree", e.Seq)
		return nil
	case e.Leaf >= v.head.Size:
		v.fault(LogHead, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d is leaf %d, and the head of the log says that there are %d: it was set back", e.Seq, e.Leaf, v.head.Size)
		return nil
	case e.Leaf < next:
		return v.outOfPlace(ctx, e)
	}
	if e.Leaf > next {
		v.missing = append(v.missing, LogFault{Leaf: next, To: e.Leaf - 1})
		if err := v.skip(ctx, e.Leaf); err != nil {
			return err
		}
	}
	truth, known, err := v.truth(ctx, e.Leaf)
	if err != nil {
		return err
	}
	v.compare(e, truth, known)
	if !known {
		truth = hashOf(e.Hash)
	}
	v.lastSeq = e.Seq
	if e.Action == audit.PruneLog && e.Result == audit.OK {
		if to, err := strconv.ParseInt(e.Object.ID, 10, 64); err == nil && to <= e.Leaf {
			v.pruned = max(v.pruned, to)
		}
	}
	return v.feed(ctx, truth)
}

// hashOf makes a hash of what should be one.
func hashOf(b []byte) (h merkle.Hash) { copy(h[:], b); return h }

// compare looks at an entry, its hash, and the hash that the tree has of it.
func (v *logVerifier) compare(e audit.Entry, truth merkle.Hash, known bool) {
	content := e.LeafHash(v.head.Secret)
	switch {
	case !bytes.Equal(content[:], e.Hash) && known && content == truth:
		v.fault(LogRehashed, e.Seq, e.Seq, e.Leaf, e.Leaf, "the hash of entry %d (leaf %d) was changed: the entry itself is the one that is in the tree", e.Seq, e.Leaf)
	case !bytes.Equal(content[:], e.Hash) && known && !bytes.Equal(e.Hash, truth[:]):
		v.fault(LogChanged, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d (leaf %d) was changed, and so was its hash: neither is what the tree has", e.Seq, e.Leaf)
	case !bytes.Equal(content[:], e.Hash):
		v.fault(LogChanged, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d (leaf %d) was changed: it is not what its hash was made of", e.Seq, e.Leaf)
	case known && !bytes.Equal(e.Hash, truth[:]):
		v.fault(LogRehashed, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d (leaf %d) was changed and hashed again: the tree has another hash", e.Seq, e.Leaf)
	}
}

// outOfPlace takes an entry whose leaf comes before those that were met already.
func (v *logVerifier) outOfPlace(ctx context.Context, e audit.Entry) error {
	if e.Leaf < v.opt.From {
		return nil // it is taken for granted
	}
	for i, m := range v.missing {
		if e.Leaf < m.Leaf || e.Leaf > m.To {
			continue
		}
		v.fault(LogMoved, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d is leaf %d, which comes earlier in the log: its number was changed, or entries were exchanged", e.Seq, e.Leaf)
		rest := []LogFault{{Leaf: m.Leaf, To: e.Leaf - 1}, {Leaf: e.Leaf + 1, To: m.To}}
		rest = slices.DeleteFunc(rest, func(f LogFault) bool { return f.Leaf > f.To })
		v.missing = slices.Replace(v.missing, i, i+1, rest...)
		return nil
	}
	v.fault(LogInserted, e.Seq, e.Seq, e.Leaf, e.Leaf, "entry %d is leaf %d, as another entry is", e.Seq, e.Leaf)
	return nil
}

// truth is the hash that the tree has of a leaf, if it can be known apart from the entry.
func (v *logVerifier) truth(ctx context.Context, leaf int64) (merkle.Hash, bool, error) {
	n := leaf / merkle.TileWidth
	if n == v.head.Size/merkle.TileWidth {
		return v.edge[leaf%merkle.TileWidth], false, nil
	}
	if v.tileN != n {
		tile, err := v.r.LogTile(ctx, merkle.Tile{Number: n})
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, merkle.ErrMalformed) {
			return merkle.Hash{}, false, err
		}
		if err != nil || len(tile) != merkle.TileWidth {
			v.fault(LogTile, 0, 0, n*merkle.TileWidth, (n+1)*merkle.TileWidth-1, "tile %d of level 0 is missing or damaged", n)
			tile = nil
		}
		v.tile, v.tileN = tile, n
	}
	if v.tile == nil {
		return merkle.Hash{}, false, nil
	}
	return v.tile[leaf%merkle.TileWidth], true, nil
}

// log verifies the audit log.
func (c *checker) log(ctx context.Context, r store.Reader) error {
	_, err := VerifyLog(ctx, r, LogOptions{}, func(f LogFault) {
		row := "log 1"
		if f.Seq > 0 && f.Seq == f.Last {
			row = fmt.Sprintf("audit %d", f.Seq)
		}
		c.report(row, errorf("%s", f.Problem))
	}, c.progress)
	return err
}

// skip goes on to a leaf over such as have no entry, by the hashes that the tree has of them.
func (v *logVerifier) skip(ctx context.Context, to int64) error {
	for v.frontier.Size() < to {
		hash, _, err := v.truth(ctx, v.frontier.Size())
		if err != nil {
			return err
		}
		v.blind = v.blind || hash == merkle.Hash{}
		if err := v.feed(ctx, hash); err != nil {
			return err
		}
	}
	return nil
}

// feed has the tree grow by a leaf, and compares what has become complete with tiles. It goes on with what those say, so that one fault does not
// bring others along.
func (v *logVerifier) feed(ctx context.Context, hash merkle.Hash) error {
	var failed error
	v.frontier.AppendAs(hash, func(level int, n int64, h merkle.Hash) merkle.Hash {
		kept, there, err := v.node(ctx, level, n)
		failed = errors.Join(failed, err)
		span := int64(1) << (level * merkle.TileHeight)
		switch {
		case err != nil:
		case !there:
			v.fault(LogTile, 0, 0, n*span, (n+1)*span-1, "tile %d of level %d lacks its hash %d", n/merkle.TileWidth, level, n%merkle.TileWidth)
		case kept != h && !v.blind:
			v.fault(LogTile, 0, v.lastSeq, n*span, (n+1)*span-1,
				"an entry among leaves %d to %d was changed together with its hash and its tile: level %d of the tree has another hash of them", n*span, (n+1)*span-1, level)
			return kept
		case kept != h:
			v.blind = false // what is not known is in there
			return kept
		}
		return h
	})
	if failed != nil {
		return failed
	}
	return v.reached(ctx)
}

// node is a hash of a tile above the lowest.
func (v *logVerifier) node(ctx context.Context, level int, n int64) (merkle.Hash, bool, error) {
	at := merkle.Tile{Level: level, Number: n / merkle.TileWidth}
	tile, known := v.upper[at]
	if !known {
		var err error
		tile, err = v.r.LogTile(ctx, at)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, merkle.ErrMalformed) {
			return merkle.Hash{}, false, err
		}
		for old := range v.upper {
			if old.Level == level {
				delete(v.upper, old)
			}
		}
		v.upper[at] = tile
	}
	if i := int(n % merkle.TileWidth); i < len(tile) {
		return tile[i], true, nil
	}
	return merkle.Hash{}, false, nil
}
