// Package witness is how hosts make sure that nobody rewrites the log of a CA: what they keep of it, what a daemon tells them, and how
// they judge that. It asks nobody and touches no files.
//
// A host keeps the newest checkpoint that it has seen, and some older ones. A daemon has to prove that its log still begins with
// that. So whoever changes anything that was there has to hide it from every host for good.
package witness

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/merkle"
	"cauase/pkg/pki"
)

// ErrDamaged is a state that no tool of ours has written as it is. Nobody starts anew because of it: that is what somebody might want.
var ErrDamaged = errors.New("is damaged, or not the state of a witness")

// A State is what a host keeps of a log.
type State struct {
	Origin      string
	Keys        []merkle.Key // that have signed what is kept, the newest last
	Epochs      []Epoch
	Checkpoints []Kept // growing; the last is the newest
	Forks       []Fork
	Restores    []Restore
}

// A Kept checkpoint is a signed note, as it was seen.
type Kept struct {
	merkle.Checkpoint
	Signed string
	Seen   time.Time
}

// A Fork is evidence that a log was rewritten: two checkpoints, signed by its key, of which neither continues the other. Or it is a
// claim that could not be proved.
type Fork struct {
	Seen   time.Time `json:"seen"`
	Reason Reason    `json:"reason"`
	Kept   string    `json:"kept"`
	Shown  string    `json:"shown,omitempty"` // "" if nothing was shown
}

// A Restore is one that a CA has declared.
type Restore struct {
	Seen  time.Time `json:"seen"`
	Epoch Epoch     `json:"epoch"`
	Lost  int64     `json:"lost"` // how many of the entries that this host knew of came after what was restored
	Kept  string    `json:"kept"` // the newest checkpoint of before
}

// Bounds on what is kept.
const (
	// MaxState bounds the text of a state.
	MaxState  = 1 << 20
	maxKept   = 64
	maxKeys   = maxKept + 1
	maxForks  = 8
	maxRecent = 16
	version   = 1
)

const about = "Checkpoints of a CA's log, by which this host notices if anybody rewrites it. Without this file it would not: see cauase log check."

type stateWire struct {
	About       string     `json:"about"`
	Version     int        `json:"version"`
	Origin      string     `json:"origin"`
	Keys        []string   `json:"keys"`
	Epochs      []Epoch    `json:"epochs"`
	Checkpoints []keptWire `json:"checkpoints"`
	Forks       []Fork     `json:"forks,omitempty"`
	Restores    []Restore  `json:"restores,omitempty"`
}

type keptWire struct {
	Seen   time.Time `json:"seen"`
	Signed string    `json:"signed"`
}

// Encode writes what ParseState reads.
func (s *State) Encode() ([]byte, error) {
	w := stateWire{About: about, Version: version, Origin: s.Origin, Epochs: s.Epochs, Forks: s.Forks, Restores: s.Restores}
	for _, k := range s.Keys {
		w.Keys = append(w.Keys, k.String())
	}
	for _, c := range s.Checkpoints {
		w.Checkpoints = append(w.Checkpoints, keptWire{c.Seen.UTC().Truncate(time.Second), c.Signed})
	}
	text, err := json.Marshal(w, jsontext.WithIndent("  "))
	return append(text, '\n'), err
}

// ParseState reads what Encode has written. Errors are ErrDamaged.
func ParseState(text []byte) (*State, error) {
	s, err := parseState(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDamaged, pki.EscapeText(err.Error()))
	}
	return s, nil
}

func parseState(text []byte) (*State, error) {
	if len(text) > MaxState {
		return nil, fmt.Errorf("%d bytes", len(text))
	}
	var w stateWire
	if err := json.Unmarshal(text, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("not JSON of its form")
	}
	if w.Version != version {
		return nil, fmt.Errorf("version %d, and this program knows %d", w.Version, version)
	}
	s := &State{Origin: w.Origin, Epochs: w.Epochs, Forks: w.Forks, Restores: w.Restores}
	for _, text := range w.Keys {
		key, err := merkle.ParseKey(text)
		if err != nil || key.Origin != w.Origin {
			return nil, errors.New("a key of another log")
		}
		s.Keys = append(s.Keys, key)
	}
	for _, c := range w.Checkpoints {
		kept, err := s.open(c.Signed)
		if err != nil {
			return nil, err
		}
		kept.Seen = c.Seen
		s.Checkpoints = append(s.Checkpoints, kept)
	}
	return s, s.check()
}

// open verifies a checkpoint by the keys that are known.
func (s *State) open(signed string) (Kept, error) {
	err := errors.New("no key")
	for _, key := range slices.Backward(s.Keys) {
		var c merkle.Checkpoint
		if c, err = merkle.OpenCheckpoint([]byte(signed), key); err == nil {
			return Kept{Checkpoint: c, Signed: signed}, nil
		}
	}
	return Kept{}, err
}

