package manage

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"time"

	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// reached compares checkpoints of the size that the tree has now.
func (v *logVerifier) reached(ctx context.Context) error {
	size := v.frontier.Size()
	for {
		if len(v.checkpoints) == 0 {
			var err error
			if v.checkpoints, err = v.r.Checkpoints(ctx, v.after, 256); err != nil {
				return err
			}
			if len(v.checkpoints) == 0 {
				break
			}
			v.after = v.checkpoints[len(v.checkpoints)-1]
		}
		c := v.checkpoints[0]
		if c.Size > size {
			break
		}
		v.checkpoints = v.checkpoints[1:]
		if c.Size == size { // a smaller one was there before From
			v.checkpoint(c)
		}
	}
	if v.kept != nil && v.kept.Size == size {
		if root := v.frontier.Root(); v.kept.Root != root && !v.blind {
			v.fault(LogCheckpoint, 0, 0, v.good, size-1, "the log was rewritten: the checkpoint that was kept has the root %s at size %d, and the log has %s", v.kept.Root, size, root)
		}
		v.kept = nil
	}
	return nil
}

// checkpoint compares one that is on record.
func (v *logVerifier) checkpoint(c store.Checkpoint) {
	size := v.frontier.Size()
	v.result.Checkpoints++
	if v.key == nil {
		v.fault(LogCheckpoint, 0, 0, size, size, "there is a checkpoint of size %d, and no key of the log by which it could be verified", size)
		return
	}
	signed, err := merkle.OpenCheckpoint(c.Signed, *v.key)
	switch {
	case err != nil:
		v.fault(LogCheckpoint, 0, 0, size, size, "the checkpoint of size %d of %s: %v", size, stamp(c.Time), err)
		return
	case signed.Size != c.Size || !bytes.Equal(signed.Root[:], c.Root) || signed.Epoch != c.Epoch || !signed.Time.Equal(c.Time):
		v.fault(LogCheckpoint, 0, 0, size, size, "the checkpoint of size %d of %s is not what was signed", size, stamp(c.Time))
		return
	}
	switch root := v.frontier.Root(); {
	case v.blind:
	case signed.Root == root:
		v.good, v.goodSeq, v.wrong = size, v.lastSeq, false
	case v.wrong: // of which the first one has told
	default:
		v.wrong = true
		v.fault(LogCheckpoint, v.goodSeq+1, v.lastSeq, v.good, size-1,
			"the log was rewritten: an entry from %d to %d (leaves %d to %d) is not the one of which a checkpoint was signed at %s, nor is its hash; the root at size %d was %s, and is %s",
			v.goodSeq+1, v.lastSeq, v.good, size-1, stamp(c.Time), size, signed.Root, root)
	}
	if c.Size >= v.result.Signed {
		v.result.Signed, v.result.SignedAt = c.Size, c.Time
	}
}

// end looks at what should have come.
func (v *logVerifier) end(ctx context.Context) error {
	if next := v.frontier.Size(); next < v.head.Size {
		v.missing = append(v.missing, LogFault{Leaf: next, To: v.head.Size - 1})
		if err := v.skip(ctx, v.head.Size); err != nil {
			return err
		}
	}
	for _, m := range v.missing {
		if m.Leaf < v.pruned {
			v.result.Pruned = max(v.result.Pruned, min(m.To+1, v.pruned)-m.Leaf)
			m.Leaf = v.pruned
		}
		if m.Leaf <= m.To {
			v.fault(LogDeleted, 0, 0, m.Leaf, m.To, "%s", missing(m.Leaf, m.To))
		}
	}
	v.result.Root = v.frontier.Root()
	v.compareEdge()
	for len(v.checkpoints) > 0 {
		for _, c := range v.checkpoints {
			v.fault(LogCheckpoint, 0, 0, v.head.Size, c.Size-1, "there is a checkpoint of size %d of %s, and the log has %d entries: it was cut off", c.Size, stamp(c.Time), v.head.Size)
		}
		var err error
		if v.checkpoints, err = v.r.Checkpoints(ctx, v.after, 256); err != nil {
			return err
		}
		if len(v.checkpoints) > 0 {
			v.after = v.checkpoints[len(v.checkpoints)-1]
		}
	}
	if v.kept != nil {
		v.fault(LogCheckpoint, 0, 0, v.head.Size, v.kept.Size-1, "the checkpoint that was kept is of size %d, and the log has %d entries: it was cut off, or is that of an earlier backup", v.kept.Size, v.head.Size)
	}
	return nil
}

// compareEdge compares the head with the tree, subtree by subtree, so that it can be told where they differ.
func (v *logVerifier) compareEdge() {
	edge, kept := v.frontier.Edge(), v.head.Edge
	if v.blind || bytes.Equal(edge, kept) {
		return
	}
	if len(edge) != len(kept) {
		v.fault(LogHead, 0, 0, v.head.Size, v.head.Size, "the head of the log is damaged: a tree of size %d has another number of subtrees", v.head.Size)
		return
	}
	start := int64(0)
	for level := bits.Len64(uint64(v.head.Size)) - 1; level >= 0; level-- {
		span := int64(1) << level
		if v.head.Size&span == 0 {
			continue
		}
		if !bytes.Equal(edge[:merkle.HashSize], kept[:merkle.HashSize]) {
			v.fault(LogHead, 0, 0, start, start+span-1,
				"the head of the log has another hash of leaves %d to %d: one of their entries was changed together with its hash, or the head was", start, start+span-1)
		}
		edge, kept, start = edge[merkle.HashSize:], kept[merkle.HashSize:], start+span
	}
}

func missing(from, to int64) string {
	if from == to {
		return fmt.Sprintf("the entry of leaf %d was deleted", from)
	}
	return fmt.Sprintf("the entries of leaves %d to %d were deleted", from, to)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
