package main

import (
	"bytes"
	"os"
	"testing"
)

// Whoever looks into the database of a released version, perhaps beside its daemon, finds it unchanged, and is told how
// to bring it up to date.
func TestInspectionLeavesTheLayoutAsItIs(t *testing.T) {
	db := layout3(t)
	const header = 100 // in which SQLite notes that there is a log beside the file, as there is with a daemon
	before, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	for command, code := range map[string]int{"check": exitUnchecked, "status": 1} {
		stdout, stderr, got := manageCommand(t.Context(), command, "--db", db)
		if got != code || stdout != "" {
			t.Errorf("%s: exit code %d, and not %d: %s", command, got, code, stdout)
		}
		wantAll(t, command, stderr, "earlier version of cauase", "its layout is 3", "cauased manage migrate")
	}
	if after, err := os.ReadFile(db); err != nil || !bytes.Equal(after[header:], before[header:]) {
		t.Errorf("it was changed, or is gone: %v", err)
	}
	manages(t, "migrate", "--db", db)
	manages(t, "check", "--db", db)
	manages(t, "status", "--db", db)
}
