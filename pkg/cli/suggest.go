package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// Closest returns which of known somebody may have meant by word, "" for none: the same in another case or with other
// dashes, what begins with it, or what differs from it by few letters.
func Closest(word string, known []string) string {
	if word == "" {
		return ""
	}
	plain := plainName(word)
	for _, name := range known {
		if plainName(name) == plain {
			return name
		}
	}
	best, distance := "", maxSlips(plain)+1
	for _, name := range known {
		if d := slips(plain, plainName(name)); d < distance {
			best, distance = name, d
		}
	}
	if best != "" || len(plain) < 3 {
		return best
	}
	for _, name := range known {
		if other := plainName(name); strings.HasPrefix(other, plain) || strings.HasPrefix(plain, other) && len(other) > 3 {
			return name
		}
	}
	return ""
}

// slips is how many letters have to be added, left out, or replaced to get from one word to another. Two neighbours that
// have changed places count as one of these.
func slips(word, other string) int {
	least := smetrics.WagnerFischer(word, other, 1, 1, 1)
	for i := 0; i+1 < len(word) && least > 1; i++ {
		swapped := word[:i] + word[i+1:i+2] + word[i:i+1] + word[i+2:]
		least = min(least, 1+smetrics.WagnerFischer(swapped, other, 1, 1, 1))
	}
	return least
}

// maxSlips is how many letters of a name may be wrong for it to be recognised.
func maxSlips(name string) int { return min(len(name)/3, 3) }

// plainName is a name without what people write differently: case, dashes, underscores.
func plainName(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(strings.ToLower(name))
}

// DidYouMean adds to an error about a word that is none of known the one that may have been meant, or else all of them.
func DidYouMean(err error, word string, known []string) error {
	if meant := Closest(word, known); meant != "" {
		return WithHint(err, "did you mean %s?", meant)
	}
	return WithHint(err, "one of %s", strings.Join(known, ", "))
}

// Same reports whether two words are one, whatever their case and dashes.
func Same(a, b string) bool { return plainName(a) == plainName(b) }

// Choice returns which of known a word is, whatever its case and dashes. what names it in the error.
func Choice(what, word string, known []string) (string, error) {
	if i := slices.IndexFunc(known, func(name string) bool { return plainName(name) == plainName(word) }); i >= 0 {
		return known[i], nil
	}
	err := fmt.Errorf("%s: %q is not one of %s", what, word, strings.Join(known, ", "))
	if meant := Closest(word, known); meant != "" {
		return "", WithHint(err, "did you mean %s?", meant)
	}
	return "", err
}
