package cli

import (
	"encoding/json"
	"io"
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
	to, is := w.(jsonMessages)
	if !is {
		return false
	}
	m.Text, m.Hint = pki.EscapeText(m.Text), pki.EscapeText(m.Hint)
	e := json.NewEncoder(to.Writer)
	e.SetEscapeHTML(false)
	_ = e.Encode(m) // there is nobody left to tell
	return true
}
