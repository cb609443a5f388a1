package store

import (
	"math"
	"testing"
)

func TestParseCount(t *testing.T) {
	for _, n := range []int64{0, 1, 9, 10, 4711, math.MaxInt32, math.MaxInt64} {
		if got, err := ParseCount(FormatCount(n)); got != n || err != nil {
			t.Errorf("%d became %d, %v", n, got, err)
		}
	}
	refused := map[string]string{
		"nothing":             "",
		"letters":             "many",
		"digits, then more":   "3abc",
		"two numbers":         "3 4",
		"a space before":      " 3",
		"a space behind":      "3 ",
		"a line end":          "3\n",
		"negative":            "-3",
		"negative zero":       "-0",
		"with a plus":         "+3",
		"leading zero":        "03",
		"two zeros":           "00",
		"hexadecimal":         "0x3",
		"grouped":             "1_000",
		"with a fraction":     "3.0",
		"with an exponent":    "3e2",
		"digits from Arabic":  "\u0663",
		"a NUL behind":        "3\x00",
		"one more than fits":  "9223372036854775808",
		"a great many digits": "99999999999999999999999999999999",
	}
	for name, text := range refused {
		t.Run(name, func(t *testing.T) {
			if n, err := ParseCount(text); err == nil {
				t.Errorf("%q was read as %d", text, n)
			}
		})
	}
}
