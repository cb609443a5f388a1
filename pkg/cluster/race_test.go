//go:build race

package cluster

// The daemon's races are of interest, too.
var raceFlags = []string{"-race"}
