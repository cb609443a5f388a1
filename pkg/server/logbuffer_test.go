package server

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes remembers each write; it fails when that is set.
type writes struct {
	mu  sync.Mutex
	all []string
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), w.err
}

func (w *writes) each() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func bufferedLog(to *writes) (*LogBuffer, *slog.Logger) {
	b := NewLogBuffer(to)
	log := slog.New(b.Handler(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	return b, log
}

// TestLogBufferGathers: lines that come together are one write, soon; a warning is written at once, behind what was said before it.
func TestLogBufferGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to writes
		b, log := bufferedLog(&to)
		request := log.With("of", "request")
		for range 3 {
			request.Info("one")
		}
		synctest.Wait()
		if len(to.each()) != 0 {
			t.Errorf("written at once: %q", to.each())
		}
		time.Sleep(logDelay)
		synctest.Wait()
		if len(to.each()) != 1 || strings.Count(to.each()[0], "\n") != 3 {
			t.Errorf("written after %v: %q", logDelay, to.each())
		}
		request.Info("two")
		log.WithGroup("g").Warn("three")
		if len(to.each()) != 2 || !strings.Contains(to.each()[1], "two") || strings.Index(to.each()[1], "three") < strings.Index(to.each()[1], "two") {
			t.Errorf("a warning was written as %q", to.each()[1:])
		}
		time.Sleep(2 * logDelay)
		synctest.Wait()
		if len(to.each()) != 2 {
			t.Errorf("nothing was written again: %q", to.each()[2:])
		}
		request.Info("last")
		b.Flush()
		if len(to.each()) != 3 || !strings.Contains(to.each()[2], "last") {
			t.Errorf("written at the end: %q", to.each()[2:])
		}
	})
}

// TestLogBufferIsBounded: what waits is never more than the buffer, also when nothing can be written; whole lines are.
func TestLogBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := writes{err: errors.New("closed")}
		b := NewLogBuffer(&to)
		line := append(bytes.Repeat([]byte{'x'}, 999), '\n')
		for range 1000 {
			if _, err := b.Write(line); err != nil {
				t.Fatal(err)
			}
			if len(b.lines) > logBuffer {
				t.Fatalf("%d bytes wait", len(b.lines))
			}
		}
		long := append(bytes.Repeat([]byte{'y'}, 2*logBuffer), '\n')
		_, _ = b.Write(long)
		b.Flush()
		written := strings.Join(to.each(), "")
		if written != strings.Repeat(string(line), 1000)+string(long) {
			t.Errorf("%d bytes were written, or in another order", len(written))
		}
		for _, one := range to.each() {
			if !strings.HasSuffix(one, "\n") {
				t.Errorf("half a line was written")
			}
		}
	})
}
