package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// colours of labels (ECMA-48 SGR).
var colours = map[string]string{"error": "1;31", "warning": "1;33", "note": "1;36", "hint": "1;32"}

// Label returns what stands before a message, in colour where w is a terminal that has some: not with NO_COLOR
// (no-color.org), nor with TERM=dumb.
func Label(w io.Writer, label string) string {
	if colour := colours[label]; colour != "" && coloured(w) {
		return "\x1b[" + colour + "m" + label + ":\x1b[0m"
	}
	return label + ":"
}

// Coloured reports whether w is a terminal that has colours.
func Coloured(w io.Writer) bool { return coloured(w) }

func coloured(w io.Writer) bool {
	f, isFile := w.(*os.File)
	if !isFile || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	return term.IsTerminal(int(f.Fd()))
}
