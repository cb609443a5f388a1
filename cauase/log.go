package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/merkle"
	"cauase/pkg/pemfile"
	"cauase/pkg/witness"

	manners "cauase/pkg/cli"
)

// What hooks hear of the CA's log.
const (
	logForked   = "forked"
	logRestored = "restored"
)

// witness keeps checkpoints of the log of the authority at work.
func (t *tool) witness() enroll.Witness {
	return enroll.WitnessBeside(t.caStore.Path, t.caStore.Attributes, t.clock)
}

// witnessed is trust for commands that take something from the daemon: its log has to continue what this host has seen of it.
func (t *tool) witnessed(ctx context.Context) (*client.Client, error) {
	c, err := t.trust(ctx)
	if err != nil {
		return nil, err
	}
	w := t.witness()
	t.testimony, err = w.Ask(ctx, c, t.trusted)
	if err == nil {
		return c, nil
	}
	t.testimony, t.unsaved = enroll.Testimony{}, false
	return nil, t.refused(w, err)
}

// refused keeps the evidence of a fork, and has the hook hear of it.
func (t *tool) refused(w enroll.Witness, err error) error {
	if !errors.Is(err, witness.ErrFork) {
		return err
	}
	if err := w.SaveRefusal(err); err != nil {
		t.warn("the evidence cannot be kept: %v", err)
	}
	t.changed, t.logEvent = append(t.changed, "log"), logForked
	return manners.WithCode(err, manners.ExitForked)
}

// keepTestimony keeps what the daemon has shown of its log. The CA's files may be read-only to this user, who is served nevertheless.
func (t *tool) keepTestimony() {
	testimony := t.testimony
	t.testimony = enroll.Testimony{}
	err := t.makeFor(t.caStore.Path)
	if err == nil {
		_, err = t.witness().Save(testimony)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		t.note("what the CA's log was cannot be kept here: %v", err)
	case err != nil:
		t.warn("what the CA's log was cannot be kept here, by which to notice if it is rewritten: %v", err)
	}
	if testimony.NewKey {
		t.warn("the CA vouches for another key of its log: %s", testimony.Head.Key)
	}
	if r := testimony.Restored; r != nil && err == nil {
		t.warn("%s", restoredText(*r))
		t.changed, t.logEvent = append(t.changed, "log"), logRestored
	}
}

func restoredText(r witness.Restore) string {
	return fmt.Sprintf("the CA was restored from a backup on %s, as it says: its log went on from %d entries, without %d that this host knew of",
		r.Epoch.Began().Format(time.RFC3339), r.Epoch.Size, r.Lost)
}

// A logView is what log check prints.
type logView struct {
	File      string          `json:"file"`
	Log       string          `json:"log,omitempty"` // its name
	Kept      *checkpointView `json:"kept,omitempty"`
	Now       *checkpointView `json:"now,omitempty"`
	With      *checkpointView `json:"with,omitempty"`
	Verdict   string          `json:"verdict"`
	Restored  string          `json:"restored,omitempty"`
	Forks     []forkView      `json:"forks,omitempty"`
	Stored    int             `json:"checkpoints_kept"`
	KnownFrom string          `json:"known_since,omitempty"`
}

type checkpointView struct {
	Size  int64  `json:"size"`
	Root  string `json:"root"`
	Epoch int64  `json:"epoch"`
	Time  string `json:"time"`
	Seen  string `json:"seen,omitempty"`
}

type forkView struct {
	Seen   string          `json:"seen"`
	Reason witness.Reason  `json:"reason"`
	Kept   *checkpointView `json:"kept,omitempty"`
	Shown  *checkpointView `json:"shown,omitempty"`
}

func viewCheckpoint(c merkle.Checkpoint, seen time.Time) *checkpointView {
	v := &checkpointView{Size: c.Size, Root: c.Root.String(), Epoch: c.Epoch, Time: c.Time.UTC().Format(time.RFC3339)}
	if !seen.IsZero() {
		v.Seen = seen.UTC().Format(time.RFC3339)
	}
	return v
}

