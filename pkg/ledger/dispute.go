package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/witness"
)

// A Dispute is evidence that our log was rewritten: a checkpoint that our key has signed, of a log that ours does not continue.
type Dispute struct {
	Seen    time.Time `json:"seen"`
	Size    int64     `json:"size"`
	Root    string    `json:"root"`
	Epoch   int64     `json:"epoch"`
	Ours    int64     `json:"our_size"`
	OurRoot string    `json:"our_root,omitempty"` // at the same size; empty: our log is not as long
	Address string    `json:"address,omitempty"`  // of the first that has shown it
	Signed  string    `json:"signed"`
}

// dispute compares what a host shows with the log. Nothing counts that our key has not signed: a stranger can make up the rest.
func dispute(r Reader, state State, key merkle.Key, q Question) (*Dispute, error) {
	if len(q.Signed) == 0 {
		return nil, nil
	}
	c, err := merkle.OpenCheckpoint(q.Signed, key)
	if err != nil {
		return nil, nil //nolint:nilerr // it is no evidence
	}
	// What came after a backup that was restored is not there any more, and that was declared.
	if slices.ContainsFunc(state.Epochs, func(e witness.Epoch) bool { return e.Epoch > c.Epoch && e.Size < c.Size }) {
		return nil, nil
	}
	d := &Dispute{Size: c.Size, Root: c.Root.String(), Epoch: c.Epoch, Ours: state.Size, Signed: string(q.Signed)}
	if c.Size > state.Size {
		return d, nil
	}
	root, err := rootAt(c.Size, r)
	if err != nil || root == c.Root {
		return nil, err
	}
	d.OurRoot = root.String()
	return d, nil
}

// dispute has everybody know of evidence. Whoever has it can show it as often as they like, so that it is told of once.
func (l *Ledger) dispute(ctx context.Context, actor audit.Actor, d Dispute) {
	if l.cfg.Disputed != nil {
		l.cfg.Disputed()
	}
	if !l.seen.add(sha256.Sum256([]byte(fmt.Sprint(d.Size, d.Root, d.Epoch)))) {
		return
	}
	d.Seen, d.Address = l.cfg.Clock.Now().UTC().Truncate(time.Second), actor.Address
	news, err := l.cfg.Record(ctx, actor, d)
	attrs := []any{"their_size", d.Size, "their_root", d.Root, "our_size", d.Ours, "our_root_at_that_size", d.OurRoot, "address", d.Address}
	if err != nil {
		l.cfg.Log.ErrorContext(ctx, "evidence against the log could not be recorded", "error", err)
	}
	if news || err != nil {
		l.cfg.Log.ErrorContext(ctx, "a host has seen another log under our signature: ours was rewritten, or an old copy of the database is in use; see cauased manage audit verify", attrs...)
	}
}

// maxSeen bounds the evidence that is told of: whoever has the key of the log can make any amount of it.
const maxSeen = 16

// A recent set of evidence.
type recent struct {
	mu   sync.Mutex
	sums map[[sha256.Size]byte]bool
}

// add reports whether sum is new, and there is room for it.
func (s *recent) add(sum [sha256.Size]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.sums = make(map[[sha256.Size]byte]bool)
	}
	if s.sums[sum] || len(s.sums) >= maxSeen {
		return false
	}
	s.sums[sum] = true
	return true
}

// disputesFor is how long evidence stays on record.
const disputesFor = 90 * 24 * time.Hour

// Disputes returns the evidence on record, the oldest first.
func Disputes(ctx context.Context, r interface {
	Setting(ctx context.Context, a store.AuthorityName, name string) (string, error)
}, now time.Time) (all []Dispute, err error) {
	text, err := r.Setting(ctx, "", store.SettingLogDisputes)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("setting %s: %w", store.SettingLogDisputes, err)
	}
	return slices.DeleteFunc(all, func(d Dispute) bool { return now.Sub(d.Seen) > disputesFor }), nil
}

// RecordIn returns what keeps evidence in a store, with an entry in the audit log for each, and a bound on how many there are at a time.
func RecordIn(st store.Store) func(ctx context.Context, actor audit.Actor, d Dispute) (bool, error) {
	return func(ctx context.Context, actor audit.Actor, d Dispute) (news bool, err error) {
		err = st.Update(ctx, func(tx store.Tx) error {
			news = false
			all, err := Disputes(ctx, tx, d.Seen)
			if err != nil {
				return err
			}
			same := func(o Dispute) bool { return o.Size == d.Size && o.Root == d.Root && o.Epoch == d.Epoch }
			if len(all) >= maxSeen || slices.ContainsFunc(all, same) {
				return nil
			}
			text, err := json.Marshal(append(all, d))
			if err != nil {
				return err
			}
			if err := tx.PutSetting(ctx, "", store.SettingLogDisputes, string(text)); err != nil {
				return err
			}
			e := audit.NewEntry(d.Seen, "", actor, audit.DisputeLog, audit.Object{Kind: audit.KindDatabase})
			e.Detail = fmt.Sprintf("a host has seen %d entries with root %s; there are %d", d.Size, d.Root, d.Ours)
			if d.OurRoot != "" {
				e.Detail += ", and the root of the first " + fmt.Sprint(d.Size) + " is " + d.OurRoot
			}
			news = true
			return tx.AppendAudit(ctx, e)
		})
		return news, err
	}
}
