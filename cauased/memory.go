package main

import "runtime/debug"

// ordinaryMemory is what the runtime may take before it looks harder for what nobody needs any more, in
// bytes, beside memory for the revocation lists: the list that is served, and the next one while it is made.
const ordinaryMemory = 80 << 20

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