func (t *tool) logCheck() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "compare the CA's log with what this host has seen of it",
		Description: `Shows the newest checkpoint that is kept here, what the daemon says now, and whether it
proves that the one continues the other. What the daemon says is kept if it does. --with
compares with what another host keeps, in its file .checkpoints beside the CA
certificates, or with any signed checkpoint: so it shows if the daemon tells two hosts
two stories.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "with", TakesFile: true, Usage: "compare also with what is in `FILE`, of another host (repeatable)"},
		},
		Action: t.action(t.checkLog),
	}
}

func (t *tool) checkLog(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, "log check takes no arguments: --with names files of other hosts")
	}
	service, err := t.trust(c.Context)
	if err != nil {
		return err
	}
	t.unsaved = false // it looks, and takes nothing
	w := t.witness()
	kept, err := w.Load()
	if err != nil {
		return err
	}
	view := logView{File: w.Path, Verdict: "consistent"}
	if kept != nil {
		view.keep(kept)
	}
	testimony, err := w.Ask(c.Context, service, t.trusted)
	view.show(testimony.Head)
	switch {
	case errors.Is(err, witness.ErrFork):
		view.Verdict = logForked
		return join(t.print(view, func(p *printer) { p.log(view) }), t.refused(w, err))
	case err != nil:
		return err
	case testimony.Next == nil:
		_, err := service.LogHead(c.Context, nil, t.trusted)
		if err == nil {
			err = client.ErrNoLog
		}
		return err
	}
	if testimony.First {
		view.Verdict = "first contact"
	}
	if testimony.Restored != nil {
		view.Verdict, view.Restored = logRestored, restoredText(*testimony.Restored)
	}
	var others error
	for _, path := range c.StringSlice("with") {
		if err := t.compareLog(c.Context, service, path, testimony, &view); err != nil {
			others = join(others, naming(path, err))
		}
	}
	t.testimony = testimony
	return join(t.print(view, func(p *printer) { p.log(view) }), others)
}

// compareLog compares what another host keeps with what the daemon says here.
func (t *tool) compareLog(ctx context.Context, service *client.Client, path string, here enroll.Testimony, view *logView) error {
	if err := fileArgument("--with", path); err != nil {
		return err
	}
	data, err := pemfile.Read(path)
	if err != nil {
		return err
	}
	other, err := readCheckpoints(data, here.Head, t.clock.Now())
	if err != nil {
		return err
	}
	newest := other.Newest()
	view.With = viewCheckpoint(newest.Checkpoint, newest.Seen)
	if newest.Size > here.Head.Size && other.Origin == here.Next.Origin {
		// The other may be ahead, as the log grows: what the daemon has by now is to be compared.
		head, err := service.LogHead(ctx, &newest, t.trusted)
		if err != nil {
			return err
		}
		here.Head = head
	}
	head := here.Head
	for range 3 {
		_, err = other.Judge(head, t.clock.Now())
		var again *witness.AskAgain
		if !errors.As(err, &again) {
			break
		}
		if head, err = service.LogHead(ctx, &again.Base, t.trusted); err != nil {
			return err
		}
	}
	if errors.Is(err, witness.ErrFork) {
		view.Verdict = logForked
		t.changed, t.logEvent = append(t.changed, "log"), logForked
		return manners.WithHint(manners.WithCode(fmt.Errorf("the daemon shows another log here than where that file is from: %w", err), manners.ExitForked),
			"both are signed by its key, so that it, or whoever has its key, tells different hosts different things")
	}
	return err
}

// readCheckpoints reads the file of checkpoints of a host, or a single signed checkpoint.
func readCheckpoints(data []byte, here witness.Head, now time.Time) (*witness.State, error) {
	s, err := witness.ParseState(data)
	if err == nil {
		return s, nil
	}
	key := here.Key
	c, bad := merkle.OpenCheckpoint(data, key)
	if bad != nil {
		if _, unsigned := merkle.ReadCheckpoint(data); unsigned == nil {
			return nil, fmt.Errorf("it is not signed by the key of this log, %s", key)
		}
		return nil, err
	}
	epochs := slices.DeleteFunc(slices.Clone(here.Epochs), func(e witness.Epoch) bool { return e.Epoch > c.Epoch })
	if len(epochs) == 0 || epochs[len(epochs)-1].Epoch != c.Epoch {
		return nil, fmt.Errorf("it is of epoch %d of the log, which the daemon has never had", c.Epoch)
	}
	return witness.First(witness.Head{Checkpoint: c, Signed: string(data), Key: key, Epochs: epochs}, now), nil
}

func (v *logView) keep(s *witness.State) {
	newest := s.Newest()
	v.Log, v.Kept, v.Stored = s.Origin, viewCheckpoint(newest.Checkpoint, newest.Seen), len(s.Checkpoints)
	v.KnownFrom = s.Checkpoints[0].Seen.UTC().Format(time.RFC3339)
	for _, f := range s.Forks {
		one := forkView{Seen: f.Seen.UTC().Format(time.RFC3339), Reason: f.Reason}
		if c, err := merkle.ReadCheckpoint([]byte(f.Kept)); err == nil {
			one.Kept = viewCheckpoint(c, time.Time{})
		}
		if c, err := merkle.ReadCheckpoint([]byte(f.Shown)); err == nil {
			one.Shown = viewCheckpoint(c, time.Time{})
		}
		v.Forks = append(v.Forks, one)
	}
}

func (v *logView) show(h witness.Head) {
	if h.Signed == "" {
		return
	}
	v.Now = viewCheckpoint(h.Checkpoint, time.Time{})
	if v.Log == "" {
		v.Log = h.Origin
	}
}

func (p *printer) log(v logView) {
	p.line("log:     %s", v.Log)
	for _, one := range []struct {
		what string
		c    *checkpointView
	}{{"kept", v.Kept}, {"now", v.Now}, {"with", v.With}} {
		if one.c == nil {
			continue
		}
		line := fmt.Sprintf("%-8s %d entries, root %s, epoch %d, of %s", one.what+":", one.c.Size, one.c.Root, one.c.Epoch, one.c.Time)
		if one.c.Seen != "" {
			line += ", seen " + one.c.Seen
		}
		p.line("%s", line)
	}
	for _, f := range v.Forks {
		p.line("fork:    seen %s (%s), evidence in %s", f.Seen, f.Reason, v.File)
	}
	if v.Restored != "" {
		p.line("restore: %s", v.Restored)
	}
	p.line("verdict: %s", v.Verdict)
}

func (t *tool) logAccept() *cli.Command {
	return &cli.Command{
		Name:  "accept",
		Usage: "decide that the CA's log is right as it is now, and forget what was seen of it",
		Description: `For after a fork, once the CA's administrators have found out why: nothing that this host
has seen of the log counts any more, and evidence is forgotten. Where the daemon offers no
log any more, which it did, none is expected from then on. The file of before is kept
beside, with the ending .before.`,
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "log accept takes no arguments")
			}
			service, err := t.trust(c.Context)
			if err != nil {
				return err
			}
			t.unsaved = false
			w := t.witness()
			head, err := service.LogHead(c.Context, nil, t.trusted)
			if err != nil && !errors.Is(err, client.ErrNoLog) {
				return err
			}
			before, readErr := os.ReadFile(w.Path)
			if readErr != nil && errors.Is(err, client.ErrNoLog) {
				return err // there is nothing to decide
			}
			if len(before) > 0 {
				if _, err := pemfile.Write(pemfile.File{Path: w.Path + ".before", Content: before, Attributes: w.Attributes}); err != nil {
					return err
				}
			}
			if err := t.makeFor(t.caStore.Path); err != nil {
				return err
			}
			if err := w.Accept(head); err != nil {
				return err
			}
			view := logView{File: w.Path, Verdict: "accepted"}
			view.show(head)
			return t.print(view, func(p *printer) {
				p.log(view)
			})
		}),
	}
}
