package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// The audit log is the tree that package merkle describes. Its head is one row, which says how far the tree reaches; it is written in the
// transaction of the entries, together with those tiles that have become complete. Entries that are not in the tree yet, as daemons of before have written
// them, are behind the last one that is: their numbers are larger, and they have no hash.

// A head is where the tree ends.
type head struct {
	store.Log
	lastSeq int64 // of any entry, in the tree or not
}

var selectHead = "SELECT id, origin, secret, size, seq, edge, epoch, epochs, (SELECT max(seq) FROM audit_log) FROM log WHERE id = 1"

func scanHead(row scanner) (h head, err error) {
	var last *int64
	err = row.Scan(&h.ID, &h.Origin, &h.Secret, &h.Size, &h.Seq, &h.Edge, &h.Epoch, &h.Epochs, &last)
	if last != nil {
		h.lastSeq = *last
	}
	return h, err
}

// errNoHead is what is said when somebody has removed the head of the tree.
var errNoHead = fmt.Errorf("%w: the head of the audit log is gone (cauased manage audit verify tells more)", store.ErrUnavailable)

// access is how rows are read and written, be it in a transaction of a store or in one of a migration.
type access struct {
	each func(ctx context.Context, fn func(scanner) error, query string, args ...any) error
	exec func(ctx context.Context, query string, args ...any) error
	grow string // statement of the dialect, that adds hashes to a tile
	move string // statement of the dialect, that moves the head
}

// A growth is what is to be written of a tree that has grown.
type growth struct {
	frontier merkle.Frontier
	base     int64         // size of the tree before
	baseSeq  int64         // of the last entry before
	fresh    []merkle.Hash // of the leaves since
	nodes    []node        // that have become complete
}

// A node is a hash of a tile above the lowest.
type node struct {
	level int
	n     int64
	hash  merkle.Hash
}

func (n node) tile() merkle.Tile { return merkle.Tile{Level: n.level, Number: n.n / merkle.TileWidth} }

func newGrowth(h head) (*growth, error) {
	f, err := merkle.ReadFrontier(h.Size, h.Edge)
	if err != nil {
		return nil, fmt.Errorf("%w: the head of the audit log is damaged: %w", store.ErrUnavailable, err)
	}
	return &growth{frontier: f, base: h.Size, baseSeq: h.Seq}, nil
}

func (g *growth) add(h merkle.Hash) {
	g.fresh = append(g.fresh, h)
	g.frontier.Append(h, func(level int, n int64, h merkle.Hash) { g.nodes = append(g.nodes, node{level, n, h}) })
}

// write stores complete tiles, what has come to those above them, and the head. lastSeq is that of the newest entry.
func (g *growth) write(ctx context.Context, a access, lastSeq int64) error {
	if err := g.writeLowest(ctx, a); err != nil {
		return err
	}
	for len(g.nodes) > 0 {
		at := g.nodes[0].tile()
		var hashes []merkle.Hash
		var others []node
		for _, n := range g.nodes {
			if n.tile() == at {
				hashes = append(hashes, n.hash)
			} else {
				others = append(others, n)
			}
		}
		if err := a.exec(ctx, a.grow, at.Level, at.Number, merkle.JoinTile(hashes)); err != nil {
			return err
		}
		g.nodes = others
	}
	return a.exec(ctx, a.move, g.frontier.Size(), lastSeq, g.frontier.Edge())
}

const (
	// lastHashes asks for the hashes of the last leaves.
	lastHashes = "SELECT leaf, hash FROM audit_log WHERE seq <= ? ORDER BY seq DESC LIMIT ?"
)

// writeLowest stores those tiles of leaves that have become complete. What they hold of before is in the rows of entries.
func (g *growth) writeLowest(ctx context.Context, a access) error {
	first, end := g.base/merkle.TileWidth, g.frontier.Size()/merkle.TileWidth
	if first == end {
		return nil
	}
	start := first * merkle.TileWidth
	hashes := make([]merkle.Hash, g.base-start, end*merkle.TileWidth-start)
	if g.base > start {
		// Of a leaf that somebody has removed the hash remains zero. Whoever verifies the log is told of it; the tree goes on.
		err := a.each(ctx, func(row scanner) error {
			var leaf int64
			var hash []byte
			if err := row.Scan(&leaf, &hash); err != nil {
				return err
			}
			if leaf >= start && leaf < g.base && len(hash) == merkle.HashSize {
				hashes[leaf-start] = merkle.Hash(hash)
			}
			return nil
		}, lastHashes, g.baseSeq, g.base-start)
		if err != nil {
			return err
		}
	}
	hashes = append(hashes, g.fresh[:end*merkle.TileWidth-g.base]...)
	for n := first; n < end; n++ {
		at := (n - first) * merkle.TileWidth
		if err := a.exec(ctx, a.grow, 0, n, merkle.JoinTile(hashes[at:at+merkle.TileWidth])); err != nil {
			return err
		}
	}
	return nil
}

