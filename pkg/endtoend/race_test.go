//go:build race

package endtoend

// raceFlags build the tools as these tests themselves were built.
var raceFlags = []string{"-race"}
