package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGrowth(t *testing.T) {
	for _, test := range []struct {
		name  string
		inUse uint64
		want  int
	}{
		{"nothing", 0, 1600},
		{"idle", 4 << 20, 400},
		{"as much as is spare", spareMemory, 100},
		{"a crowd", 50 << 20, 100},
		{"a long list", 1 << 30, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := growth(test.inUse); got != test.want {
				t.Errorf("%d percent, want %d", got, test.want)
			}
		})
	}
}

// What is set follows what is in use, from one collection to the next.
func TestCollectRarely(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	const little, much = 101, 100
	collectRarely()
	await := func(what string, reached func(percent int) bool) {
		t.Helper()
		for range 1000 {
			runtime.GC()
			runtime.Gosched()
			percent := debug.SetGCPercent(50) // there is no way to ask
			debug.SetGCPercent(percent)
			if reached(percent) {
				return
			}
		}
		t.Errorf("%s: never", what)
	}
	await("with little in use", func(percent int) bool { return percent >= little })
	held := make([]byte, 4*spareMemory)
	await("with much in use", func(percent int) bool { return percent == much })
	runtime.KeepAlive(held)
	held = nil
	await("with little again", func(percent int) bool { return percent >= little })
}
