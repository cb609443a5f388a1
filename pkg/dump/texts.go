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
func textsOf(row store.Row) []string {
	switch v := row.(type) {
	case store.Request:
		return append([]string{v.Submitter, v.Subject}, v.SANs...)
	case store.Certificate:
		return append([]string{v.Subject, v.IssuedBy, string(v.Method)}, v.SANs...)
	case store.Counter:
		return []string{v.Name}
	case store.Setting:
		return []string{v.Name, v.Value}
	case store.AuditEntry:
		return []string{v.Authority, v.Actor.String(), v.Actor.Address, string(v.Action), v.Object.String(), string(v.Result), v.Detail, v.Actor.RequestID}
	}
	return nil
}
