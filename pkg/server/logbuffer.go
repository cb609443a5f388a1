package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// logDelay is how long a line may wait for others to be written with.
	logDelay = 100 * time.Millisecond
	// logBuffer is how much may wait, in bytes.
	logBuffer = 64 << 10
)

// A LogBuffer gathers lines of a log that nobody waits for, such as those of the access log, which would each be a write of its own.
// What cannot be written is lost, as it is without a LogBuffer, and holds up nothing.
type LogBuffer struct {
	mu    sync.Mutex
	to    io.Writer
	lines []byte
	timer *time.Timer // runs while there are lines
}

// NewLogBuffer returns one before w.
func NewLogBuffer(w io.Writer) *LogBuffer { return &LogBuffer{to: w} }

// Write takes one line. It is written within logDelay, in the order of all lines.
func (b *LogBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines)+len(line) > logBuffer {
		b.flush()
	}
	if len(line) > logBuffer {
		return b.to.Write(line)
	}
	b.lines = append(b.lines, line...)
	if b.timer == nil {
		b.timer = time.AfterFunc(logDelay, b.Flush)
	}
	return len(line), nil
}

// Flush writes what waits.
func (b *LogBuffer) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
}

func (b *LogBuffer) flush() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if len(b.lines) > 0 {
		_, _ = b.to.Write(b.lines)
		b.lines = b.lines[:0]
	}
}

// Handler returns a handler whose warnings and errors are written at once, with all that waits before them. next is one that
// writes to b.
func (b *LogBuffer) Handler(next slog.Handler) slog.Handler { return urgently{next, b} }

type urgently struct {
	slog.Handler
	buffer *LogBuffer
}

func (h urgently) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.buffer.Flush()
	}
	return err
}

func (h urgently) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgently{h.Handler.WithAttrs(attrs), h.buffer}
}

func (h urgently) WithGroup(name string) slog.Handler {
	return urgently{h.Handler.WithGroup(name), h.buffer}
}
