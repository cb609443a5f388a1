package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

const (
	// MaxAnswer bounds what a hook may write to standard output, in bytes.
	MaxAnswer = 256 << 10
	// maxMessages bounds what it may write to standard error. More is a flood; far less is logged.
	maxMessages = 1 << 20
	// atOnce is how many calls of one hook run at a time, and waiting how many more wait for their turn. Each has somebody's
	// request behind it, which takes one of the daemon's places.
	atOnce  = 4
	waiting = 16
	// pipeGrace is how long pipes are read after a program has ended, if what it has left behind in another process group holds
	// them open.
	pipeGrace = time.Second
)

// A Program is an executable that is called for an event. It is safe for concurrent use.
type Program struct {
	event   Event
	path    string
	timeout time.Duration
	log     *slog.Logger

	spoken spoken

	places shares        // for calls, those that wait included
	slots  chan struct{} // and for each that runs
}

// NewProgram returns the hook at a path, which may take so long for an event; zero: as long as is usual.
func NewProgram(event Event, path string, timeout time.Duration, log *slog.Logger) *Program {
	if timeout <= 0 {
		timeout = event.Timeout()
	}
	p := &Program{event: event, path: path, timeout: timeout, slots: make(chan struct{}, atOnce)}
	p.logTo(log)
	return p
}

func (p *Program) logTo(log *slog.Logger) {
	p.log = log.With("hook", string(p.event), "path", pki.EscapeText(p.path))
}

// Name says which hook it is.
func (p *Program) Name() string { return p.path }

// Run calls the program with input on its standard input, and returns what it has written to standard output. Every error is a
// [Failure].
func (p *Program) Run(ctx context.Context, input []byte) ([]byte, error) {
	return p.RunFor(ctx, "", input)
}

// RunFor is Run for the client at an address, which gets no more than its share; empty: for nobody in particular.
func (p *Program) RunFor(ctx context.Context, address string, input []byte) ([]byte, error) {
	answer, err := p.run(ctx, address, input)
	if err != nil {
		return nil, p.note(ctx, err)
	}
	return answer, nil
}

// note logs what went wrong, and makes a [Failure] of it.
func (p *Program) note(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, context.Canceled): // whoever has asked has gone, or the daemon ends
		p.log.DebugContext(ctx, "hook ended", "error", pki.EscapeText(err.Error()))
	case p.spoken.may():
		p.log.ErrorContext(ctx, "hook failed", "error", pki.EscapeText(err.Error()))
	}
	return &Failure{p.event, p.path, err}
}

func (p *Program) run(ctx context.Context, address string, input []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, ErrTimeout) // in line, too
	defer cancel()
	leave, turns, ok := p.places.enter(address)
	if !ok {
		return nil, ErrBusy
	}
	defer leave()
	for _, room := range []chan struct{}{turns, p.slots} {
		if room == nil {
			continue
		}
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
		}
	}
	// Each time: what was safe at the start may have become anybody's since.
	if err := CheckPath(p.path); err != nil {
		return nil, err
	}
	return p.call(ctx, input)
}

// environment is all that hooks have. That of the daemon may hold the password of a database.
func (p *Program) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "CAUASE_HOOK=" + string(p.event),
	}
}

// call starts the program, and sees to it that nothing of it is left in its process group when it returns.
func (p *Program) call(ctx context.Context, input []byte) ([]byte, error) {
	flooded := make(chan struct{})
	flood := sync.OnceFunc(func() { close(flooded) })
	out := &limitedBuffer{room: MaxAnswer, full: flood}
	messages := &messageLog{ctx: ctx, log: p.log, may: p.spoken.may, room: maxMessages, full: flood}
	cmd := exec.Command(p.path)
	cmd.Args = []string{p.path}
	cmd.Dir = "/"
	cmd.Env = p.environment()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeGrace
	keepFilesFromChildren()
	if err := cmd.Start(); err != nil {
		return nil, cli.ExplainStart(p.path, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		awaitExit(cmd.Process.Pid)
	}()
	var why error
	select {
	case <-ended:
	case <-flooded:
		why = ErrFlood
	case <-ctx.Done():
		why = context.Cause(ctx)
	}
	// Its number cannot be another process's before it has been waited for.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-ended
	err := cmd.Wait()
	messages.finish()
	switch {
	case why != nil:
		return nil, why
	case out.overflowed || messages.overflowed:
		return nil, ErrFlood // in its last breath
	case errors.Is(err, exec.ErrWaitDelay), errors.Is(err, syscall.EPIPE):
		// It has left something running that has its pipes, or did not want to know everything: what it has said counts.
	case err != nil:
		return nil, describeExit(err)
	}
	return out.content, nil
}

// describeExit says how a program has ended.
func describeExit(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("it was ended by signal %d (%v)", int(status.Signal()), status.Signal())
	}
	return fmt.Errorf("it ended with exit code %d", exit.ExitCode())
}

// A limitedBuffer keeps what is written to it up to a bound, and says when that is passed. It has no method but Write: that of a
// buffer which reads by itself knows no bound.
type limitedBuffer struct {
	content    []byte
	room       int
	full       func()
	overflowed bool
}

func (b *limitedBuffer) Write(data []byte) (int, error) {
	if len(data) > b.room-len(b.content) {
		b.overflowed = true
		b.full()
		return 0, ErrFlood
	}
	b.content = append(b.content, data...)
	return len(data), nil
}

// Bounds of what is logged of one call.
const (
	maxLines = 50
	maxLine  = 500 // bytes
)

// A messageLog writes what a hook says on standard error into the log, line by line.
type messageLog struct {
	ctx        context.Context
	log        *slog.Logger
	may        func() bool // write another line
	room       int
	full       func()
	overflowed bool

	line    []byte
	cut     bool
	lines   int
	omitted int
}

func (m *messageLog) Write(data []byte) (int, error) {
	if m.room -= len(data); m.room < 0 {
		m.overflowed = true
		m.full()
		return 0, ErrFlood
	}
	for rest := data; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		if free := maxLine - len(m.line); len(part) > free {
			part, m.cut = part[:free], true
		}
		m.line = append(m.line, part...)
		if whole {
			m.flush()
		}
		rest = after
	}
	return len(data), nil
}

func (m *messageLog) flush() {
	text := strings.TrimSuffix(string(m.line), "\r")
	if m.cut {
		text += "…"
	}
	m.line, m.cut = m.line[:0], false
	if m.lines++; m.lines > maxLines || !m.may() {
		m.omitted++
		return
	}
	m.log.InfoContext(m.ctx, "hook says", "line", pki.EscapeText(text))
}

func (m *messageLog) finish() {
	if len(m.line) > 0 {
		m.flush()
	}
	if m.omitted > 0 && m.may() {
		m.log.WarnContext(m.ctx, "hook says more than is logged", "lines_omitted", m.omitted)
	}
}

// A spoken counts lines of the log about a hook: as many as anybody reads, however often strangers have it called.
type spoken struct {
	mu    sync.Mutex
	since time.Time
	lines int
}

// maxSpoken is how many lines there are of one hook in a minute.
const maxSpoken = 600

// may reports whether there may be another line now, and counts it.
func (s *spoken) may() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := clock.System().Now(); now.Sub(s.since) >= time.Minute || now.Before(s.since) {
		s.since, s.lines = now, 0
	}
	s.lines++
	return s.lines <= maxSpoken
}
