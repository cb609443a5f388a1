package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
)

// A rowMeter shows progress over many rows: on a terminal in one line, which is overwritten and cleared at the end,
// elsewhere in a line every few seconds.
type rowMeter struct {
	clk      clock.Clock
	w        io.Writer
	terminal bool

	step    string
	started time.Time // of the step
	shown   time.Time
	onLine  bool // something stands in the line
}

func newRowMeter(clk clock.Clock, w io.Writer) *rowMeter {
	f, ok := w.(*os.File)
	return &rowMeter{clk: clk, w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

const (
	// lookEvery is after how many rows the clock is looked at.
	lookEvery     = 512
	showOnScreen  = 200 * time.Millisecond
	showElsewhere = 5 * time.Second
)

// rows is a manage.Progress.
func (m *rowMeter) rows(step, kind string, n int64) {
	if step == m.step && n%lookEvery != 0 {
		return
	}
	now := m.clk.Now()
	if step != m.step {
		m.step, m.started = step, now
		if m.shown.IsZero() {
			m.shown = now // short work needs no progress report
		}
		return
	}
	every := showElsewhere
	if m.terminal {
		every = showOnScreen
	}
	if since := now.Sub(m.shown); since >= 0 && since < every {
		return
	}
	m.shown = now
	line := fmt.Sprintf("%s: %d rows", step, n)
	if took := now.Sub(m.started); took >= time.Second {
		line += fmt.Sprintf(", %.0f/s", float64(n)/took.Seconds())
	}
	line += ", at kind " + kind
	if m.terminal {
		fmt.Fprint(m.w, "\r\x1b[K"+line)
		m.onLine = true
		return
	}
	if !cli.Say(m.w, cli.Message{Tool: tool, Level: "note", Text: line}) {
		fmt.Fprintln(m.w, line)
	}
}

// clear removes the line, before other output.
func (m *rowMeter) clear() {
	if m.onLine {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.onLine = false
	}
}
