package store

import (
	"errors"
	"strconv"
)

// FormatCount writes a count as the text of a setting.
func FormatCount(n int64) string { return strconv.FormatInt(n, 10) }

// ParseCount reads a count that is kept as the text of a setting: what [FormatCount]
// writes, from 0 up, and nothing else. A sign, a space, a leading zero or anything behind
// the digits was not written by us, so it is an error rather than a guess. The error
// does not quote the text.
func ParseCount(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || FormatCount(int64(n)) != text {
		return 0, errNoCount
	}
	return int64(n), nil
}

var errNoCount = errors.New("not a count in decimal digits")
