package main

import "runtime/debug"

// ordinaryMemory is what the runtime may take before it looks harder for what nobody needs any more, in
// bytes, beside memory for the revocation lists: the list that is served, and the next one while it is made.
const ordinaryMemory = 80 << 20

// garbage is how much of what nobody needs any more the runtime lets come together before it looks for it, in percent of what is
// needed: a few MiB, as a rule, so that it would look every few milliseconds under load, for a twelfth of the processor time. Where it is much, the limit
// comes first.
const garbage = 200

// limitGarbage has the runtime look for garbage later than usual, unless the environment says when.
func limitGarbage(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

// limitMemory returns what is to be told how much memory the revocation lists take: it sets the runtime's
// soft limit accordingly, unless the environment has set one. Without any the runtime would
// take twice what a crowd has ever needed at once.
func limitMemory(getenv func(string) string) func(lists int64) {
	if getenv("GOMEMLIMIT") != "" {
		return nil
	}
	set := func(lists int64) { debug.SetMemoryLimit(ordinaryMemory + 2*lists) }
	set(0)
	return set
}
