package merkle

import (
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendText appends s as a JSON string, in the one form that all texts in leaves have: that of RFC 8785. Different texts
// always have different forms: a byte that is not UTF-8 becomes the escape of a lone surrogate, \udc80 to \udcff, which no
// text in UTF-8 has.
func AppendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		} else if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		b = appendEscape(b, c)
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	high := "00"
	if c >= utf8.RuneSelf {
		high = "dc"
	}
	return append(append(append(b, `\u`...), high...), hexDigits[c>>4], hexDigits[c&15])
}

// AppendHex appends octets as a JSON string of hexadecimal digits.
func AppendHex(b, octets []byte) []byte {
	b = append(b, '"')
	for _, c := range octets {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return append(b, '"')
}

// timeForm is RFC 3339 in UTC, always with microseconds.
const timeForm = "2006-01-02T15:04:05.000000Z"

// AppendTime appends a time as a JSON string, rounded down to the microsecond.
func AppendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	return append(t.UTC().AppendFormat(b, timeForm), '"')
}

// AppendMember appends the beginning of a member of an object: a comma unless it is the first one, its name, a colon.
func AppendMember(b []byte, name string) []byte {
	if n := len(b); n > 0 && b[n-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// AppendNumber appends an integer.
func AppendNumber(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }
