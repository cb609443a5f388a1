package cli

import (
	"encoding/json"
	"io"
)

// WriteJSON prints v on w for scripts: indented, with a line end, and with characters that
// mean something in HTML as they are. Slices without an element should not be nil, so that
// scripts find a list and not null.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
