//go:build !race

package fleet

const defaultSpan = 186

const underRace = false
