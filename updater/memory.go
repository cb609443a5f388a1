package main

import "runtime/debug"

// garbage is how much of what nobody needs any more the runtime lets come together before it looks for it, in percent of what
// is needed. An agent is idle but for a moment now and then, and beside services that have a use for the memory.
const garbage = 40

// limitGarbage has the runtime look for garbage sooner than usual, unless the environment says when.
func limitGarbage(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}