func (s *State) check() error {
	switch {
	case len(s.Checkpoints) == 0 || len(s.Epochs) == 0:
		return errors.New("no checkpoint, or no epoch")
	case len(s.Checkpoints) > maxKept || len(s.Keys) > maxKeys || len(s.Forks) > maxForks || len(s.Restores) > maxRecent:
		return errors.New("more of something than is kept")
	}
	for i, c := range s.Checkpoints {
		if i > 0 && (c.Size <= s.Checkpoints[i-1].Size || c.Epoch < s.Checkpoints[i-1].Epoch) {
			return errors.New("checkpoints out of order")
		}
	}
	for i, e := range s.Epochs {
		if i > 0 && e.Epoch <= s.Epochs[i-1].Epoch || e.Size < 0 {
			return errors.New("epochs out of order")
		}
	}
	if newest := s.Newest(); newest.Epoch != s.epoch().Epoch || newest.Size < s.epoch().Size {
		return errors.New("a checkpoint that is not of the newest epoch")
	}
	return nil
}

// Newest is the newest checkpoint that is kept.
func (s *State) Newest() Kept { return s.Checkpoints[len(s.Checkpoints)-1] }

func (s *State) epoch() Epoch { return s.Epochs[len(s.Epochs)-1] }

// Key is the key of the newest checkpoint.
func (s *State) Key() merkle.Key { return s.Keys[len(s.Keys)-1] }

// Same reports whether both say the same.
func (s *State) Same(other *State) bool {
	if s == nil || other == nil {
		return s == other
	}
	a, err1 := s.Encode()
	b, err2 := other.Encode()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

func (s *State) clone() *State {
	c := *s
	c.Keys, c.Epochs, c.Checkpoints = slices.Clone(s.Keys), slices.Clone(s.Epochs), slices.Clone(s.Checkpoints)
	c.Forks, c.Restores = slices.Clone(s.Forks), slices.Clone(s.Restores)
	return &c
}

// First is the state of a host that has met a log for the first time.
func First(h Head, now time.Time) *State {
	return &State{Origin: h.Origin, Keys: []merkle.Key{h.Key}, Epochs: slices.Clone(h.Epochs), Checkpoints: []Kept{h.kept(now)}}
}

func (h Head) kept(now time.Time) Kept {
	return Kept{h.Checkpoint, h.Signed, now.UTC().Truncate(time.Second)}
}

// take adds the checkpoint of a head that continues what is kept.
func (s *State) take(h Head, now time.Time) *State {
	next := s.clone()
	next.Epochs = slices.Clone(h.Epochs)
	if !slices.ContainsFunc(next.Keys, func(k merkle.Key) bool { return k.String() == h.Key.String() }) {
		next.Keys = append(next.Keys, h.Key)
	}
	if h.Size == next.Newest().Size {
		if h.Epoch == next.Newest().Epoch && h.Key.String() == s.Key().String() {
			return next // it says nothing that is not known
		}
		next.Checkpoints = next.Checkpoints[:len(next.Checkpoints)-1] // by another key, or the first of another epoch
	}
	next.Checkpoints = thin(append(next.Checkpoints, h.kept(now)), now)
	next.dropKeys()
	return next
}

// dropKeys forgets keys that have signed nothing that is kept.
func (s *State) dropKeys() {
	last := len(s.Keys) - 1
	i := 0
	s.Keys = slices.DeleteFunc(s.Keys, func(k merkle.Key) bool {
		i++
		return i-1 < last && !slices.ContainsFunc(s.Checkpoints, func(c Kept) bool {
			_, err := merkle.OpenCheckpoint([]byte(c.Signed), k)
			return err == nil
		})
	})
}

// leastGap is the least time between two checkpoints that are both kept.
const leastGap = 10 * time.Minute

// thin leaves fewer checkpoints the older they are, as backups are fewer then: one is dropped if those before and after it are no further
// apart than the latter is old. So for a backup of any age there is one that is at most twice as old. The newest and the oldest stay.
func thin(all []Kept, now time.Time) []Kept {
	var kept []Kept
	for i, c := range slices.Backward(all) {
		if i < len(all)-1 && i > 0 {
			after := kept[len(kept)-1].Seen
			if gap := after.Sub(all[i-1].Seen); gap < leastGap || gap < now.Sub(after) {
				continue
			}
		}
		kept = append(kept, c)
	}
	for len(kept) > maxKept { // after jumps of the clock
		kept = slices.Delete(kept, len(kept)/2, len(kept)/2+1)
	}
	slices.Reverse(kept)
	return kept
}

// Remember notes a fork. Of the same two checkpoints it does so once.
func (s *State) Remember(r *Refusal, now time.Time) *State {
	fork := Fork{now.UTC().Truncate(time.Second), r.Reason, s.Newest().Signed, r.Signed}
	known := func(f Fork) bool { return f.Reason == fork.Reason && f.Kept == fork.Kept && f.Shown == fork.Shown }
	if slices.ContainsFunc(s.Forks, known) {
		return s
	}
	next := s.clone()
	next.Forks = append(next.Forks, fork)
	if extra := len(next.Forks) - maxForks; extra > 0 {
		next.Forks = slices.Delete(next.Forks, 1, 1+extra) // the first is how it began
	}
	return next
}
