package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

var (
	tileAt           = "SELECT hashes FROM log_tile WHERE level = ? AND number = ?"
	latestCheckpoint = checkpoints.query + "WHERE size >= 0 ORDER BY size DESC, time DESC LIMIT 1"
	nextCheckpoints  = checkpoints.query + "WHERE size >= ? AND (size, time) > (?, ?) ORDER BY size, time LIMIT ?"
	entryByDigest    = auditLog.query + "WHERE object_digest = ? AND hash IS NOT NULL ORDER BY seq DESC LIMIT 1"
)

func (r reader) Log(ctx context.Context) (store.Log, error) {
	at, err := one(ctx, r.handle, scanHead, selectHead)
	return at.Log, err
}

func (r reader) LogHashes(ctx context.Context, indexes []int64) ([]merkle.Hash, error) {
	at, err := one(ctx, r.handle, scanHead, selectHead)
	if err != nil {
		return nil, err
	}
	return merkle.TileReader(func(tile merkle.Tile) ([]byte, error) {
		if tile.Level == 0 && tile.Width(at.Size) < merkle.TileWidth {
			return r.lastTile(ctx, at, tile)
		}
		data, err := one(ctx, r.handle, scalar[[]byte], tileAt, tile.Level, tile.Number)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil // in which the hashes will be missed
		}
		return data, err
	}).ReadHashes(indexes)
}

// lastTile is the tile of leaves that is not complete yet.
func (r reader) lastTile(ctx context.Context, at head, tile merkle.Tile) ([]byte, error) {
	start, width := tile.Number*merkle.TileWidth, tile.Width(at.Size)
	hashes := make([]merkle.Hash, width)
	if width == 0 {
		return nil, nil
	}
	err := r.each(ctx, func(row scanner) error {
		var leaf int64
		var hash []byte
		if err := row.Scan(&leaf, &hash); err != nil {
			return err
		}
		if leaf >= start && leaf < at.Size && len(hash) == merkle.HashSize {
			hashes[leaf-start] = merkle.Hash(hash)
		}
		return nil
	}, lastHashes, at.Seq, width)
	return merkle.JoinTile(hashes), err
}

func (r reader) LogTile(ctx context.Context, at merkle.Tile) ([]merkle.Hash, error) {
	data, err := one(ctx, r.handle, scalar[[]byte], tileAt, at.Level, at.Number)
	if err != nil {
		return nil, err
	}
	return merkle.ReadTile(data)
}

func (r reader) LatestCheckpoint(ctx context.Context) (store.Checkpoint, error) {
	return one(ctx, r.handle, checkpoints.scan, latestCheckpoint)
}

func (r reader) Checkpoints(ctx context.Context, after store.Checkpoint, limit int) ([]store.Checkpoint, error) {
	at := int64(-1)
	if !after.Time.IsZero() {
		at = micros(after.Time)
	}
	return list(ctx, r.handle, checkpoints.scan, nextCheckpoints, after.Size, after.Size, at, orAll(limit))
}

func (r reader) LogEntryByDigest(ctx context.Context, digest []byte) (audit.Entry, error) {
	row, err := one(ctx, r.handle, auditLog.scan, entryByDigest, required(digest))
	return row.Entry, err
}

const beginEpoch = "UPDATE log SET epoch = ?, epochs = ? WHERE id = 1"

func (t tx) BeginEpoch(ctx context.Context, now time.Time) error {
	if err := t.trunk.open(ctx, t.handle); err != nil {
		return err
	}
	head := &t.trunk.head
	var all []store.Epoch
	if err := json.Unmarshal([]byte(head.Epochs), &all); err != nil {
		return fmt.Errorf("store: the epochs of the audit log: %w", err)
	}
	frontier := t.trunk.growth.frontier
	all = append(all, store.Epoch{Epoch: head.Epoch + 1, Size: frontier.Size(), Root: frontier.Root(), Time: now.Unix()})
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	head.Epoch, head.Epochs = head.Epoch+1, string(text)
	t.trunk.at, t.trunk.wanted = now, true
	return t.later(ctx, beginEpoch, head.Epoch, head.Epochs)
}

func (t tx) Checkpoint(ctx context.Context, now time.Time) error {
	if err := t.trunk.open(ctx, t.handle); err != nil {
		return err
	}
	t.trunk.at, t.trunk.wanted = now, true
	return nil
}

const (
	// prunable asks for the first entries of the log, of which those go that come before the first young one.
	prunable   = "SELECT seq, leaf, time, CASE WHEN hash IS NULL THEN 0 ELSE 1 END FROM audit_log WHERE seq > 0 ORDER BY seq LIMIT ?"
	pruneAudit = "DELETE FROM audit_log WHERE seq <= ?"
)

// PruneAudit deletes entries of complete tiles only, whose hashes are in the tile.
func (t tx) PruneAudit(ctx context.Context, before time.Time, limit int) (pruned int, first int64, err error) {
	at, err := t.Log(ctx)
	if err != nil {
		return 0, 0, err
	}
	type entry struct{ seq, leaf, time, in int64 }
	oldest, err := list(ctx, t.handle, func(row scanner) (e entry, err error) {
		err = row.Scan(&e.seq, &e.leaf, &e.time, &e.in)
		return e, err
	}, prunable, max(limit, 0)+merkle.TileWidth)
	if err != nil || len(oldest) == 0 {
		return 0, 0, err
	}
	complete := at.Size / merkle.TileWidth * merkle.TileWidth
	first = oldest[0].leaf
	last := int64(-1) // seq
	for i, e := range oldest {
		if i > 0 && e.leaf%merkle.TileWidth == 0 {
			last, pruned, first = oldest[i-1].seq, i, e.leaf
			if i >= limit {
				break
			}
		}
		if e.in == 0 || e.leaf >= complete || e.time >= micros(before) {
			break
		}
	}
	if last < 0 {
		return 0, first, nil
	}
	return pruned, first, t.run(ctx, pruneAudit, last)
}

const (
	oldCheckpoints   = "SELECT time, size FROM log_checkpoint WHERE time > ? AND time < ? ORDER BY time LIMIT ?"
	deleteCheckpoint = "DELETE FROM log_checkpoint WHERE time = ?"
)

func (t tx) ThinCheckpoints(ctx context.Context, after, until time.Time, span time.Duration, limit int) (looked int, last time.Time, err error) {
	type checkpoint struct{ time, size int64 }
	found, err := list(ctx, t.handle, func(row scanner) (c checkpoint, err error) {
		err = row.Scan(&c.time, &c.size)
		return c, err
	}, oldCheckpoints, micros(after), micros(until), orAll(limit))
	if err != nil {
		return 0, after, err
	}
	last = after
	for i, c := range found {
		last = fromMicros(c.time)
		// The last one of each span stays, whatever its length.
		if i+1 < len(found) && c.time/span.Microseconds() == found[i+1].time/span.Microseconds() {
			if err := t.run(ctx, deleteCheckpoint, c.time); err != nil {
				return 0, last, err
			}
		}
	}
	return len(found), last, nil
}
