// Package dump writes everything a store keeps as a stream of lines, and reads it again. The
// stream says nothing of the database it came from, so that it can go to one of another kind. Its
// format is described in docs/backup-format.md; what is not exactly of that form is refused:
//
//	{"format":"cauase-rows","version":6,"created":"2026-03-04T05:06:07Z","software":"v1.2.3"}
//	{"authority":{"name":"cas",…}}
//	…
//	{"end":[{"kind":"authority","count":1,"sha256":"…"},…]}
//
// Memory does not grow with the number of rows, neither when writing nor when reading.
package dump

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"cauase/pkg/store"
)

// Version is that of the format. Every change to what a line may hold is a new one.
const Version = 6

const (
	// MaxLine bounds a line, in bytes with its end. The longest holds a certificate and the
	// request for it, of 10 MiB each and in base64.
	MaxLine = 32 << 20
	// maxFirstLine bounds the first one.
	maxFirstLine = 4096
	// maxNames bounds the names in one row.
	maxNames = 10_000
	// maxCAs bounds the CA certificates, of which the reader remembers the IDs.
	maxCAs = 100_000
)

// prefix is how the first line begins, of this version and of all later ones.
const prefix = `{"format":"cauase-rows","version":`

var (
	// ErrNotDump means that something else than a stream of rows was given.
	ErrNotDump = errors.New("dump: not a stream of cauase rows")
	// ErrNewer means that a later version of cauase has written it.
	ErrNewer = errors.New("dump: written by a later version of cauase")
	// ErrInvalid is what every refused line is; see Error.
	ErrInvalid = errors.New("dump: invalid")
)

// An Error says which line or row was refused, and why. It is an ErrInvalid.
type Error struct {
	Line int64  // counting from 1; 0 for a row that was to be written
	Row  string // kind and identity of the row, when they are known
	Why  string // printable whatever the line was
	Err  error  // of what was read from, nil when the line itself is wrong
}

func (e *Error) Error() string {
	where := "rows"
	if e.Line > 0 {
		where = fmt.Sprintf("rows, line %d", e.Line)
	}
	if e.Row != "" {
		where += " (" + e.Row + ")"
	}
	return where + ": " + e.Why
}

// Is reports that an Error is an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Unwrap returns the error of what was read from.
func (e *Error) Unwrap() error { return e.Err }

// Meta is what the first line says.
type Meta struct {
	Version  int       // of the format; Write puts its own
	Created  time.Time // to the microsecond
	Software string    // version of cauase that wrote it
}

// Is reports whether a clear text that begins with start, of which some hundred bytes are enough,
// claims to be a stream of rows, of whatever version.
func Is(start []byte) bool { return bytes.HasPrefix(start, []byte(prefix)) }

// Kind names the kind of a row as the stream does.
func Kind(row store.Row) string {
	if kind := store.KindOf(row); kind != nil {
		return kind.Name
	}
	return ""
}

// Describe names one row, for messages: its kind and what identifies it.
func Describe(row store.Row) string {
	if kind := store.KindOf(row); kind != nil {
		return kind.Describe(row)
	}
	return fmt.Sprintf("%T", row)
}

// maxWhy bounds a message about a line, in bytes: parts of the line may be in it.
const maxWhy = 300

// printable makes a text fit for a message.
func printable(s string) string {
	if len(s) > maxWhy {
		s = s[:maxWhy] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
