// Package cli holds the conventions that all the command-line tools share: how an error
// and what can be done about it are printed, what a tool exits with, and which version
// it reports.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// Exit codes. Scripts written for the reference tools rely on them.
const (
	ExitOK      = 0
	ExitError   = 1
	ExitPending = 2 // nothing failed, but what was asked for is not there yet
	ExitHook    = 3 // everything worked except the command that should hear about it

	// ExitRejected is for a request that a user has decided against. The reference's tools do not have it.
	ExitRejected = 4

	// ExitForked is for a CA whose log is not what it was: nothing was taken from it, nor any file touched.
	ExitForked = 5
)

// An Error adds to an error what its reader can do about it and what the tool exits
// with.
type Error struct {
	Err  error
	Hint string // a sentence without full stop; may be empty
	Code int    // 0 means ExitError
	// Failed: it is an error, not a warning, also with the code ExitPending, which some tools have
	// for something else.
	Failed bool
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its advice.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns err with advice for its reader, nil for nil.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// WithCode returns err with the code to exit with, nil for nil.
func WithCode(err error, code int) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Code: code}
}

// Code returns what a tool exits with for err: of errors joined by [errors.Join] the
// most serious, which is ExitForked, then ExitError, ExitRejected, ExitHook and ExitPending.
func Code(err error) int {
	if err == nil {
		return ExitOK
	}
	if all := each(err); all != nil {
		code := ExitOK
		for _, err := range all {
			code = graver(code, Code(err))
		}
		return code
	}
	code, _, _ := advice(err)
	return code
}

// Report prints err on w as
//
//	tool: error: what went wrong
//	tool: hint: what to do about it
//
// once for each of errors joined by [errors.Join], and returns the code to exit with.
// What is merely pending is a warning. Messages may quote a daemon or a file, so what
// does not print is escaped.
func Report(w io.Writer, tool string, err error) int {
	if err == nil {
		return ExitOK
	}
	if logged, ok := err.(inLog); ok {
		if _, is := w.(logMessages); !is {
			w = logMessages{w}
		}
		err = logged.error
	}
	if all := each(err); all != nil {
		for _, err := range all {
			Report(w, tool, err)
		}
		return Code(err)
	}
	code, hint, failed := advice(err)
	label := "error"
	if code == ExitPending && !failed {
		label = "warning"
	}
	text := Plain(err.Error())
	if Say(w, Message{Tool: tool, Level: label, Text: text, Hint: hint, Code: code}) {
		return code
	}
	fmt.Fprintf(w, "%s: %s %s\n", tool, Label(w, label), pki.EscapeText(text))
	if hint != "" {
		fmt.Fprintf(w, "%s: %s %s\n", tool, Label(w, "hint"), pki.EscapeText(hint))
	}
	return code
}

// Warn prints a warning on w as Report does, with what can be done about it.
func Warn(w io.Writer, tool, text, hint string) {
	if Say(w, Message{Tool: tool, Level: "warning", Text: text, Hint: hint}) {
		return
	}
	fmt.Fprintf(w, "%s: %s %s\n", tool, Label(w, "warning"), pki.EscapeText(text))
	if hint != "" {
		fmt.Fprintf(w, "%s: %s %s\n", tool, Label(w, "hint"), pki.EscapeText(hint))
	}
}

// each returns the errors that err is joined of, each with what was said of all of them, such as the file that they are
// in; nil if it is a single one.
func each(err error) []error {
	var advised []*Error // the outermost first
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if known, ok := inner.(*Error); ok {
			advised = append(advised, known)
		}
		joined, ok := inner.(interface{ Unwrap() []error })
		switch {
		case !ok:
			continue
		case inner == err:
			return joined.Unwrap()
		}
		said, last := strings.CutSuffix(err.Error(), inner.Error())
		if !last || !strings.Contains(inner.Error(), "\n") {
			return nil // a sentence with several causes in it
		}
		var all []error
		for _, one := range joined.Unwrap() {
			one = &saidOf{said, one}
			for _, outer := range slices.Backward(advised) {
				one = &Error{Err: one, Hint: outer.Hint, Code: outer.Code, Failed: outer.Failed}
			}
			all = append(all, one)
		}
		return all
	}
	return nil
}

// A saidOf is one of several errors, with what was said of all of them.
type saidOf struct {
	said string
	err  error
}

func (e *saidOf) Error() string { return e.said + e.err.Error() }
func (e *saidOf) Unwrap() error { return e.err }

// advice collects the outermost code and hint along the chain of err.
func advice(err error) (code int, hint string, failed bool) {
	var known *Error
	for errors.As(err, &known) {
		if code == 0 {
			code = known.Code
		}
		failed = failed || known.Failed
		if hint == "" {
			hint = known.Hint
		}
		err = known.Err
	}
	if code == 0 {
		code = ExitError
	}
	return code, hint, failed
}

func graver(a, b int) int {
	rank := func(code int) int {
		switch code {
		case ExitOK:
			return 0
		case ExitPending:
			return 1
		case ExitHook:
			return 2
		case ExitRejected:
			return 3
		case ExitForked:
			return 5
		}
		return 4
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// Version returns the version the Go toolchain stamped on the running binary: a tag, a
// pseudo-version of the commit, or "(devel)" where there was neither.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
