package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
		info, err := in.Stat()
		return err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return false
}

// errNobody says that a question cannot be asked.
func errNobody() error {
	return manners.WithHint(errors.New("nobody can be asked whether this is right: standard input is not a terminal"), "--yes does not ask")
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 100

// confirmed asks a question, and reports whether the answer is yes.
func (t *tool) confirmed(format string, args ...any) bool {
	fmt.Fprintf(t.stderr, "%s [y/N] ", pki.EscapeText(fmt.Sprintf(format, args...)))
	line, _ := bufio.NewReader(io.LimitReader(t.stdin, maxAnswer)).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}