// A trunk is what a group of Updates knows of the tree.
type trunk struct {
	sign func() func(merkle.Checkpoint) ([]byte, error) // how checkpoints are signed now; may return nil
	log  *slog.Logger

	read   bool // the head was
	head   head
	growth *growth
	seq    int64     // of the newest entry
	at     time.Time // of that, or of the wish for a checkpoint
	wanted bool      // a checkpoint, though nothing may have been appended

	before *trunk // what it was before the job, once that has done something
}

// reset forgets all that an earlier group knew.
func (t *trunk) reset() { *t = trunk{sign: t.sign, log: t.log} }

// begin and undo are for one job of the group.
func (t *trunk) begin() { t.before = nil }

func (t *trunk) undo() {
	if t.before != nil {
		*t = *t.before
	}
}

// touch keeps what undo needs.
func (t *trunk) touch() {
	if t.before != nil {
		return
	}
	was := *t
	if g := t.growth; g != nil {
		kept := *g
		kept.frontier = g.frontier.Clone()
		kept.fresh, kept.nodes = g.fresh[:len(g.fresh):len(g.fresh)], g.nodes[:len(g.nodes):len(g.nodes)]
		was.growth = &kept
	}
	t.before = &was
}

// open reads the head, and enters what is behind it.
func (t *trunk) open(ctx context.Context, h *handle) error {
	t.touch()
	if t.read {
		return nil
	}
	head, err := h.head(ctx)
	if err != nil {
		return err
	}
	return t.start(ctx, h, head)
}

// reopen is open after entries were written without it.
func (t *trunk) reopen(ctx context.Context, h *handle) error {
	t.touch()
	head, err := one(ctx, h, scanHead, selectHead)
	if err != nil {
		return err
	}
	return t.start(ctx, h, head)
}

func (t *trunk) start(ctx context.Context, h *handle, found head) (err error) {
	if found.lastSeq > found.Seq {
		if found, err = enterAll(ctx, h.access(), found); err != nil {
			return err
		}
		if found.lastSeq > found.Seq {
			t.log.ErrorContext(ctx, "the audit log has entries behind its head: somebody has set it back; cauased manage audit verify tells more",
				"head", found.Seq, "last", found.lastSeq)
		}
	}
	t.head, t.seq, t.read = found, max(found.Seq, found.lastSeq), true
	t.growth, err = newGrowth(found)
	return err
}

// next is what the next entry is numbered: its Seq, and its leaf.
func (t *trunk) next() (seq, leaf int64) { return t.seq + 1, t.growth.frontier.Size() }

// append has an entry enter that was written.
func (t *trunk) append(seq int64, at time.Time, hash merkle.Hash) {
	t.growth.add(hash)
	t.seq, t.at = seq, at
}

// finish writes what has come to the tree, before the commit.
func (t *trunk) finish(ctx context.Context, h *handle) error {
	if !t.read || len(t.growth.fresh) == 0 && !t.wanted {
		return nil
	}
	if len(t.growth.fresh) > 0 {
		if err := t.growth.write(ctx, h.access(), t.seq); err != nil {
			return err
		}
	}
	return t.checkpoint(ctx, h)
}

// checkpoint has the new head signed, if there is somebody to. A tree without a checkpoint is still a tree: the next one covers it, too.
func (t *trunk) checkpoint(ctx context.Context, h *handle) error {
	sign := t.sign()
	if sign == nil {
		return nil
	}
	c := merkle.Checkpoint{Origin: t.head.Origin, Size: t.growth.frontier.Size(), Root: t.growth.frontier.Root(), Time: t.at.Truncate(time.Second), Epoch: t.head.Epoch}
	signed, err := sign(c)
	if err != nil {
		t.log.WarnContext(ctx, "the checkpoint of the audit log was not signed", "error", err)
		return nil
	}
	args, err := checkpoints.args(store.Checkpoint{Size: c.Size, Time: c.Time, Root: c.Root[:], Epoch: c.Epoch, Signed: signed})
	if err != nil {
		return err
	}
	return h.later(ctx, replaceCheckpoint, args...)
}

// head is where the tree ended when the transaction began.
func (h *handle) head(ctx context.Context) (head, error) {
	if s, ok := h.s.(interface{ began() *head }); ok {
		if at := s.began(); at != nil {
			return *at, nil
		}
	}
	at, err := one(ctx, h, scanHead, selectHead)
	if errors.Is(err, store.ErrNotFound) {
		return at, errNoHead
	}
	return at, err
}

// access is that of a transaction of the store.
func (h *handle) access() access {
	return access{
		each: func(ctx context.Context, fn func(scanner) error, query string, args ...any) error {
			return h.each(ctx, fn, query, args...)
		},
		exec: func(ctx context.Context, query string, args ...any) error { return h.later(ctx, query, args...) },
		grow: h.dialect.growTile,
		move: h.dialect.moveHead,
	}
}
