package pki

import (
	"strconv"
	"strings"
	"time"
)

// Units of time beyond those of time.Duration. A year is 365 days, as validities count them.
const (
	oneDay  = 24 * time.Hour
	oneYear = 365 * oneDay
)

// MaxDuration is the longest that ParseDuration accepts.
const MaxDuration = 200 * oneYear

// ParseDuration reads a duration as people write them: "90s", "36h", "30d", "1y", "1y30d", "1.5d". It is
// time.ParseDuration with days and years of 365 days, without a sign, and of at most [MaxDuration].
func ParseDuration(s string) (time.Duration, error) {
	bad := refusef("duration", "%s is not a duration such as 90s, 36h, 30d or 1y", quote(s))
	var total time.Duration
	rest := s
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"y", oneYear}, {"d", oneDay}} {
		number, after, found := strings.Cut(rest, unit.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" || n > float64(MaxDuration/unit.length) {
			return 0, bad
		}
		// To whole seconds: a tenth of a day is no exact binary fraction.
		total += time.Duration(n * float64(unit.length)).Round(time.Second)
		rest = after
	}
	if rest != "" || s == "" {
		d, err := time.ParseDuration(rest)
		if err != nil || strings.ContainsAny(rest, "+-") || d > MaxDuration {
			return 0, bad
		}
		total += d
	}
	if total > MaxDuration {
		return 0, bad
	}
	return total, nil
}

// FormatDuration writes d the way ParseDuration reads it, in the largest unit that has no remainder:
// "1y", "30d", "36h", "90s".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"y", oneYear}, {"d", oneDay}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.letter
		}
	}
	return d.String()
}

// ParseDays reads a duration as ParseDuration does, or a number of days without a unit.
func ParseDays(s string) (time.Duration, error) {
	if s != "" && strings.Trim(s, "0123456789.") == "" {
		return ParseDuration(s + "d")
	}
	return ParseDuration(s)
}
