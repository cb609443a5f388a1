package store

import "time"

// A Name is one name that the certificates of a lineage hold, in a form in which it can be compared: who makes rows sees to that.
// Names are derived from certificates, and not among the rows that Rows gives away.
type Name struct {
	Kind  string
	Text  string
	Under string // the domain directly above a host's name or a wildcard; empty: there is none
}

// A Named is a lineage that has a name.
type Named struct {
	Name
	Lineage  int64
	Subject  string
	State    LineageState
	NotAfter time.Time // when the last of its certificates expires
}
