package cli

import (
	"strings"

	"cauase/pkg/pki"
)

// ChooseKeyType reads a type of keys, whatever its case and dashes. what names it in the error.
func ChooseKeyType(what, word string) (pki.KeyType, error) {
	var known []string
	for _, t := range pki.KeyTypes() {
		known = append(known, string(t))
	}
	name, err := Choice(what, word, known)
	return pki.KeyType(name), err
}

// Choose reads which of few values an option has that says what is wrong itself.
func Choose(word string, known []string) (string, error) {
	name, err := Choice("", word, known)
	if err != nil {
		return "", trimmed{err}
	}
	return name, nil
}

// trimmed is an error without what names nothing in front.
type trimmed struct{ error }

func (t trimmed) Error() string { return strings.TrimPrefix(t.error.Error(), ": ") }
func (t trimmed) Unwrap() error { return t.error }
