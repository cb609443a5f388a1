package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A prompter is a standard input with somebody at it, for tests.
type prompter interface {
	io.Reader
	Interactive() bool
}

// canAsk reports whether there is somebody at standard input.
func (t *tool) canAsk() bool {
	switch in := t.stdin.(type) {
	case prompter:
		return in.Interactive()
	case *os.File:
		return term.IsTerminal(int(in.Fd()))
	}
	return false
}

// errNobody says that a question cannot be asked, and what has become of what it would be about.
func errNobody(state string) error {
	return manners.WithHint(fmt.Errorf("nobody can be asked whether this is right, and %s: standard input is not a terminal", state), "--yes does not ask")
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 100

// confirmed asks a question, and reports whether the answer is yes. It is not once ctx ends.
func (t *tool) confirmed(ctx context.Context, format string, args ...any) bool {
	fmt.Fprintf(t.stderr, "%s [y/N] ", pki.EscapeText(fmt.Sprintf(format, args...)))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(t.stdin, maxAnswer)).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done(): // a read that has begun cannot be ended
		fmt.Fprintln(t.stderr)
		return false
	case line := <-answer:
		return line == "y" || line == "yes"
	}
}
