package updater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"cauase/pkg/clock"
)

// separateArg is the argument that makes this program do the job of an owner.
const separateArg = "do-the-job-of-its-owner"

// Separated reports whether a command line is that of a process which an agent has started for the
// owner of a job's files: then [ServeSeparated] is all there is to do.
func Separated(args []string) bool { return len(args) == 2 && args[1] == separateArg }

const (
	ordersFD  = 0
	reportsFD = 3

	// beats are how often a process says that it is alive.
	beats = 30 * time.Second

	maxOrder = 1 << 20 // bytes
)

// ServeSeparated does the job that comes in at standard input until that ends, and returns the exit
// code.
func ServeSeparated(clk clock.Clock) int {
	if err := serveSeparated(clk); err != nil {
		fmt.Fprintf(os.Stderr, "cauase-updater: error: %s\n", shown(err.Error()))
		return 1
	}
	return 0
}

func serveSeparated(clk clock.Clock) error {
	closeOnExec(reportsFD)
	out := os.NewFile(reportsFD, "reports")
	if info, err := out.Stat(); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return errors.New("this is for the agent to call, not for people")
	}
	bound()
	in := os.NewFile(ordersFD, "orders")
	var o order
	if err := json.NewDecoder(io.LimitReader(in, maxOrder)).Decode(&o); err != nil {
		return fmt.Errorf("the order cannot be read: %w", err)
	}
	if err := onlyOwner(&o.Job); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP) // by the agent, to look now; it ends nothing
	// Not ignored, as hooks would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		_, _ = io.Copy(io.Discard, in) // until the agent says so, or is no more
		stop()
	}()
	s := &separated{order: o, out: json.NewEncoder(out), clock: clk, asked: asked}
	return s.serve(ctx)
}

// onlyOwner makes sure that this process can do no more than the owner.
func onlyOwner(j *Job) error {
	real, effective, saved := userIDs()
	if j.Owner == nil || *j.Owner == 0 || real != *j.Owner || effective != *j.Owner || saved != *j.Owner {
		return errors.New("this process has other rights than those of the job's owner")
	}
	return nil
}

// A separated process does one job.
type separated struct {
	order order
	clock clock.Clock
	asked <-chan os.Signal

	mu  sync.Mutex
	out *json.Encoder
}

func (s *separated) say(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(r) // without an agent to hear it, there is an end to the orders, too
}

func (s *separated) serve(ctx context.Context) error {
	o := Options{Clock: s.clock, Log: slog.New(reporter{say: s.say}), UserAgent: s.order.UserAgent, Timeout: s.order.Timeout, Reported: s.order.Reported}
	jobs := []Job{s.order.Job}
	var all []Status
	var err error
	switch s.order.Purpose {
	case toKeep:
		err = s.keep(ctx, o, jobs)
	case toOnce:
		all, err = Once(ctx, o, jobs)
	case toRefresh:
		all, err = Refresh(ctx, o, jobs)
	case toLook:
		all, err = Look(o, jobs)
	default:
		err = fmt.Errorf("no purpose %q", s.order.Purpose)
	}
	for i := range all {
		s.say(report{Status: &all[i]})
	}
	if err != nil {
		s.say(report{Error: err.Error(), Locked: errors.Is(err, ErrLocked), NoAgent: errors.Is(err, ErrNoAgent)})
	}
	return nil
}

func (s *separated) keep(ctx context.Context, o Options, jobs []Job) error {
	changed := make(chan struct{}, 1)
	o.onLook = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	a := New(o)
	if err := a.Start(ctx, jobs); err != nil {
		return err
	}
	ticks := time.NewTicker(beats)
	defer ticks.Stop()
	tell := func() {
		for _, status := range a.Statuses() {
			s.say(report{Status: &status})
		}
	}
	for {
		select {
		case <-ctx.Done():
			a.Wait()
			tell()
			return nil
		case <-s.asked:
			a.Refresh()
		case <-changed:
			tell()
		case <-ticks.C:
			if a.Alive(aliveWithin) {
				s.say(report{})
				tell()
			}
		}
	}
}

// aliveWithin is far longer than a job needs between two signs of life.
const aliveWithin = 10 * time.Minute

// A reporter is a log whose lines are reports.
type reporter struct {
	say   func(report)
	attrs [][2]string
}

// Enabled reports whether a level is logged.
func (r reporter) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle says a line.
func (r reporter) Handle(_ context.Context, record slog.Record) error {
	line := &logLine{Level: record.Level, Message: record.Message}
	line.Attrs = append(line.Attrs, r.attrs...)
	record.Attrs(func(a slog.Attr) bool {
		line.Attrs = append(line.Attrs, [2]string{a.Key, a.Value.String()})
		return true
	})
	r.say(report{Log: line})
	return nil
}

// WithAttrs adds attributes to all lines; the job's name is added by the agent.
func (r reporter) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := append([][2]string(nil), r.attrs...)
	for _, a := range attrs {
		if a.Key != "job" {
			all = append(all, [2]string{a.Key, a.Value.String()})
		}
	}
	return reporter{r.say, all}
}

// WithGroup is not needed.
func (r reporter) WithGroup(string) slog.Handler { return r }
