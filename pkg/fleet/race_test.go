//go:build race

package fleet

// Under the race detector everything takes four times as long, and ten generations have to do.
const defaultSpan = 372

const underRace = true
