package witness

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/merkle"
)

// ErrFork is what every Refusal is: the history of the log is not the one that this host has seen.
var ErrFork = errors.New("the CA's log is not what it was")

// A Reason is why a daemon is refused.
type Reason string

// The reasons.
const (
	Rewritten Reason = "rewritten" // its log does not continue what is kept
	Shorter   Reason = "shorter"   // it has lost entries, or somebody answers with what it said earlier
	OtherLog  Reason = "other log" // it has a log of another origin
	Gone      Reason = "gone"      // it had a log, and has none
	EpochBack Reason = "epoch"     // it is of before a restore
)

// A Refusal says why nothing is taken from a daemon.
type Refusal struct {
	Reason Reason
	Kept   Kept
	Shown  merkle.Checkpoint // what the daemon has, unless Gone
	Signed string            // that, as a note

	// Base is the checkpoint that was compared, if it is not the newest: of before a restore that was declared.
	Base *Kept
}

// Is makes errors.Is hold for ErrFork.
func (r *Refusal) Is(target error) bool { return target == ErrFork }

func (r *Refusal) Error() string {
	had := fmt.Sprintf("this host has seen it with %d entries and the root %s, on %s", r.Kept.Size, r.Kept.Root, r.Kept.Seen.UTC().Format(time.RFC3339))
	has := fmt.Sprintf("%d entries and the root %s", r.Shown.Size, r.Shown.Root)
	switch r.Reason {
	case Gone:
		return fmt.Sprintf("%v: %s, and the daemon offers none any more", ErrFork, had)
	case OtherLog:
		return fmt.Sprintf("%v: %s, as %s; now the daemon has another, %s, with %s", ErrFork, had, r.Kept.Origin, r.Shown.Origin, has)
	case Shorter:
		return fmt.Sprintf("%v: %s; now it has only %s", ErrFork, had, has)
	case EpochBack:
		return fmt.Sprintf("%v: %s, in epoch %d; now it has %s, in epoch %d, and no restore was declared", ErrFork, had, r.Kept.Epoch, has, r.Shown.Epoch)
	}
	if r.Base != nil {
		return fmt.Sprintf("%v: a restore was declared, before which this host has seen it with %d entries and the root %s; what it has now, %s, does not continue that",
			ErrFork, r.Base.Size, r.Base.Root, has)
	}
	return fmt.Sprintf("%v: %s; what it has now, %s, does not continue that", ErrFork, had, has)
}

// An AskAgain says that the daemon has to be asked about another checkpoint.
type AskAgain struct{ Base Kept }

func (a *AskAgain) Error() string {
	return fmt.Sprintf("the proof from size %d is needed", a.Base.Size)
}

// A Verdict is what came of judging a head.
type Verdict struct {
	Next     *State
	First    bool     // nothing was kept before
	Restored *Restore // a restore was declared that is news; the newest of several
	NewKey   bool     // the log has another key
}

// Judge compares a head with what is kept. The error is a *Refusal, or an *AskAgain.
func (s *State) Judge(h Head, now time.Time) (Verdict, error) {
	if s == nil {
		return Verdict{Next: First(h, now), First: true}, nil
	}
	newest := s.Newest()
	refuse := func(reason Reason) (Verdict, error) {
		return Verdict{}, &Refusal{Reason: reason, Kept: newest, Shown: h.Checkpoint, Signed: h.Signed}
	}
	if h.Origin != s.Origin {
		return refuse(OtherLog)
	}
	common := commonEpochs(s.Epochs, h.Epochs)
	switch {
	case common == len(h.Epochs) && common < len(s.Epochs):
		return refuse(EpochBack)
	case common < len(h.Epochs):
		return s.judgeRestore(h, common, now)
	case h.Size < newest.Size:
		return refuse(Shorter)
	}
	if err := h.continues(newest); err != nil {
		if errors.As(err, new(*AskAgain)) {
			return Verdict{}, err
		}
		return refuse(Rewritten)
	}
	return Verdict{Next: s.take(h, now), NewKey: s.Key().String() != h.Key.String()}, nil
}

// commonEpochs returns how many epochs both began with.
func commonEpochs(a, b []Epoch) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// continues returns nil if the head is proved to continue a checkpoint.
func (h Head) continues(c Kept) error {
	if h.Size == c.Size {
		if h.Root != c.Root {
			return merkle.ErrProof
		}
		return nil
	}
	if h.From != c.Size {
		return &AskAgain{c}
	}
	return merkle.CheckConsistency(c.Size, c.Root, h.Size, h.Root, h.Consistency)
}

// judgeRestore judges a head after restores that were not known, given how many epochs were. Nothing that the backup had may have
// changed; what came after is lost, and that is what a restore is.
func (s *State) judgeRestore(h Head, common int, now time.Time) (Verdict, error) {
	newest := s.Newest()
	refuse := func(reason Reason, base *Kept) (Verdict, error) {
		return Verdict{}, &Refusal{Reason: reason, Kept: newest, Shown: h.Checkpoint, Signed: h.Signed, Base: base}
	}
	if common == 0 {
		return refuse(Rewritten, nil) // of the first epoch on it has another history
	}
	// A backup that is older than the last restore knows nothing of it. Time tells which of two is the later one.
	if common < len(s.Epochs) && h.Epochs[common].Time <= s.epoch().Time {
		return refuse(EpochBack, nil)
	}
	first := h.Epochs[common].Size
	for _, e := range h.Epochs[common:] {
		first = min(first, e.Size)
	}
	known := s.Epochs[common-1].Epoch // the last that both have
	var base *Kept
	for _, c := range slices.Backward(s.Checkpoints) {
		if c.Size <= first && c.Epoch <= known {
			base = &c
			break
		}
	}
	if base != nil {
		if err := h.continues(*base); err != nil {
			if errors.As(err, new(*AskAgain)) {
				return Verdict{}, err
			}
			return refuse(Rewritten, base)
		}
	}
	next := s.clone()
	next.Checkpoints = slices.DeleteFunc(next.Checkpoints, func(c Kept) bool { return c.Size > first || c.Epoch > known })
	restore := Restore{Seen: now.UTC().Truncate(time.Second), Epoch: h.Epochs[len(h.Epochs)-1], Lost: max(0, newest.Size-first), Kept: newest.Signed}
	next.Restores = append(next.Restores, restore)
	if extra := len(next.Restores) - maxRecent; extra > 0 {
		next.Restores = slices.Delete(next.Restores, 0, extra)
	}
	v := Verdict{Restored: &restore, NewKey: s.Key().String() != h.Key.String()}
	if len(next.Checkpoints) == 0 {
		// All that this host knew came after the backup.
		next.Keys, next.Epochs, next.Checkpoints = []merkle.Key{h.Key}, slices.Clone(h.Epochs), []Kept{h.kept(now)}
		v.Next = next
		return v, nil
	}
	v.Next = next.take(h, now)
	return v, nil
}

// Accept is the state after an operator has decided that what a daemon has is right.
func (s *State) Accept(h Head, now time.Time) *State {
	return First(h, now)
}

// LogGone is the refusal of a daemon that has no log any more.
func (s *State) LogGone() *Refusal { return &Refusal{Reason: Gone, Kept: s.Newest()} }
