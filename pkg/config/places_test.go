package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlacesInTables looks for settings in each of many tables of an array, between comments, texts of several lines and
// other tables.
func TestPlacesInTables(t *testing.T) {
	const tables = 300
	text := "\ufeff# Häuser\nname = \"all\"\n"
	here := func(column int) Position { return Position{strings.Count(text, "\n") + 1, column} }
	var names, notes []Position
	for i := range tables {
		text += "\r\n[[job]]\r\n"
		notes = append(notes, here(3))
		text += "  note = '''\nname = 7\n'''\n"
		if i%3 == 0 {
			names = append(names, here(1))
			text += "name = \"here\"\n"
		} else {
			names = append(names, Position{})
		}
		text += fmt.Sprintf("[job.more]\nname = %d\n[[other]]\nname = \"é\"\n", i)
	}
	places := PlacesIn([]byte(text))
	for i := range tables {
		if got := places.FindIn("job", i, "name"); got != names[i] {
			t.Fatalf("name in table %d of the array: %v, not %v", i, got, names[i])
		}
		if got := places.FindIn("job", i, "note"); got != notes[i] {
			t.Fatalf("note in table %d of the array: %v, not %v", i, got, notes[i])
		}
	}
	if at := places.Find("name"); at != (Position{2, 1}) {
		t.Errorf("name above all tables: %v", at)
	}
	if at := places.FindIn("job", tables, "name"); at != (Position{}) {
		t.Errorf("name in a table that is not there: %v", at)
	}
}

// TestJoined keeps paths apart that have the same letters.
func TestJoined(t *testing.T) {
	seen := map[string][]string{}
	for _, path := range [][]string{{"a", "b"}, {"ab"}, {"a\"\"b"}, {"a", "", "b"}, {"", "a", "b"}, {"a\x00b"}, {"a\x00", "b"}, nil} {
		if other, taken := seen[joined(path...)]; taken {
			t.Errorf("%q and %q are the same", other, path)
		}
		seen[joined(path...)] = path
	}
}
