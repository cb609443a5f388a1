package dump

import (
	"slices"

	"cauase/pkg/store"
)

// Sound reports whether every store can hold the texts of a row: UTF-8 without NUL.
func Sound(row store.Row) bool {
	return !slices.ContainsFunc(textsOf(row), func(s string) bool { return !sound(s) })
}

// Clean returns row as it comes out of the stream: like it was, but for texts that are not sound,
// in which U+FFFD takes the place of what is wrong.
func Clean(row store.Row) store.Row {
	if Sound(row) {
		return row
	}
	return wireOf(row).row()
}

// textsOf returns the texts of a row.
func textsOf(row store.Row) (all []string) {
	kind := store.KindOf(row)
	if kind == nil {
		return nil
	}
	for _, value := range kind.Values(row) {
		switch v := value.(type) {
		case string:
			all = append(all, v)
		case []string:
			all = append(all, v...)
		}
	}
	return all
}
