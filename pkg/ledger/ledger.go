// Package ledger serves the log of what a daemon has done: the newest checkpoint, proofs that it continues earlier ones and that a
// certificate is in it. And it notices when a host has seen another log under our signature: then ours was rewritten.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/mod/sumdb/tlog"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/merkle"
	"cauase/pkg/witness"
)

var (
	// ErrNone means that there is no log, or that no checkpoint of it is signed yet.
	ErrNone = errors.New("no checkpoint of the log is signed yet")
	// ErrNotLogged means that the log does not have what was asked for.
	ErrNotLogged = errors.New("the log does not have this certificate")
	// ErrSize means that there is no tree of the size that was asked for.
	ErrSize = errors.New("the log is not as long as that")
)

// A State is what is known of a log.
type State struct {
	Origin     string
	Size       int64
	Epoch      int64
	Epochs     []witness.Epoch
	Checkpoint []byte // the newest one, a signed note; nil: there is none
}

// A Reader reads the log at one moment.
type Reader interface {
	merkle.HashReader
	// State returns ErrNone where there is no log.
	State() (State, error)
	// Leaf returns the data of the leaf of the issuance of a certificate with this SHA-256, ErrNotLogged if there is none.
	Leaf(digest []byte) ([]byte, error)
}

// A Source is where a log is kept.
type Source interface {
	// Read calls fn with one state of the log.
	Read(ctx context.Context, fn func(Reader) error) error
	// Key returns the public key of the log, ErrNone while there is none.
	Key(ctx context.Context) (merkle.Key, error)
}

// Config is what a Ledger works with. All of it is needed but Disputed.
type Config struct {
	Source Source
	Clock  clock.Clock
	Log    *slog.Logger

	// Record keeps evidence against the log on record, and reports whether it is news.
	Record func(ctx context.Context, actor audit.Actor, d Dispute) (news bool, err error)

	// Disputed, if it is set, counts evidence that was shown.
	Disputed func()
}

// A Ledger serves one log. It is safe for concurrent use.
type Ledger struct {
	cfg  Config
	seen recent
}

// New returns a Ledger.
func New(cfg Config) *Ledger { return &Ledger{cfg: cfg} }

// A Question is what a host asks about the checkpoint that it keeps.
type Question struct {
	Size   int64        // 0: none
	Root   *merkle.Hash // nil: it is not said
	Signed []byte       // the note; nil: it is not shown
}

// Checkpoint answers a question. The answer lacks the statement that vouches for it, of which this is the payload.
func (l *Ledger) Checkpoint(ctx context.Context, actor audit.Actor, q Question) (a witness.Answer, payload []byte, err error) {
	key, err := l.cfg.Source.Key(ctx)
	if err != nil {
		return a, nil, err
	}
	var state State
	var disputed *Dispute
	err = l.cfg.Source.Read(ctx, func(r Reader) error {
		var newest merkle.Checkpoint
		if state, newest, err = l.state(r, key); err != nil {
			return err
		}
		a = witness.Answer{Checkpoint: string(state.Checkpoint)}
		if q.Size > 0 && q.Size <= newest.Size {
			if a.Consistency, err = merkle.ProveConsistency(q.Size, newest.Size, r); err != nil {
				return err
			}
		}
		disputed, err = dispute(r, state, key, q)
		return err
	})
	if err != nil {
		return a, nil, err
	}
	if disputed != nil {
		l.dispute(ctx, actor, *disputed)
	}
	payload, err = statement(key, state)
	return a, payload, err
}

// state reads the state of the log, and its newest checkpoint.
func (l *Ledger) state(r Reader, key merkle.Key) (State, merkle.Checkpoint, error) {
	state, err := r.State()
	if err != nil {
		return state, merkle.Checkpoint{}, err
	}
	if state.Checkpoint == nil {
		return state, merkle.Checkpoint{}, ErrNone
	}
	newest, err := merkle.OpenCheckpoint(state.Checkpoint, key)
	switch {
	case errors.Is(err, merkle.ErrSignature):
		// By a key that was replaced: the next entry brings one by the new key.
		return state, newest, ErrNone
	case err != nil:
		return state, newest, fmt.Errorf("ledger: the newest checkpoint: %w", err)
	case newest.Epoch != state.Epoch:
		return state, newest, ErrNone // restored since: hosts would take it for one that was not declared
	case newest.Size > state.Size:
		return state, newest, fmt.Errorf("ledger: the newest checkpoint is of size %d, and the log of size %d", newest.Size, state.Size)
	}
	return state, newest, nil
}

func statement(key merkle.Key, s State) ([]byte, error) {
	k := envelope.LogKey{Key: key.String()}
	for _, e := range s.Epochs {
		k.Epochs = append(k.Epochs, envelope.LogEpoch{Epoch: e.Epoch, Size: e.Size, Root: e.Root[:], Time: e.Time})
	}
	return envelope.EncodeLogKey(k)
}

// Proof proves that the log has a certificate, given by the SHA-256 of its DER, in the tree of a size; 0: that of the newest checkpoint.
// authority is the one that has to have issued it. The answer lacks the statement, like that of Checkpoint.
func (l *Ledger) Proof(ctx context.Context, authority string, digest []byte, size int64) (p witness.Proof, payload []byte, err error) {
	key, err := l.cfg.Source.Key(ctx)
	if err != nil {
		return p, nil, err
	}
	err = l.cfg.Source.Read(ctx, func(r Reader) error {
		state, newest, err := l.state(r, key)
		if err != nil {
			return err
		}
		data, err := r.Leaf(digest)
		if err != nil {
			return err
		}
		leaf, err := merkle.ParseLeaf(data)
		switch {
		case err != nil:
			return fmt.Errorf("ledger: %w", err)
		case leaf.Authority != authority:
			return ErrNotLogged
		}
		p = witness.Proof{Leaf: string(data), Index: leaf.Index, Size: size}
		if size == 0 || size == newest.Size {
			p.Size, p.Check = newest.Size, string(state.Checkpoint)
		}
		switch {
		case p.Size > newest.Size:
			return ErrSize
		case leaf.Index >= newest.Size:
			return ErrNone // it was written while no checkpoint could be signed
		case leaf.Index >= p.Size:
			return ErrNotLogged // by then
		}
		if p.Inclusion, err = merkle.ProveInclusion(leaf.Index, p.Size, r); err != nil {
			return err
		}
		payload, err = statement(key, state)
		return err
	})
	return p, payload, err
}

// rootAt is the root of the tree of a size.
func rootAt(size int64, r Reader) (merkle.Hash, error) {
	if size == 0 {
		return merkle.EmptyRoot(), nil
	}
	return tlog.TreeHash(size, r)
}
