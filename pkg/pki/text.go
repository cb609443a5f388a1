package pki

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// EscapeText returns s as a terminal or a log may show it. Whatever does not print
// (control characters, newlines and tabs included, bidirectional controls, invisible
// characters, private use) becomes \xNN or \uNNNN, and so do the bytes of invalid
// UTF-8. Text that prints, in any script, is left alone; so are backslashes, which
// makes this a rule for showing, not an encoding that can be undone.
func EscapeText(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	return b.String()
}

func printable(s string) bool {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			return false
		}
		i += size
	}
	return true
}

// clip cuts s to about n bytes, between runes, and says that it did.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// quote shows part of an input in an error message. strconv.Quote escapes what does
// not print by the same rule as EscapeText.
func quote(s string) string { return strconv.Quote(clip(s, 60)) }

// checkText refuses what no name has a use for and what deceives a human reader:
// invalid UTF-8, control characters (C0, DEL, C1), line and paragraph separators, and
// every bidirectional control. Joiners stay allowed, some scripts are misspelt
// without them.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not valid UTF-8", quote(s))
	}
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			return fmt.Errorf("%s contains the control character %U", quote(s), r)
		case r == '\u2028' || r == '\u2029':
			return fmt.Errorf("%s contains the line separator %U", quote(s), r)
		case unicode.Is(unicode.Bidi_Control, r):
			return fmt.Errorf("%s contains the text direction control %U", quote(s), r)
		}
	}
	return nil
}
