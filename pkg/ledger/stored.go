package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/witness"
)

// Stored is the log that a store keeps.
type Stored struct{ Store store.Store }

// Key returns the key on record, also while it is locked.
func (s Stored) Key(ctx context.Context) (key merkle.Key, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		key, err = logkey.Public(ctx, r)
		return err
	})
	return key, none(err)
}

// none turns what is not there into ErrNone.
func none(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrNone
	}
	return err
}

// Read calls fn with one state of the log.
func (s Stored) Read(ctx context.Context, fn func(Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return fn(stored{ctx, r}) })
}

type stored struct {
	ctx context.Context
	r   store.Reader
}

func (s stored) ReadHashes(indexes []int64) ([]merkle.Hash, error) {
	return s.r.LogHashes(s.ctx, indexes)
}

func (s stored) State() (State, error) {
	log, err := s.r.Log(s.ctx)
	if err != nil {
		return State{}, none(err)
	}
	state := State{Origin: log.Origin, Size: log.Size, Epoch: log.Epoch}
	if state.Epochs, err = epochs(log); err != nil {
		return State{}, err
	}
	newest, err := s.r.LatestCheckpoint(s.ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return State{}, err
	default:
		state.Checkpoint = newest.Signed
	}
	return state, nil
}

// epochs are those of a log. Of the first, with which nothing was restored, the row need not tell.
func epochs(log store.Log) ([]witness.Epoch, error) {
	var all []witness.Epoch
	if log.Epochs != "" {
		if err := json.Unmarshal([]byte(log.Epochs), &all); err != nil {
			return nil, fmt.Errorf("ledger: the epochs of the log: %w", err)
		}
	}
	if len(all) == 0 || all[0].Epoch != 1 {
		all = append([]witness.Epoch{{Epoch: 1, Root: merkle.EmptyRoot()}}, all...)
	}
	return all, nil
}

func (s stored) Leaf(digest []byte) ([]byte, error) {
	log, err := s.r.Log(s.ctx)
	if err != nil {
		return nil, none(err)
	}
	e, err := s.r.LogEntryByDigest(s.ctx, digest)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotLogged
	}
	if err != nil {
		return nil, err
	}
	return e.MerkleLeaf(log.Secret).Append(nil), nil
}
