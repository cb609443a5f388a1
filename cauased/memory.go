package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// ordinaryMemory is what the runtime may take before it looks harder for what nobody needs any more, in
// bytes, beside memory for the revocation lists: the list that is served, and the next one while it is made.
const ordinaryMemory = 80 << 20

// spareMemory is by how much the heap may grow before it is collected, in bytes, if what is in use is less; otherwise it may double, as
// usual. An idle daemon has so little in use that under load it would do so many times in a second.
const spareMemory = 16 << 20

// limitMemory returns what is to be told how much memory the revocation lists take: it sets the runtime's
// soft limit accordingly, unless the environment has set one. Without any the runtime would
// take twice what a crowd has ever needed at once.
func limitMemory(getenv func(string) string) func(lists int64) {
	if getenv("GOGC") == "" {
		collectRarely()
	}
	if getenv("GOMEMLIMIT") != "" {
		return nil
	}
	set := func(lists int64) { debug.SetMemoryLimit(ordinaryMemory + 2*lists) }
	set(0)
	return set
}

// collectRarely has the heap grow by spareMemory at least between two collections. It looks again after each: what is dropped
// at once is found by the next one.
func collectRarely() {
	runtime.AddCleanup(new([16]byte), func(struct{}) {
		inUse := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(inUse)
		debug.SetGCPercent(growth(inUse[0].Value.Uint64()))
		collectRarely()
	}, struct{}{})
}

// growth is by how many percent a heap may grow of which so many bytes are in use.
func growth(inUse uint64) int {
	return int(max(100, 100*spareMemory/max(inUse, 1<<20)))
}

// returnMemory gives back what the start has needed.
func returnMemory() {
	debug.FreeOSMemory()
	_, _ = dropProgram() // which costs nothing but memory if it cannot be done
}
