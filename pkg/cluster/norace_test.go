//go:build !race

package cluster

var raceFlags []string
