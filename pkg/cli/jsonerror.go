package cli

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// A Message is what a tool says beside its result, as one line of JSON on standard error (docs/json.md).
type Message struct {
	Tool  string `json:"tool"`
	Level string `json:"level"` // error, warning or note
	Text  string `json:"message"`
	Hint  string `json:"hint,omitempty"`
	Code  int    `json:"exit_code,omitempty"` // that follows from an error
}

// jsonMessages is where messages go as JSON.
type jsonMessages struct{ io.Writer }

// logMessages is where messages go as records of a log in JSON, beside others.
type logMessages struct{ io.Writer }

func (to logMessages) say(m Message) {
	level := slog.LevelInfo
	switch m.Level {
	case "error":
		level = slog.LevelError
	case "warning":
		level = slog.LevelWarn
	}
	var attrs []slog.Attr
	if m.Hint != "" {
		attrs = append(attrs, slog.String("hint", m.Hint))
	}
	slog.New(slog.NewJSONHandler(to.Writer, nil)).LogAttrs(context.Background(), level, m.Text, attrs...)
}

// LogMessages is [Messages] for a program that serves: what it says becomes a record of its log if the command line or
// this variable has the log in JSON, so that whoever collects it can read all lines, the last one above all.
func LogMessages(w io.Writer, args []string, variable string) io.Writer {
	if logsJSON(args, variable) && !asksForJSON(args, "") {
		return logMessages{w}
	}
	return Messages(w, args, "")
}

// logsJSON reports whether arguments, or else an environment variable, ask for a log in JSON.
func logsJSON(args []string, variable string) bool {
	format := ""
	if variable != "" {
		format = os.Getenv(variable)
	}
	for i, arg := range args {
		switch name, value, given := strings.Cut(strings.TrimPrefix(arg, "-"), "="); {
		case arg == "--":
			return Same(format, "json")
		case name != "-log-format" && name != "log-format" || !strings.HasPrefix(arg, "-"):
		case given:
			format = value
		case i+1 < len(args):
			format = args[i+1]
		}
	}
	return Same(format, "json")
}

// InLog marks an error of a program of which the log is in JSON, for whatever reason, to be reported as a record of it.
func InLog(err error) error {
	if err == nil {
		return nil
	}
	return inLog{err}
}

type inLog struct{ error }

func (e inLog) Unwrap() error { return e.error }

// Messages returns where a tool's messages go: w, to which they are written as JSON if the command line asks for JSON, or
// this variable does, also if the command line cannot be read otherwise.
func Messages(w io.Writer, args []string, variable string) io.Writer {
	if asksForJSON(args, variable) {
		return jsonMessages{w}
	}
	return w
}

func asksForJSON(args []string, variable string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	asked := false
	switch value := strings.ToLower(os.Getenv(variable)); value {
	case "1", "t", "true":
		asked = variable != ""
	}
	for _, arg := range args {
		switch name, value, given := strings.Cut(strings.TrimPrefix(arg, "-"), "="); {
		case name != "-json" && name != "json" || !strings.HasPrefix(arg, "-"):
		case !given:
			asked = true
		default:
			asked = slices.Contains([]string{"1", "t", "true"}, strings.ToLower(value))
		}
	}
	return asked
}

// Say writes a message as JSON, if that is how messages go to w, and reports whether they do.
func Say(w io.Writer, m Message) bool {
	m.Text, m.Hint = pki.EscapeText(m.Text), pki.EscapeText(m.Hint)
	var to jsonMessages
	switch w := w.(type) {
	case logMessages:
		w.say(m)
		return true
	case jsonMessages:
		to = w
	default:
		return false
	}
	e := json.NewEncoder(to.Writer)
	e.SetEscapeHTML(false)
	_ = e.Encode(m) // there is nobody left to tell
	return true
}
