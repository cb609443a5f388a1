package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
	"cauase/pkg/witness"
)

// A Witness keeps checkpoints of the log of an authority's daemon, in a file beside the CA certificates: it says as much about the
// authority as they do, and goes where they go.
type Witness struct {
	Path       string
	Attributes pemfile.Attributes
	Clock      clock.Clock
}

// WitnessBeside returns the witness of the authority whose CA certificates are at a location, a file or a directory: the same by
// whatever link that is reached.
func WitnessBeside(location string, attributes pemfile.Attributes, clk clock.Clock) Witness {
	if target, err := filepath.EvalSymlinks(location); err == nil {
		location = target
	}
	return Witness{filepath.Clean(location) + ".checkpoints", attributes, clk}
}

// Load returns what is kept, nil if nothing is.
func (w Witness) Load() (*witness.State, error) {
	content, err := w.Attributes.Read(w.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := witness.ParseState(content.Data)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: w.Path, Err: err}
	}
	return s, nil
}

// A Testimony is what came of asking a daemon about its log.
type Testimony struct {
	witness.Verdict
	Before *witness.State // what was kept
	Head   witness.Head
}

// How often, and how long after one another, a daemon that has less than it had is asked again: behind a balancer there may be
// several, of which one is a moment late.
const (
	lateTries = 3
	latePause = 500 * time.Millisecond
)

// maxAsked bounds how often a daemon is asked about older checkpoints in a row: once is enough unless its log changes meanwhile.
const maxAsked = 4

// Ask asks the daemon about its log, and judges what it says by what is kept here. It changes no file. A daemon that offers no log, nor
// has ever done so here, is fine: the testimony is the zero one then. A refusal is a [witness.ErrFork].
func (w Witness) Ask(ctx context.Context, c *client.Client, trusted []*x509.Certificate) (Testimony, error) {
	kept, err := w.Load()
	if err != nil {
		return Testimony{}, err
	}
	get := c.LogHead
	for try := 1; ; try++ {
		t, err := w.ask(ctx, get, kept, trusted)
		var refused *witness.Refusal
		if !errors.As(err, &refused) || refused.Reason != witness.Shorter || try == lateTries {
			return t, err
		}
		select {
		case <-time.After(latePause):
			get = c.LogHeadAgain
		case <-ctx.Done():
			return t, err
		}
	}
}

// getHead is what asks a daemon about its log.
type getHead func(ctx context.Context, kept *witness.Kept, trusted []*x509.Certificate) (witness.Head, error)

func (w Witness) ask(ctx context.Context, get getHead, kept *witness.State, trusted []*x509.Certificate) (Testimony, error) {
	t := Testimony{Before: kept}
	var about *witness.Kept
	if kept != nil {
		newest := kept.Newest()
		about = &newest
	}
	for range maxAsked {
		var err error
		t.Head, err = get(ctx, about, trusted)
		switch {
		case errors.Is(err, client.ErrNoLog) && kept != nil:
			return t, kept.LogGone()
		case err != nil && kept == nil && !errors.Is(err, witness.ErrAnswer) && ctx.Err() == nil:
			return t, nil // there is nothing that it could contradict
		case err != nil:
			return t, err
		}
		t.Verdict, err = kept.Judge(t.Head, w.Clock.Now())
		var again *witness.AskAgain
		if !errors.As(err, &again) {
			return t, err
		}
		about = &again.Base
	}
	return t, witness.ErrAnswer
}

// Save keeps what came of asking, on disk. What another program has kept meanwhile stays if it is newer.
func (w Witness) Save(t Testimony) (changed bool, err error) {
	if t.Next == nil {
		return false, nil
	}
	there, err := w.Load()
	if err != nil {
		return false, err
	}
	if !there.Same(t.Before) && there != nil {
		if v, err := there.Judge(t.Head, w.Clock.Now()); err == nil {
			t.Next = v.Next
		} else {
			return false, nil // the next time it is asked about what is there
		}
	}
	if there.Same(t.Next) {
		return false, nil
	}
	return true, w.write(t.Next)
}

// SaveRefusal keeps the evidence of a fork beside what is kept.
func (w Witness) SaveRefusal(err error) error {
	var refused *witness.Refusal
	if !errors.As(err, &refused) {
		return nil
	}
	there, err := w.Load()
	if err != nil || there == nil {
		return err
	}
	next := there.Remember(refused, w.Clock.Now())
	if next == there {
		return nil
	}
	return w.write(next)
}

// Accept puts what the daemon has in place of what is kept, whatever that is; the zero Head: the daemon has no log, and nothing is kept.
func (w Witness) Accept(h witness.Head) error {
	if h.Signed == "" {
		return w.Attributes.Remove(w.Path)
	}
	return w.write(witness.First(h, w.Clock.Now()))
}

func (w Witness) write(s *witness.State) error {
	text, err := s.Encode()
	if err != nil {
		return err
	}
	_, err = pemfile.Write(pemfile.File{Path: w.Path, Content: text, Attributes: w.Attributes})
	return err
}
